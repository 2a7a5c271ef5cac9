"""Probes that look at a model between steps of its training, at the same items each time; the model is left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import pyarrow as pa

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.capabilities import Subject
from fm_notebook.contracts.probe_specs import items_of_look, own_fields
from fm_notebook.contracts.probing import SKIPPED, Probe
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.data import stored
from fm_notebook.engine.capabilities.subject import subject_of
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.probes import probes

Look = Callable[[int, float], Iterator[ev.Event]]


def looks(folder: JobFolder, spec: FinetuneSpec, model: Any, tokenizer: Any) -> Look:
    """What is seen of `model` after a step: for each probe whose turn it is, its main number over the folder's items."""
    asked = [(name, own) for name, own in (spec.probe_every or {}).items() if isinstance(own, dict)]

    def look(step: int, epoch: float) -> Iterator[ev.Event]:
        due = [(name, own) for name, own in asked if step % int(str(own["every"])) == 0]
        if not due:
            return
        subject = subject_of(model, tokenizer, name=spec.model.source)
        for name, own in due:
            yield ev.PhaseBegan(phase="probing")
            items = stored.load(folder.data / f"{items_of_look(name)}.arrow")
            yield from _seen(subject, name, own, items, step, epoch)

    return look


def _seen(
    subject: Subject, name: str, own: dict[str, Any], items: pa.Table, step: int, epoch: float
) -> Iterator[ev.ProbeScored]:  # fmt: skip
    began = perf_counter()
    probe: Probe = probes[name]
    spec = probe.Spec.model_validate(own_fields(own))
    scores = probe.score(subject, items, spec)
    rows = pa.table(
        {**{each: items[each] for each in items.column_names}, **{each: scores[each] for each in scores.column_names}}
    )
    summary = probe.summarise(rows.filter(rows[SKIPPED].is_null()), spec)
    if (main := summary.main) is not None:
        yield ev.ProbeScored(
            step=step, epoch=epoch, probe=name, variant=str(getattr(spec, "variant", "")), measurement=main,
            seconds=perf_counter() - began,
        )  # fmt: skip
