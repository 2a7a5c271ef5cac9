"""The models of a comparison: whether they can be held against each other, and an evaluation of each on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fm_notebook.contracts.specs import EvaluateSpec
from fm_notebook.errors import ArgumentError, DataError, RunError
from fm_notebook.jobs.folder import JobFolder, delete
from fm_notebook.jobs.placement import Where
from fm_notebook.session import models, probe_comparing
from fm_notebook.session.evaluating import prepare_evaluation, run_of
from fm_notebook.session.given import Assigned, Fields
from fm_notebook.session.launch import Launched
from fm_notebook.session.probe_comparing import PreparedProbes
from fm_notebook.session.run import Run

READ_ALIKE = (
    "task", "text", "text_pair", "label", "prompt", "completion", "messages", "problem", "positive", "completion_only_loss",
)  # fmt: skip
"""What the first model's evaluation came to holds for the others; lengths and precision stay each model's own."""

UNNAMED = "LABEL_"
"""How transformers begins the names of outputs that nobody named."""


@dataclass(frozen=True)
class PreparedComparison:
    """An evaluation of each model, in their order (none if only probes are compared), and its probes."""

    evaluations: tuple[Launched, ...]
    probes: PreparedProbes | None = None

    @property
    def launched(self) -> list[Launched]:
        """All jobs."""
        return [*self.evaluations, *(self.probes.launched if self.probes else [])]


def prepare(
    contenders: Sequence[Assigned], fields: Fields, *, again: bool = False, on: Where = "process"
) -> PreparedComparison:  # fmt: skip
    """What is to be asked of each of `contenders`, prepared or found; all read the same rows alike and answer the same items.

    Raises
    ------
    FMError
        If there are not two, one is there twice, a field is wrong, or tasks or labels differ; then nothing is left on disk.
    """
    given = [_resolved(each) for each in contenders]
    _check(given)
    asked = fields.get("probe")
    of_rows = {name: each for name, each in fields.items() if name != "probe"}
    made: list[Launched] = []
    try:
        if asked is None or "data" in fields or isinstance(given[0].value, Run):
            _evaluations(given, of_rows, made, again=again, on=on)
        probes = probe_comparing.prepare(given, asked, fields, again=again, on=on) if asked is not None else None
    except BaseException:
        for each in made:
            if each.how == "started":
                delete(each.job.jobfolder)
        raise
    return PreparedComparison(tuple(made), probes)


def _evaluations(given: Sequence[Assigned], fields: Fields, found: list[Launched], *, again: bool, on: Where) -> None:
    """An evaluation of each, put into `found` one by one."""
    if "data" not in fields:
        fields = {**fields, "data": _held_out_of(given[0])}
    for model in given:
        found.append(prepare_evaluation(_read_alike(model, fields, found), again=again, on=on))
        _check_alike(found[0].job.jobfolder, found[-1].job.jobfolder)


def _resolved(given: Assigned) -> Assigned:
    run = run_of(given.value)
    return given if run is None else Assigned(run, given.source or run.name, given.line)


def _check(given: Sequence[Assigned]) -> None:
    if len(given) < 2:
        raise ArgumentError("compare.one", name=given[0].reference if given else "-")
    seen = set()
    for each in given:
        known = _identity(each.value)
        if known in seen:
            raise ArgumentError("compare.twice", name=getattr(each.value, "name", each.reference))
        seen.add(known)
    runs = [each.value for each in given if isinstance(each.value, Run)]
    for run in runs[1:]:
        if (task := run.spec.task) != (own := runs[0].spec.task):
            raise RunError("compare.tasks", name=run.name, task=task, first=runs[0].name, first_task=own)


def _identity(model: object) -> object:
    """What two words for one model have in common."""
    return str(model.folder if isinstance(model, Run) else model) if isinstance(model, Run | Path | str) else id(model)


def _held_out_of(model: Assigned) -> Assigned:
    run = model.value
    if not isinstance(run, Run):
        raise ArgumentError("compare.no_data", name=model.reference)
    return Assigned(run, run.name)


def _read_alike(model: Assigned, fields: Fields, before: Sequence[Launched]) -> Fields:
    asked = {**fields, "model": model}
    if not before:
        return asked
    first = before[0].job
    spec = first.jobfolder.spec
    assert isinstance(spec, EvaluateSpec)
    return {**{name: Assigned(getattr(spec, name), where=first.name) for name in READ_ALIKE}, **asked}


def _check_alike(first: JobFolder, other: JobFolder) -> None:
    one, two, name, base = first.facts, other.facts, other.identity.name, first.identity.name
    labels = [_labels(each) for each in (first, other)]
    if set(labels[0]) != set(labels[1]):
        raise RunError("compare.labels", name=name, first=base, labels=_listed(labels[0]), other_labels=_listed(labels[1]))
    if (one.eval_rows, one.missing_rows) != (two.eval_rows, two.missing_rows):
        raise DataError("compare.rows", name=name, first=base, rows=two.eval_rows, first_rows=one.eval_rows)


def _labels(evaluation: JobFolder) -> Sequence[str]:
    """What the model itself answers with; a number, or a head without names or without training, with what the rows have."""
    spec = evaluation.spec
    own = models.labels(spec.model) if isinstance(spec, EvaluateSpec) and spec.problem != "regression" else None
    return own if own and not all(label.startswith(UNNAMED) for label in own) else evaluation.facts.labels


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(labels[:20]) + ("…" if len(labels) > 20 else "")
