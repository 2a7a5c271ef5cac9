"""From fields to the evaluation that an inspection looks into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fm_notebook.contracts.specs import EvaluateSpec
from fm_notebook.errors import SpecError
from fm_notebook.jobs.folder import JobFolder, delete
from fm_notebook.jobs.placement import Where
from fm_notebook.session.evaluating import finish_evaluation, prepare_evaluation
from fm_notebook.session.given import Fields
from fm_notebook.session.launch import Launched

if TYPE_CHECKING:
    from fm_notebook.session.inspection.inspection import Inspection


def prepare_inspection(fields: Fields, *, again: bool = False, on: Where = "process") -> Launched:
    """As `prepare_evaluation`, for rows that have one class each.

    Raises
    ------
    SpecError
        If they have not; nothing is left behind then.
    """
    launched = prepare_evaluation(fields, again=again, on=on)
    try:
        check_inspectable(launched.job.jobfolder)
    except SpecError:
        if launched.how == "started":
            delete(launched.job.jobfolder)
        raise
    return launched


def check_inspectable(folder: JobFolder) -> None:
    """Refuse an evaluation whose rows have no one class each: confusion, margin and label errors are defined for no other.

    Raises
    ------
    SpecError
        With what the evaluation is.
    """
    from fm_notebook.contracts.protocols import Classifies
    from fm_notebook.tasks import tasks

    spec = folder.spec
    assert isinstance(spec, EvaluateSpec)
    if spec.problem not in ("auto", "single-label") or not isinstance(tasks[spec.task], Classifies):
        raise SpecError("inspect.task", task=spec.task, problem=spec.problem)


def finish_inspection(launched: Launched) -> Inspection:
    """Wait for the evaluation that has begun, and open its rows.

    Raises
    ------
    FMError
        Why it failed.
    """
    from fm_notebook.session.inspection.inspection import Inspection

    finish_evaluation(launched)
    return Inspection.of(launched.job.jobfolder)
