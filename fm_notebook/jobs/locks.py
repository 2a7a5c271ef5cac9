"""Liveness is a lock that the system releases, not a process id.

A pid check lies: zombies and reused pids answer it. POSIX record locks (``lockf``) end with their process however it ends,
and are not inherited by forked children. Their trap is that closing *any* descriptor of the file drops the lock, so a
process that holds a lock never opens that file again: `is_held` asks `_HELD` first.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HELD: dict[Path, Lock] = {}


@dataclass
class Lock:
    """A lock on the file `path`, held by this process between `acquire` and `release`."""

    path: Path
    _descriptor: int | None = field(default=None, repr=False)

    def acquire(self, *, patience_seconds: float = 0.0) -> bool:
        """Take the lock and write who has it; False if another process holds it for longer than `patience_seconds`."""
        path = self.path.resolve()
        if path in _HELD:
            return False
        deadline = time.monotonic() + patience_seconds
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return False
            time.sleep(0.02)
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        self._descriptor = descriptor
        _HELD[path] = self
        return True

    def release(self) -> None:
        """Give the lock back; harmless if it is not held."""
        if self._descriptor is not None:
            _HELD.pop(self.path.resolve(), None)
            os.close(self._descriptor)
            self._descriptor = None


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock on `path`."""
    path = path.resolve()
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
