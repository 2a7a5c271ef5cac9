"""What the user wants of a running job: one word in the file ``control``."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from fm_notebook.contracts.protocols import Command
from fm_notebook.jobs import atomic

COMMANDS: frozenset[str] = frozenset(get_args(Command))


def write_command(path: Path, command: Command) -> None:
    """Ask for `command`; the worker reads it at its next step border."""
    if command not in COMMANDS:
        raise ValueError(command)
    atomic.write(path, command.encode())


@dataclass
class CommandReader:
    """Calling it gives the newest command; costs one ``os.stat`` (1 µs) while nothing changes."""

    path: Path
    _seen: tuple[int, int] = (0, 0)
    _command: Command = field(default="run")

    def __call__(self) -> Command:
        """The command that stands in the file now; ``run`` if there is none."""
        try:
            status = os.stat(self.path)  # noqa: PTH116 - once a step, and half the cost of Path.stat
        except FileNotFoundError:
            self._seen, self._command = (0, 0), "run"
            return self._command
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._seen:
            word = self.path.read_text().strip()
            self._seen = stamp
            self._command = word if word in COMMANDS else "run"  # type: ignore[assignment]
        return self._command
