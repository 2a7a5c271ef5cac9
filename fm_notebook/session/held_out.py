"""A run given as data: the rows that it held out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.data.reading import Reading
from fm_notebook.errors import SpecError
from fm_notebook.jobs.folder import JobFolder

if TYPE_CHECKING:
    from fm_notebook.data.prepare import Rows

_CLASSES = frozenset({"auto", "single-label", "multi-label", "regression"})


def folder_of(value: object) -> JobFolder | None:
    """The folder of a run; None if `value` is none."""
    folder = getattr(value, "folder", None)
    return JobFolder(folder) if isinstance(folder, Path) else None


def held_out(run: JobFolder, task: str, reading: Reading, lines: Mapping[str, int]) -> Rows:
    """The rows that `run` held out, with the groups of `reading`.

    Raises
    ------
    SpecError
        If the run learnt another `task`, or its rows are gone.
    DataError
        If a group was not kept with the rows and is not made of their texts.
    """
    from fm_notebook.data.prepare import held_out_rows

    name, own = run.path.name, getattr(run.spec, "task", "")
    if own != task:
        raise SpecError("spec.held_out_task", run=name, own=own, task=task)
    if not run.eval_rows.exists():
        raise SpecError("spec.held_out_gone", run=name)
    kind = run.spec.problem if isinstance(run.spec, FinetuneSpec) and reading.kind in _CLASSES else reading.kind
    return held_out_rows(run.eval_rows, run.facts.labels, kind, source=name, names=reading.groups, lines=lines)
