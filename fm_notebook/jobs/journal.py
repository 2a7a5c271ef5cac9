"""``events.jsonl``: append-only, one event a line, replayable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fm_notebook.contracts.events import CheckpointSaved, Ended, EvalEnded, Event, read_event

_DURABLE = (EvalEnded, CheckpointSaved, Ended)


class JournalWriter:
    """Appends events to the file `path`.

    Each line is one unbuffered ``os.write`` (0.6 µs), so it survives the death of the process; evaluations, checkpoints and the
    end are also synced to disk (90 µs and more), to survive that of the machine.
    """

    def __init__(self, path: Path):
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._end_torn_line()

    def append(self, event: Event) -> None:
        """Write one event."""
        line = event.model_dump_json().encode() + b"\n"
        while line:
            line = line[os.write(self._descriptor, line) :]
        if isinstance(event, _DURABLE):
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; later appends fail."""
        os.close(self._descriptor)

    def _end_torn_line(self) -> None:
        """A writer that was killed in mid-write leaves half a line: end it, so that ours starts on its own."""
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")


@dataclass
class JournalReader:
    """Reads the events of `path` as they come; keeps its place between calls."""

    path: Path
    _offset: int = 0

    def new_events(self) -> list[Event]:
        """The events since the last call; a line still being written is left for the next."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return list(_parse(whole))


def replay(path: Path) -> list[Event]:
    """All events of a journal."""
    return JournalReader(path).new_events()


def _parse(lines: bytes) -> Iterator[Event]:
    for line in lines.splitlines():
        try:
            yield read_event(line)
        except ValueError:  # half a line left by a killed writer
            continue
