"""``python -m fm_notebook.trackers FOLDER NAME [FILE…]``: tell the tracker NAME of the run in FOLDER, until the run is over.

Works on a run that is over too. FILEs are trackers that the user registered by hand.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

from fm_notebook.jobs.folder import JobFolder
from fm_notebook.jobs.locks import Lock
from fm_notebook.trackers import trackers
from fm_notebook.trackers._feed import FOLDER, GRACE_SECONDS, Feeder, is_alive


def main(path: Path, name: str, files: list[str]) -> None:
    """Tell until the run is over; nothing, if another process does so already (it goes on when the run does)."""
    if hasattr(os, "nice"):
        os.nice(10)  # training goes first
    for file in files:
        trackers.register(file)
    folder = JobFolder(path.resolve())
    (folder.path / FOLDER).mkdir(exist_ok=True, mode=0o700)
    lock = Lock(folder.path / FOLDER / f"{name}.lock")
    if lock.acquire(patience_seconds=2 * GRACE_SECONDS):
        Feeder(folder, name, trackers[name]).follow(partial(is_alive, folder))
        lock.release()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
