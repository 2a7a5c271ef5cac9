"""Liveness is a lock that the system releases, not a process id.

A pid check lies: zombies and reused pids answer it. POSIX record locks (``lockf``) end with their process however it ends,
and are not inherited by forked children. Their trap is that closing *any* descriptor of the file drops the lock, so a
process that holds a lock never opens that file again: `is_held` asks `_HELD` first, and `_OURS` keeps its threads apart.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HELD: dict[Path, Lock] = {}
_OURS = threading.RLock()  # held whenever a lock file is open that this process may come to lock


@dataclass
class Lock:
    """A lock on the file `path`, held by this process between `acquire` and `release`."""

    path: Path
    _descriptor: int | None = field(default=None, repr=False)

    def acquire(self, *, patience_seconds: float = 0.0) -> bool:
        """Take the lock and write who has it; False if another process holds it for longer than `patience_seconds`."""
        deadline = time.monotonic() + patience_seconds
        while not self._take():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True

    def _take(self) -> bool:
        path = self.path.resolve()
        with _OURS:
            if path in _HELD:
                return False
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            if not _try_lock(descriptor):
                os.close(descriptor)
                return False
            self._descriptor, _HELD[path] = descriptor, self
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        return True

    def release(self) -> None:
        """Give the lock back; harmless if it is not held."""
        with _OURS:
            if self._descriptor is not None:
                _HELD.pop(self.path.resolve(), None)
                os.close(self._descriptor)
                self._descriptor = None


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock on `path`."""
    path = path.resolve()
    with _OURS:
        if path in _HELD:
            return True
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not _try_lock(descriptor)
        finally:
            os.close(descriptor)


def owner(path: Path) -> dict[str, Any]:
    """Who took the lock last: ``pid``, ``host`` and ``since``; empty if nobody did."""
    with _OURS:
        if path.resolve() in _HELD:
            return {"pid": os.getpid(), "host": socket.gethostname()}
        try:
            return json.loads(path.read_text() or "{}")
        except (FileNotFoundError, ValueError):
            return {}


if os.name == "nt":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # beyond the owner's text, which others must be able to read
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
