"""``python -m fm_notebook.worker.distributed FOLDER``: one of several processes that do a job together.

Started by torchrun, or called by an actor of Ray: RANK, WORLD_SIZE and LOCAL_RANK say which one. The first reads what the user
wants and writes the journal; all take the same steps.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from fm_notebook.contracts.events import Ended, Event
from fm_notebook.jobs import atomic, locks
from fm_notebook.jobs.control import CommandReader
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.jobs.journal import JournalWriter
from fm_notebook.worker.together import is_peer_lost, reports_of

WATCH_SECONDS = 0.5


def main(folder: JobFolder) -> int:
    """Do this process's part of the job in `folder`; 0 unless it failed."""
    rank = int(os.environ["RANK"])
    leave_with_worker(folder.lock)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the worker gets one too, and asks us to stop and save
    journal = JournalWriter(folder.events) if rank == 0 else None
    report = Report(reports_of(folder) / f"{rank}.json", journal)
    try:
        from fm_notebook.worker.execute import execute

        execute(folder, report, CommandReader(folder.control) if rank == 0 else lambda: "run", together=True)
    finally:
        if journal is not None:
            journal.close()
    return int(report.failed)


@dataclass
class Report:
    """Takes a process's events: into the `journal` if it has one, and why it failed into the file `path`.

    That a peer was lost is no news for the journal: the worker looks for the cause.
    """

    path: Path
    journal: JournalWriter | None = None
    failed: bool = False

    def __call__(self, event: Event) -> None:
        """Take one event."""
        error = event.error if isinstance(event, Ended) else None
        if error is not None:
            self.failed = True
            atomic.write(self.path, error.model_dump_json().encode())
        if self.journal is not None and not (error is not None and is_peer_lost(error)):
            self.journal.append(event)


def leave_with_worker(lock: Path) -> None:
    """From now on, end this process at once when the worker that holds `lock` has gone.

    Nobody would wait for the outcome, and the next worker on the folder must be alone. Elsewhere in a cluster, where the lock of
    another machine may not be seen, Ray ends its actors itself.
    """
    holder = locks.owner(lock)
    if holder.get("host") != socket.gethostname():
        return

    def watch() -> None:
        while locks.is_held(lock) and locks.owner(lock) == holder:
            time.sleep(WATCH_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)

    threading.Thread(target=watch, name="fm_notebook-watch", daemon=True).start()


if __name__ == "__main__":
    status = main(JobFolder(Path(sys.argv[1])))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # at once: a library's farewell would wait for a peer that is gone
