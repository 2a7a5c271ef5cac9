"""Whether the fields of a cell mean something to its task: one that would change nothing is more likely a mistake than a wish."""

from __future__ import annotations

from pydantic import BaseModel

from fm_notebook.errors import FMError, SpecError
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


def _own(task: str) -> frozenset[str]:
    try:
        return getattr(tasks[task], "fields", frozenset())
    except (FMError, ImportError):  # a plug-in that cannot be loaded is told of where it is asked for
        return frozenset()
