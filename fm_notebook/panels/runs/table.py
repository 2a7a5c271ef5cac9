"""The table that ``%runs`` gives and that a saved notebook keeps of the runs panel: one row a run, in HTML and plain text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from fm_notebook import messages
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.panels import markup
from fm_notebook.panels.runs import rows as runs_rows
from fm_notebook.session.index import Entry
from fm_notebook.session.job import Job
from fm_notebook.session.run import Run

MOST_ROWS = 200
"""Of a table that a notebook keeps: about 80 KB of HTML."""


@dataclass(frozen=True)
class RunsTable(Sequence[Run]):
    """The runs of a project, oldest first; a sequence of `Run` that shows itself as a table. A handle is made when asked for.

    Attributes
    ----------
    unread : int
        Still older runs that nobody has read yet.
    """

    entries: tuple[Entry, ...]
    unread: int = 0

    def __getitem__(self, place):  # type: ignore[override]
        if isinstance(place, slice):
            return RunsTable(self.entries[place])
        return Run(Job(JobFolder(self.entries[place].folder)))

    def __len__(self) -> int:
        return len(self.entries)

    def _shown(self) -> tuple[list[list[str]], str]:
        """The rows of the newest runs, and what to say of the others."""
        shown = self.entries[-MOST_ROWS:]
        left = len(self.entries) - len(shown) + self.unread
        return [runs_rows.cells(entry) for entry in shown], messages.text("runs.older", count=f"{left:,}") if left else ""

    def __repr__(self) -> str:
        if not self.entries and not self.unread:
            return messages.text("runs.none")
        rows, left_out = self._shown()
        return columns([runs_rows.heads(), *rows]) + (f"\n{left_out}" if left_out else "")

    def _repr_html_(self) -> str:
        if not self.entries and not self.unread:
            return markup.paragraph(messages.text("runs.none"))
        rows, left_out = self._shown()
        return words_table(runs_rows.heads(), rows, messages.text("runs.caption")) + (
            markup.paragraph(left_out) if left_out else ""
        )


def words_table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A table whose cells are words, so that all stand to the left: `markup.table` puts numbers to the right."""
    return markup.table(heads, rows, caption).replace(markup.RIGHT, markup.LEFT)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines of a plain text in which the columns stand one below the other; the first row is the head."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell + " " * (most - width(cell)) for cell, most in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def width(text: str) -> int:
    """Places that `text` takes in a terminal: two for a Chinese character."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
