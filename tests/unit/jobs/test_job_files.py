"""The small files of a job: whole or absent, private, and read anew only when they change."""

import errno
import os
import shutil
import stat
import threading
import time

import pytest
from pydantic import ValidationError

from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.jobs import atomic, folder
from fm_notebook.jobs.control import CommandReader, write_command
from fm_notebook.jobs.folder import Identity, JobFolder
from fm_notebook.jobs.locks import Lock

SPEC = FinetuneSpec(model=ModelRef(source="m", kind="folder", location="/m"), train=DataRef(source="rows", kind="value"))


def test_a_file_is_private_and_replaced_whole(tmp_path):
    path = tmp_path / "file"
    atomic.write(path, b"one")
    atomic.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_file_before_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "file"
    atomic.write(path, b"one")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_job_folder_is_private_ignored_by_git_and_made_once(tmp_path):
    made = folder.create(tmp_path / "runs" / "a.1")
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(made.data.stat().st_mode) == 0o700
    assert (made.path / ".gitignore").read_text() == "*\n"
    with pytest.raises(FileExistsError):
        folder.create(tmp_path / "runs" / "a.1")


def test_what_was_written_is_read(tmp_path):
    made = folder.create(tmp_path / "a.1")
    made.write(spec=SPEC, identity=Identity(name="a", key="k", created=1.5, device="cuda:1"))
    read = JobFolder(made.path)
    assert read.spec == SPEC
    assert read.identity == Identity(name="a", key="k", created=1.5, device="cuda:1")


def test_delete_removes_the_data_too(tmp_path):
    made = folder.create(tmp_path / "a.1")
    (made.data / "train.arrow").write_bytes(b"people")
    folder.delete(made)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("device", ["../../elsewhere", "/tmp/x", "", "gpu", "cuda:"])
def test_an_identity_from_elsewhere_cannot_name_a_folder_outside_the_queues(device):
    with pytest.raises(ValidationError):
        Identity(name="a", device=device)


def test_the_reader_gives_the_newest_command(tmp_path):
    path = tmp_path / "control"
    read = CommandReader(path)
    assert read() == "run"
    for wish in ("pause", "run", "stop", "cancel"):
        write_command(path, wish)
        assert read() == wish
        assert read() == wish
    path.unlink()
    assert read() == "run"


def test_an_unknown_word_means_run_and_cannot_be_written(tmp_path):
    path = tmp_path / "control"
    path.write_text("explode")
    assert CommandReader(path)() == "run"
    with pytest.raises(ValueError, match="explode"):
        write_command(path, "explode")  # type: ignore[arg-type]


def test_nothing_is_read_while_nothing_changes(tmp_path, monkeypatch):
    path = tmp_path / "control"
    write_command(path, "pause")
    read = CommandReader(path)
    assert read() == "pause"
    monkeypatch.setattr(type(path), "read_text", lambda *_: pytest.fail("read again"))
    assert read() == "pause"


def test_a_folder_goes_once_its_worker_has_let_go_and_its_last_files_with_it(tmp_path):
    job = JobFolder(tmp_path / "a.1")
    job.path.mkdir()
    lock, taken = Lock(job.lock), threading.Event()

    def work():
        assert lock.acquire()
        taken.set()
        time.sleep(0.2)
        (job.path / "last").write_text("word")
        lock.release()

    worker = threading.Thread(target=work)
    worker.start()
    taken.wait()
    folder.delete(job)
    worker.join()
    assert not job.path.exists()


def test_a_folder_in_which_files_come_and_go_is_removed_all_the_same(tmp_path, monkeypatch):
    job = JobFolder(tmp_path / "a.1")
    job.path.mkdir()
    remove, calls = shutil.rmtree, []

    def interrupted(path):
        calls.append(path)
        if len(calls) < 3:
            raise FileNotFoundError("attempt.0.json")
        remove(path)

    monkeypatch.setattr(folder.shutil, "rmtree", interrupted)
    folder.delete(job)
    assert not job.path.exists()
    folder.delete(job)
