"""What the runs panel shows of a run that is opened: all but its curves, which go as bytes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from fm_notebook import messages
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.panels import rows, text
from fm_notebook.panels.runs.cell import cell_text
from fm_notebook.panels.snapshot import snapshot
from fm_notebook.session import launch
from fm_notebook.session.differences import flat
from fm_notebook.session.job import Job
from fm_notebook.session.progress import Progress

Section = dict[str, object]
Stamp = tuple[str, int, int, int]


def stamp(progress: Progress) -> Stamp:
    """What changes when the details do, other than by their curves and numbers."""
    return (progress.state, len(progress.held_out), len(progress.checkpoints), len(progress.notes))


def details(job: Job) -> dict[str, object]:
    """The run in words: numbers and scores as the live panel has them, then sections that are tables, and its cell."""
    spec = job.jobfolder.spec
    facts = None
    with suppress(OSError, ValueError):
        facts = job.jobfolder.facts
    can_be_exported = job.progress.over and (job.folder / "model" / "config.json").is_file()
    return {
        **snapshot(job.progress, resumable=True).to_json(),
        "id": job.name,
        "folder": str(job.folder),
        "cell": cell_text(job.progress.name, spec) if isinstance(spec, FinetuneSpec) else "",
        "exportable": can_be_exported,
        "sections": [section for section in _sections(job, spec, facts) if section["rows"]],
    }


def numbers(progress: Progress) -> dict[str, object]:
    """The part of the details that moves at every tick."""
    moving = snapshot(progress, resumable=True)
    return {key: getattr(moving, key) for key in ("facts", "total", "best", "words", "state", "over", "commands")}


def _sections(job: Job, spec, facts: DataFacts | None) -> Iterable[Section]:
    progress = job.progress
    yield _section("evaluations", _evaluations(job), _heads("data", "metric", "value", "interval", "n"))
    yield _section("checkpoints", _checkpoints(job), _heads("step", "made", "folder"))
    yield _section("data", rows.data(spec, facts))
    yield _section("spec", flat(spec).items())
    yield _section("speed", rows.speed(progress))
    yield _section("environment", rows.provenance(progress, spec))


def _section(key: str, found: Iterable[Sequence[str]], heads: Sequence[str] = ()) -> Section:
    """A table with `heads`, or of names and values; rows without a value are left out."""
    kept = [list(row) for row in found if row[1]]
    return {"key": key, "title": messages.text(f"runs_panel.section.{key}"), "heads": list(heads), "rows": kept}


def _heads(*names: str) -> list[str]:
    return [messages.text(f"runs_panel.head.{name}") for name in names]


def _evaluations(job: Job) -> Iterable[list[str]]:
    for found in launch.evaluations(job.folder):
        for score in found.scores:
            shown = [text.metric(score.name), text.score(score.value), text.interval(score.interval), f"{score.n:,}"]
            yield [found.data.source, *shown]


def _checkpoints(job: Job) -> Iterable[list[str]]:
    """Those that are still on disk: older ones are removed as newer come, and all when the run has finished."""
    for saved in job.progress.checkpoints:
        if (job.folder / saved.folder).is_dir():
            yield [f"{saved.step:,}", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(saved.time)), saved.folder]
