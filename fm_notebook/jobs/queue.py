"""The jobs that wait for one device, first come, first served, and the lock of the worker that takes them.

The queue lies in the user's state folder, not in a project: a device is shared by all of a user's projects.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from fm_notebook.jobs import atomic


def state_folder() -> Path:
    """Where queues are kept: ``FM_NOTEBOOK_STATE``, else the user's state folder."""
    return Path(os.environ.get("FM_NOTEBOOK_STATE") or platformdirs.user_state_path("fm_notebook"))


@dataclass(frozen=True)
class Queue:
    """The queue of the device called `device`, such as ``cpu`` or ``cuda:0``, on this host."""

    device: str

    @property
    def folder(self) -> Path:
        """The queue's folder; made when first asked for."""
        path = state_folder() / socket.gethostname() / self.device.replace(":", "-")
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    @property
    def lock(self) -> Path:
        """Held by the device's worker as long as it lives."""
        return self.folder / "worker.lock"

    @property
    def log(self) -> Path:
        """The worker's output between jobs."""
        return self.folder / "worker.log"

    @property
    def current(self) -> Path:
        """Names the job folder in work."""
        return self.folder / "current"

    @property
    def leave(self) -> Path:
        """Exists when the worker is asked to unload its model and leave."""
        return self.folder / "leave"

    def put(self, job: Path) -> None:
        """Add a job folder at the end."""
        atomic.write(self.folder / f"{time.time_ns():020d}.job", os.fsencode(job))

    def waiting(self) -> list[Path]:
        """The job folders that wait, first first."""
        return [Path(os.fsdecode(content)) for _, content in self._tickets()]

    def take(self) -> Path | None:
        """The next job folder, now `current`; None if nobody waits. For the holder of the lock alone."""
        for ticket, content in self._tickets():
            atomic.write(self.current, content)
            ticket.unlink(missing_ok=True)
            return Path(os.fsdecode(content))
        self.current.unlink(missing_ok=True)
        return None

    def withdraw(self, job: Path) -> bool:
        """Take a job out of the queue; False if it did not wait there."""
        found = [ticket for ticket, content in self._tickets() if Path(os.fsdecode(content)) == job]
        for ticket in found:
            ticket.unlink(missing_ok=True)
        return bool(found)

    def in_work(self) -> Path | None:
        """The job folder that the worker took last, None if there is none."""
        try:
            return Path(os.fsdecode(self.current.read_bytes()))
        except FileNotFoundError:
            return None

    def _tickets(self) -> list[tuple[Path, bytes]]:
        found = []
        for ticket in sorted(self.folder.glob("*.job")):
            try:
                found.append((ticket, ticket.read_bytes()))
            except FileNotFoundError:  # taken meanwhile
                continue
        return found


def devices() -> list[Queue]:
    """The queues that exist on this host."""
    folder = state_folder() / socket.gethostname()
    return [Queue(path.name.replace("-", ":")) for path in sorted(folder.glob("*")) if path.is_dir()]
