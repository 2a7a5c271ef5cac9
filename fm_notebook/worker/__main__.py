"""``python -m fm_notebook.worker DEVICE [--warm]``: serve the queue of one device, then stay a while with the last model."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from fm_notebook.contracts.events import Ended, ErrorRecord
from fm_notebook.jobs import placement
from fm_notebook.jobs.control import CommandReader, write_command
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.jobs.journal import JournalWriter
from fm_notebook.jobs.locks import Lock
from fm_notebook.jobs.queue import Queue
from fm_notebook.worker import runtime

IDLE_SECONDS = float(os.environ.get("FM_NOTEBOOK_IDLE_SECONDS", "300"))
TICK_SECONDS = 0.1
LIBRARIES = ("torch", "fm_notebook.worker.training", "fm_notebook.worker.scoring", "transformers.modeling_utils",
             "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto")  # fmt: skip
"""What every job needs, 4 to 6 s in all; `modeling_utils` is most of what a model's own module would load (the rest: 0.1 s)."""


def main(device: str, *, warm: bool = False) -> None:
    """Serve until nobody waits; if `warm`, load the libraries first.

    A job put in the queue while we leave is not lost: its owner saw our lock either held, then we see the job below, or free,
    then it started another worker.
    """
    queue, lock = Queue(device), Lock(Queue(device).lock)
    while lock.acquire(patience_seconds=1.0):
        queue.leave.unlink(missing_ok=True)
        if warm:
            load_ahead(queue)
        serve(queue)
        lock.release()
        if not queue.waiting():
            return


def load_ahead(queue: Queue) -> None:
    """Load libraries until there is something to do: a job says itself what it loads, and loads the rest."""
    for name in LIBRARIES:
        if queue.waiting() or queue.leave.exists():
            return
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - a broken installation: a job will tell why, where the user sees it
            return


def serve(queue: Queue) -> None:
    """Execute the jobs of `queue` until it was empty for `IDLE_SECONDS`, or leaving is asked for."""
    deadline = time.monotonic() + IDLE_SECONDS
    while True:
        if path := queue.take():
            run(JobFolder(path))
            runtime.give_back()
            deadline = time.monotonic() + IDLE_SECONDS
        elif queue.leave.exists() or time.monotonic() > deadline:
            return
        else:
            time.sleep(TICK_SECONDS)


def run(folder: JobFolder) -> None:
    """Execute one job under its lock; whatever happens, the worker lives on for the next."""
    lock = Lock(folder.lock)
    try:
        if not lock.acquire(patience_seconds=1.0):
            return
        _output_to(folder.log)
        signal.signal(signal.SIGTERM, lambda *_: write_command(folder.control, "stop"))  # the machine goes down: save first
        journal = JournalWriter(folder.events)
        try:
            _execute(folder, journal)
        finally:
            journal.close()
    except OSError:  # the folder was deleted, or a full disk refuses the journal too; readers see a free lock without an end
        traceback.print_exc()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        lock.release()


def _execute(folder: JobFolder, journal: JournalWriter) -> None:
    try:
        from fm_notebook.worker import together
        from fm_notebook.worker.execute import execute
    except Exception:  # noqa: BLE001 - a broken installation: the user must see why
        journal.append(Ended(state="failed", error=ErrorRecord(kind="bug", detail=traceback.format_exc())))
        return
    if (placed := placement.read(folder.path)).is_together:
        together.execute(folder, placed, journal.append)
    else:
        execute(folder, journal.append, CommandReader(folder.control))


def _output_to(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1], warm="--warm" in sys.argv[2:])
