"""The worker serves its queue, one job after the other, whatever happens to a job."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.specs import DataRef, EvaluateSpec, ModelRef
from fm_notebook.jobs import folder as folders
from fm_notebook.jobs.folder import Identity, JobFolder
from fm_notebook.jobs.journal import replay
from fm_notebook.jobs.locks import Lock, is_held
from fm_notebook.jobs.queue import Queue
from fm_notebook.worker import __main__ as worker

SPEC = EvaluateSpec(model=ModelRef(source="m", kind="folder", location="/m"), data=DataRef(source="rows", kind="value"))


@pytest.fixture
def queue(home, monkeypatch):
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(worker, "TICK_SECONDS", 0.01)
    return Queue("cpu")


@pytest.fixture
def make(home):
    def make(name: str) -> JobFolder:
        made = folders.create(home / "runs" / name)
        made.write(spec=SPEC, identity=Identity(name=name))
        return made

    return make


@pytest.fixture
def execute(monkeypatch):
    """Replaces the work by a function of folder, append and command; the worker's output stays ours."""

    def replace(work) -> None:
        from fm_notebook.worker import execute

        monkeypatch.setattr(execute, "execute", work)
        monkeypatch.setattr(worker, "_output_to", lambda path: None)

    return replace


def finish(folder, append, command):
    append(ev.Ended(state="finished"))


def ends(folder: JobFolder) -> list[str]:
    return [event.state for event in replay(folder.events) if isinstance(event, ev.Ended)]


def test_jobs_are_done_in_order_under_their_lock_and_then_the_worker_leaves(queue, make, execute):
    done = []
    execute(
        lambda folder, append, command: done.append(
            (folder.path.name, is_held(folder.lock), is_held(queue.lock), queue.in_work())
        )
    )
    jobs = [make(name) for name in ("b", "a")]
    for job in jobs:
        queue.put(job.path)
    worker.main("cpu")
    assert done == [(job.path.name, True, True, job.path) for job in jobs]
    assert not is_held(queue.lock)
    assert not any(is_held(job.lock) for job in jobs)


def test_a_second_worker_leaves_at_once(queue, make, execute, monkeypatch):
    execute(finish)
    queue.put(make("a").path)
    taken = []
    monkeypatch.setattr(Lock, "acquire", lambda self, *, patience_seconds=0.0: taken.append(self.path) or False)
    worker.main("cpu")
    assert taken == [queue.lock]
    assert len(queue.waiting()) == 1


def test_a_job_put_while_the_worker_leaves_is_not_lost(queue, make, execute, monkeypatch):
    """Its owner saw the lock held and started no other."""
    execute(finish)
    late, release = make("late"), Lock.release

    def put_before_release(lock: Lock) -> None:
        if lock.path == queue.lock and not ends(late) and not queue.waiting():
            assert is_held(queue.lock)
            queue.put(late.path)
        release(lock)

    monkeypatch.setattr(Lock, "release", put_before_release)
    worker.main("cpu")
    assert ends(late) == ["finished"]
    assert queue.waiting() == []


def test_a_deleted_folder_is_passed_over(queue, make, execute):
    execute(finish)
    gone, kept = make("gone"), make("kept")
    for job in (gone, kept):
        queue.put(job.path)
    folders.delete(gone)
    worker.main("cpu")
    assert ends(kept) == ["finished"]
    assert not gone.path.exists()


def test_a_job_that_another_process_has_in_work_is_left_alone(queue, make, execute):
    execute(lambda *_: pytest.fail("executed"))
    job = make("a")
    lock = Lock(job.lock)
    assert lock.acquire()
    worker.run(job)
    lock.release()
    assert replay(job.events) == []


def test_a_full_disk_ends_the_job_and_not_the_worker(queue, make, execute, capsys):
    def full(folder, append, command):
        if folder.path.name == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        finish(folder, append, command)

    execute(full)
    jobs = [make("full"), make("next")]
    for job in jobs:
        queue.put(job.path)
    worker.main("cpu")
    assert (ends(jobs[0]), ends(jobs[1])) == ([], ["finished"])
    assert not is_held(jobs[0].lock)
    assert "No space left" in capsys.readouterr().err


