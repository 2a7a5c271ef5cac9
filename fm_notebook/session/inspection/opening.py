"""From fields to the evaluation that an inspection looks into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fm_notebook.errors import SpecError
from fm_notebook.jobs.folder import delete
from fm_notebook.jobs.placement import Where
from fm_notebook.session.evaluating import finish_evaluation, prepare_evaluation
from fm_notebook.session.given import Fields
from fm_notebook.session.launch import Launched
from fm_notebook.session.scored import check_inspectable

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


def finish_inspection(launched: Launched) -> Inspection:
    """Wait for the evaluation that has begun, and open its rows.

    Raises
    ------
    FMError
        Why it failed.
    """
    from fm_notebook.session.inspection.inspection import Inspection  # with NumPy

    finish_evaluation(launched)
    return Inspection.of(launched.job.jobfolder)
