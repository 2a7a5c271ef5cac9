"""What a reader wrote about rows: a JSON lines file in the run's folder, a line a row, found by the hash of its text.

So a note is there again in another order of the rows, and in other data that holds the same text.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fm_notebook.contracts.specs import EvaluateSpec
from fm_notebook.jobs import atomic
from fm_notebook.jobs.folder import JobFolder

FILE = "row_notes.jsonl"
LONGEST = 10_000
"""Characters of a note; what is longer is cut."""


@dataclass
class RowNotes:
    """The notes in one file; read when asked for, since another notebook may have written."""

    path: Path
    _read: dict[int, str] = field(default_factory=dict)
    _stamp: tuple[int, int] = (0, 0)

    @classmethod
    def beside(cls, evaluation: JobFolder) -> RowNotes:
        """Those of the run (or model) that `evaluation` scores."""
        from fm_notebook.session.launch import home_of

        spec = evaluation.spec
        assert isinstance(spec, EvaluateSpec)
        return cls(home_of(spec.model) / FILE)

    def of(self, row: int) -> str:
        """The note on the row with this hash; empty if there is none."""
        return self._now().get(int(row), "")

    def hashes(self) -> np.ndarray:
        """The hashes of all rows with a note, uint64."""
        return np.array(list(self._now()), np.uint64)

    def write(self, row: int, text: str) -> None:
        """Set the note on the row with this hash; an empty text removes it. The file is whole at every moment.

        Raises
        ------
        OSError
            If the disk is full or the folder is gone.
        """
        kept = dict(self._now())
        kept.pop(int(row), None)
        if text.strip():
            kept[int(row)] = text.strip()[:LONGEST]
        lines = [json.dumps({"row": f"{key:016x}", "note": note}, ensure_ascii=False) for key, note in kept.items()]
        head = json.dumps({"format_version": 1, "written": time.time()})
        atomic.write(self.path, "".join(line + "\n" for line in [head, *lines]).encode())

    def _now(self) -> dict[int, str]:
        stamp = self.stamp
        if stamp != self._stamp:
            self._stamp = stamp
            self._read = _parsed(self.path.read_text("utf-8")) if stamp != (0, 0) else {}
        return self._read

    @property
    def stamp(self) -> tuple[int, int]:
        """What changes when anybody writes: time and size of the file, zeros where there is none."""
        with suppress(OSError):
            found = self.path.stat()
            return found.st_mtime_ns, found.st_size
        return 0, 0


def _parsed(text: str) -> dict[int, str]:
    """The notes by hash; lines that are none, such as the head, are passed over."""
    notes: dict[int, str] = {}
    for line in text.splitlines():
        with suppress(ValueError, TypeError, KeyError):
            found: Any = json.loads(line)
            notes[int(found["row"], 16)] = str(found["note"])
    return notes
