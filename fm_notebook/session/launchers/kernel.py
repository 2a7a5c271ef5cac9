"""Execute a job in this process's main thread, blocking: for tests, for debugging, and where no process may be started."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fm_notebook.errors import RunError
from fm_notebook.jobs.control import CommandReader, write_command
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.jobs.journal import JournalWriter
from fm_notebook.jobs.locks import Lock
from fm_notebook.jobs.queue import Queue
from fm_notebook.session.launchers.process import free_worker


def execute_here(folder: JobFolder, queue: Queue) -> None:
    """Run the job to its end. The first interrupt stops and saves, the second cancels.

    Raises
    ------
    RunError
        If the device's worker is busy with another job.
    """
    device = Lock(queue.lock)
    if not free_worker(queue, patience_seconds=5.0) or not device.acquire(patience_seconds=1.0):
        raise RunError("run.device_busy", device=queue.device)
    lock = Lock(folder.lock)
    try:
        folder.control.unlink(missing_ok=True)  # the wish that ended it last time
        lock.acquire(patience_seconds=1.0)
        _execute(folder)
    finally:
        lock.release()
        device.release()
        gc.collect()  # execute keeps no exception, so no frame keeps a tensor


def _execute(folder: JobFolder) -> None:
    from fm_notebook.worker import models_loaded  # torch: the one door from the notebook's side
    from fm_notebook.worker.execute import execute

    journal = JournalWriter(folder.events)
    try:
        with _interrupts_as_commands(folder):
            execute(folder, journal.append, CommandReader(folder.control))
    finally:
        journal.close()
        models_loaded.free()  # a worker keeps its last model; the notebook's own process does not


@contextmanager
def _interrupts_as_commands(folder: JobFolder) -> Iterator[None]:
    """Turn the first Ctrl-C into *stop*, the second into *cancel*, the third into itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wishes = iter(("stop", "cancel"))

    def interrupted(*_: object) -> None:
        wish = next(wishes, None)
        if wish is None:
            raise KeyboardInterrupt
        write_command(folder.control, wish)  # type: ignore[arg-type]

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