def test_a_lock_that_cannot_be_written_ends_the_job_and_not_the_worker(queue, make, execute, monkeypatch, capsys):
    execute(finish)
    acquire, job = Lock.acquire, make("a")

    def refuse(lock: Lock, **kwargs: float) -> bool:
        if lock.path == job.lock:
            raise OSError(errno.ENOSPC, "No space left on device")
        return acquire(lock, **kwargs)

    monkeypatch.setattr(Lock, "acquire", refuse)
    worker.run(job)
    assert "No space left" in capsys.readouterr().err


def test_leave_empties_the_queue_first(queue, make, execute, monkeypatch):
    monkeypatch.setattr(worker, "IDLE_SECONDS", 60.0)
    execute(lambda folder, append, command: (queue.leave.touch(), finish(folder, append, command)))
    jobs = [make("a"), make("b")]
    for job in jobs:
        queue.put(job.path)
    began = time.monotonic()
    worker.main("cpu")
    assert [ends(job) for job in jobs] == [["finished"]] * 2
    assert time.monotonic() - began < 10


def test_an_old_wish_to_leave_does_not_end_a_new_worker(queue, make, execute):
    execute(finish)
    queue.leave.touch()
    job = make("a")
    queue.put(job.path)
    worker.main("cpu")
    assert ends(job) == ["finished"]
    assert not queue.leave.exists()


def test_sigterm_during_a_job_asks_it_to_stop_and_save(queue, make, execute):
    seen = []

    def work(folder, append, command):
        os.kill(os.getpid(), signal.SIGTERM)
        seen.append(command())

    execute(work)
    before = signal.getsignal(signal.SIGTERM)
    worker.run(make("a"))
    assert seen == ["stop"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    signal.signal(signal.SIGTERM, before)


def test_a_broken_installation_is_told_and_not_silent(queue, make, monkeypatch):
    monkeypatch.setitem(sys.modules, "fm_notebook.worker.execute", None)
    monkeypatch.setattr(worker, "_output_to", lambda path: None)
    job = make("a")
    worker.run(job)
    (end,) = replay(job.events)
    assert isinstance(end, ev.Ended)
    assert end.error is not None
    assert end.error.kind == "bug"
    assert "fm_notebook.worker.execute" in end.error.detail


def test_the_output_of_a_job_goes_to_its_private_log(tmp_path):
    code = "import sys; from pathlib import Path; from fm_notebook.worker.__main__ import _output_to; "
    code += "_output_to(Path(sys.argv[1])); print('one', flush=True); print('two', file=sys.stderr)"
    log = tmp_path / "log.txt"
    subprocess.run([sys.executable, "-c", code, str(log)], check=True)
    assert log.read_text() == "one\ntwo\n"
    assert log.stat().st_mode & 0o077 == 0


def test_a_real_worker_with_nothing_to_do_loads_no_torch_and_leaves(home):
    code = "import sys; from fm_notebook.worker import __main__ as w; w.main('cpu'); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "FM_NOTEBOOK_IDLE_SECONDS": "0"}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "False"
    assert not is_held(Queue("cpu").lock)


def test_a_worker_finds_its_queue_though_the_state_folder_was_given_relative(home, monkeypatch, make):
    """It is started in a folder of its own."""
    from fm_notebook.session.launchers import process

    monkeypatch.chdir(home)
    monkeypatch.setenv("FM_NOTEBOOK_STATE", "state")
    monkeypatch.setenv("FM_NOTEBOOK_IDLE_SECONDS", "0")
    queue = Queue("cpu")
    queue.put(Path(home / "runs" / "deleted"))
    process.ensure_worker(queue)
    started, _ = process._started["cpu"]
    assert started.wait(timeout=30) == 0
    assert queue.waiting() == []
