"""The queue of a device: first come, first served, nothing lost."""

import subprocess
import sys
from pathlib import Path

import pytest

from fm_notebook.jobs.queue import Queue, devices


@pytest.fixture
def queue(home):
    return Queue("cpu")


def test_jobs_are_taken_in_the_order_in_which_they_came(queue):
    jobs = [Path(f"/runs/{name}.1") for name in ("b", "a", "ü d")]
    for job in jobs:
        queue.put(job)
    assert queue.waiting() == jobs
    assert [queue.take() for _ in range(3)] == jobs
    assert queue.take() is None


def test_the_job_taken_last_is_in_work_until_the_queue_is_found_empty(queue):
    assert queue.in_work() is None
    queue.put(Path("/runs/a.1"))
    assert queue.take() == Path("/runs/a.1")
    assert queue.in_work() == Path("/runs/a.1")
    assert queue.take() is None
    assert queue.in_work() is None


def test_a_withdrawn_job_is_not_taken(queue):
    for name in ("a", "b"):
        queue.put(Path(f"/runs/{name}.1"))
    assert queue.withdraw(Path("/runs/a.1"))
    assert not queue.withdraw(Path("/runs/a.1"))
    assert queue.take() == Path("/runs/b.1")


def test_a_job_is_in_work_before_it_leaves_the_queue(queue, monkeypatch):
    """So that nobody who looks in between takes it for dead."""
    queue.put(Path("/runs/a.1"))
    seen = []
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path, **kw: (seen.append(queue.in_work()), unlink(path, **kw)))
    queue.take()
    assert seen == [Path("/runs/a.1")]


def test_a_ticket_that_is_taken_meanwhile_is_no_error(queue, monkeypatch):
    queue.put(Path("/runs/a.1"))
    read = Path.read_bytes

    def gone(path):
        path.unlink()
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", gone)
    assert queue.waiting() == []


def test_devices_have_queues_of_their_own(home):
    Queue("cuda:1").put(Path("/runs/a.1"))
    assert Queue("cpu").waiting() == []
    assert {each.device for each in devices()} == {"cpu", "cuda:1"}


def test_processes_that_put_at_once_lose_no_job(queue):
    put = "import sys; from pathlib import Path; from fm_notebook.jobs.queue import Queue; "
    put += "[Queue('cpu').put(Path(f'/runs/{sys.argv[1]}.{i}')) for i in range(50)]"
    writers = [subprocess.Popen([sys.executable, "-c", put, name]) for name in "ab"]
    assert [writer.wait(timeout=30) for writer in writers] == [0, 0]
    waiting = queue.waiting()
    assert len(waiting) == len(set(waiting)) == 100
    mine = [path for path in waiting if path.name.startswith("a.")]
    assert mine == [Path(f"/runs/a.{i}") for i in range(50)]
