"""Whether the fields of a cell mean something to its task: one that would change nothing is more likely a mistake than a wish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from fm_notebook import messages
from fm_notebook.contracts.specs import EvaluateSpec
from fm_notebook.errors import FMError, SpecError, did_you_mean
from fm_notebook.session.given import Fields
from fm_notebook.tasks import tasks


def check_fields(spec: BaseModel, task: str, given: Fields) -> None:
    """Refuse fields of `given` that only other tasks have. Those at their default are let be, and so are settings.

    Raises
    ------
    SpecError
        With every such field and its line.
    """
    found = []
    for name, each in given.items():
        if each.where or name not in type(spec).model_fields or getattr(spec, name) == type(spec).model_fields[name].default:
            continue
        owners = [other for other in tasks if name in _own(other)]
        if owners and task not in owners:
            found += SpecError("spec.other_task", line=each.line, field=name, task=task, owners=", ".join(owners)).faults
    if found:
        raise SpecError(faults=found)


def grouped(spec: EvaluateSpec, kind: str, labels: Sequence[str], lines: Mapping[str, int]) -> EvaluateSpec:
    """The `spec` of an evaluation by group, with the positive label that two labels tell by themselves, if none is named.

    Raises
    ------
    SpecError
        If the rows, of this `kind`, have no one class each, or `positive` is none of the `labels`.
    """
    from fm_notebook.contracts.protocols import Classifies

    if kind != "single-label" or not isinstance(tasks[spec.task], Classifies):
        raise SpecError("spec.by_task", line=lines.get("by"), task=spec.task, kind=kind)
    if spec.positive is None:
        named = {word for code in messages.LANGUAGES for word in messages.catalogue(code)["labels.positive"].split()}
        told = [label for label in labels if label.lower() in named]
        return spec.model_copy(update={"positive": told[0] if len(labels) == 2 and len(told) == 1 else None})
    if spec.positive not in labels:
        known, hint = ", ".join(labels), did_you_mean(spec.positive, labels)
        raise SpecError("spec.positive", line=lines.get("positive"), label=spec.positive, known=known, hint=hint)
    return spec


def _own(task: str) -> frozenset[str]:
    try:
        return getattr(tasks[task], "fields", frozenset())
    except (FMError, ImportError):  # a plug-in that cannot be loaded is told of where it is asked for
        return frozenset()
