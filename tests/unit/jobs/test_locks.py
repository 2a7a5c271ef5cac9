"""A lock is held by one living process, and free the moment that process is gone."""

import subprocess
import sys
import threading
import time

import pytest

from fm_notebook.jobs.locks import Lock, is_held, owner

HOLD = """
import sys, time
from pathlib import Path
from fm_notebook.jobs.locks import Lock
print(Lock(Path(sys.argv[1])).acquire(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


@pytest.fixture
def holder(path):
    """Another process that holds the lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "True"
        yield process
        process.kill()


def test_a_lock_that_nobody_made_is_free(path):
    assert not is_held(path)
    assert owner(path) == {}
    assert not path.exists()


def test_a_lock_is_held_between_acquire_and_release(path):
    lock = Lock(path)
    assert lock.acquire()
    assert is_held(path)
    assert not Lock(path).acquire()
    lock.release()
    lock.release()
    assert not is_held(path)
    assert Lock(path).acquire()


def test_asking_does_not_drop_the_lock_of_this_process(path):
    lock = Lock(path)
    assert lock.acquire()
    assert is_held(path)
    assert owner(path)["pid"] > 0
    other = subprocess.run(
        [sys.executable, "-c", HOLD.replace("sleep(60)", "sleep(0)"), str(path)], capture_output=True, text=True
    )
    assert other.stdout.strip() == "False"
    lock.release()


def test_another_process_holds_it_and_says_who_it_is(path, holder):
    assert is_held(path)
    assert not Lock(path).acquire()
    assert owner(path)["pid"] == holder.pid
    assert owner(path)["since"] <= time.time()


def test_a_killed_process_loses_its_lock_at_once_even_as_a_zombie(path, holder):
    holder.kill()
    deadline = time.monotonic() + 1.0
    while is_held(path) and time.monotonic() < deadline:
        time.sleep(0.002)
    assert not is_held(path)  # nobody has waited for the process yet


def test_patience_outlasts_a_holder_that_leaves(path, holder):
    threading.Timer(0.1, holder.kill).start()
    lock = Lock(path)
    assert lock.acquire(patience_seconds=5.0)
    lock.release()


def test_a_thread_that_asks_never_drops_the_lock_that_another_thread_takes(path):
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            is_held(path)
            owner(path)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    probe = "import sys; from pathlib import Path; from fm_notebook.jobs.locks import is_held; "
    probe += "[print(int(is_held(Path(sys.argv[1]))), flush=True) for _ in sys.stdin]"
    with subprocess.Popen([sys.executable, "-c", probe, str(path)], stdin=-1, stdout=-1, text=True, bufsize=1) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        seen = set()
        for _ in range(200):
            lock = Lock(path)
            assert lock.acquire(patience_seconds=1.0)
            other.stdin.write("\n")
            other.stdin.flush()
            seen.add(other.stdout.readline().strip())
            lock.release()
        other.stdin.close()
    stop.set()
    for thread in threads:
        thread.join()
    assert seen == {"1"}
