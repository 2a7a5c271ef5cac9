"""Whether the fields of a cell mean something to its task: one that would change nothing is more likely a mistake than a wish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import BaseModel

from fm_notebook import messages
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import EvaluateSpec, FinetuneSpec
from fm_notebook.errors import DataError, FMError, SpecError, did_you_mean
from fm_notebook.session.given import Fields
from fm_notebook.tasks import tasks

if TYPE_CHECKING:
    from fm_notebook.data.prepare import Rows


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


def check_weights(spec: FinetuneSpec, facts: DataFacts, lines: Mapping[str, int]) -> None:
    """See that the class weights of `spec` are of classes that there are.

    Raises
    ------
    SpecError
        If a text has no single class, or a label is none of the data's.
    """
    if spec.class_weight is not None and spec.task == "text-classification" and spec.problem in ("multi-label", "regression"):
        raise SpecError("spec.class_weight_problem", line=lines.get("class_weight"), problem_found=spec.problem)
    unknown = sorted(set(spec.class_weight) - set(facts.labels)) if isinstance(spec.class_weight, dict) else []
    if unknown:
        line, hint = lines.get("class_weight"), did_you_mean(unknown[0], facts.labels)
        raise SpecError("spec.class_weight_label", line=line, label=unknown[0], known=", ".join(facts.labels), hint=hint)


def decided(spec: EvaluateSpec, rows: Rows, lines: Mapping[str, int]) -> EvaluateSpec:
    """The `spec` of an evaluation of `rows`, with the positive label that two labels tell by themselves, if none is named.

    Raises
    ------
    FMError
        If there is something to group by, or a positive label, and the rows have no one class each; if `positive` is none of
        their labels; if a grouping has more groups than can be compared, before a model is loaded for it.
    """
    from fm_notebook.contracts.protocols import Classifies
    from fm_notebook.metrics.grouping import of_rows

    if rows.kind != "single-label" or not isinstance(tasks[spec.task], Classifies):
        for field in ("by", "positive"):
            if getattr(spec, field):
                raise SpecError(f"spec.{field}_task", line=lines.get(field), task=spec.task, kind=rows.kind)
        return spec
    for name in spec.by:
        try:
            of_rows(rows.table, name)
        except DataError as error:
            raise DataError(faults=[replace(fault, line=fault.line or lines.get("by")) for fault in error.faults]) from None
    return _with_positive(spec, rows.labels, lines)


def _with_positive(spec: EvaluateSpec, labels: Sequence[str], lines: Mapping[str, int]) -> EvaluateSpec:
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
