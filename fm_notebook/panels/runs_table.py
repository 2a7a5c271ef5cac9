"""The table that ``%runs`` gives: one row a run, in HTML and plain text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from fm_notebook import messages
from fm_notebook.session.run import Run

_COLUMNS = ("run", "state", "model", "steps", "metric", "made")


@dataclass(frozen=True)
class RunsTable(Sequence[Run]):
    """The runs of a project, oldest first; a sequence of `Run` that shows itself as a table."""

    runs: tuple[Run, ...]

    def __getitem__(self, place):  # type: ignore[override]
        return self.runs[place]

    def __len__(self) -> int:
        return len(self.runs)

    def _rows(self) -> list[tuple[str, ...]]:
        return [_row(run) for run in self.runs]

    def __repr__(self) -> str:
        if not self.runs:
            return messages.text("runs.none")
        rows = [tuple(messages.text(f"runs.column.{name}") for name in _COLUMNS), *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        if not self.runs:
            return f"<p>{escape(messages.text('runs.none'))}</p>"
        head = "".join(
            f'<th scope="col" style="text-align:left">{escape(messages.text(f"runs.column.{n}"))}</th>' for n in _COLUMNS
        )
        body = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{escape(cell)}</td>' for cell in row) + "</tr>" for row in self._rows()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(run: Run) -> tuple[str, ...]:
    progress = run.progress
    state = run.job.state_in_words + (f" ({progress.behind})" if progress.behind else "")
    metric = run.spec.metric or ""
    value = progress.best.metrics.get(metric) if progress.best else None
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.job.jobfolder.identity.created))
    shown = f"{metric} {value:.4f} (n {progress.best.n})" if value is not None and progress.best else ""
    return (run.name, state, run.spec.model.source, f"{progress.step}/{progress.total_steps or '?'}", shown, made)
