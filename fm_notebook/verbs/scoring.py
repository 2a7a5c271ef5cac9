"""A model on rows: the functions behind ``%evaluate``, ``%panel inspect`` and ``%%explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fm_notebook.contracts.results import Evaluation
from fm_notebook.jobs.placement import Where
from fm_notebook.session import launch
from fm_notebook.session.binding import Assigned
from fm_notebook.session.evaluating import finish_evaluation, prepare_evaluation
from fm_notebook.session.explaining import finish_explanation, prepare_explanation
from fm_notebook.session.inspection.opening import finish_inspection, prepare_inspection

if TYPE_CHECKING:
    from fm_notebook.contracts.attributions import Attribution
    from fm_notebook.session.inspection.inspection import Inspection


def evaluate(model: Any, data: Any, /, *, again: bool = False, on: Where = "process", **fields: Any) -> Evaluation:
    """Score a run or any model on labelled rows: the function behind ``%evaluate``.

    Parameters
    ----------
    model : Run, str, path or PreTrainedModel
        A run or its name, a folder, an installed model package, a hub id or a live model. A model without a trained head for
        the task gets a random one, and the evaluation says so.
    data : frame, Dataset, list of dict, path, hub id or ``sample:NAME``
        Rows with the columns that `text` and `label` name; by default those of the run.
    again : bool
        Whether to score even if an equal evaluation has been done.
    **fields
        The fields of `fm_notebook.contracts.specs.EvaluateSpec`.

    Raises
    ------
    FMError
        If a field is wrong, or scoring fails.
    """
    given = {"model": Assigned(model), "data": Assigned(data), **{key: Assigned(value) for key, value in fields.items()}}
    launched = prepare_evaluation(given, again=again, on=on)
    if launched.how == "started":
        launch.begin(launched.job, on=on)
    return finish_evaluation(launched)


def inspect(model: Any, data: Any, /, *, again: bool = False, on: Where = "process", **fields: Any) -> Inspection:
    """The single rows of an evaluation, to filter, sort and read: the function behind ``%panel inspect``.

    Parameters
    ----------
    model, data, again, **fields
        As for `evaluate`; an equal evaluation is used again.

    Returns
    -------
    Inspection

    Raises
    ------
    FMError
        If a field is wrong, scoring fails, or the rows have no one class each.

    Examples
    --------
    >>> from fm_notebook.session.inspection.slices import Slice
    >>> rows = inspect("sentiment", frame, by=["gender"])  # doctest: +SKIP
    >>> rows.frame(rows.find(Slice(right=False)))  # doctest: +SKIP
    """
    given = {"model": Assigned(model), "data": Assigned(data), **{key: Assigned(value) for key, value in fields.items()}}
    launched = prepare_inspection(given, again=again, on=on)
    if launched.how == "started":
        launch.begin(launched.job, on=on)
    return finish_inspection(launched)


def explain(model: Any, text: str, /, *, again: bool = False, on: Where = "process", **fields: Any) -> Attribution:
    """Which parts of `text` drove the answer of a run or any model to it: the function behind ``%%explain``.

    Parameters
    ----------
    model : Run, str, path or PreTrainedModel
        As for `evaluate`, but it must have a trained head for the task.
    text : str
        Read as it is.
    again : bool
        Whether to do it even if an equal explanation has been given.
    **fields
        The fields of `fm_notebook.contracts.specs.ExplainSpec`, such as ``label``, ``text_pair`` and ``methods``.

    Raises
    ------
    FMError
        If a field is wrong, or the model has no such answer.

    Examples
    --------
    >>> found = explain("sentiment", "A film that is hardly dull.")  # doctest: +SKIP
    >>> found.to_pandas().sort_values("integrated_gradients")  # doctest: +SKIP
    """
    given = {"model": Assigned(model), "text": Assigned(text), **{key: Assigned(value) for key, value in fields.items()}}
    launched = prepare_explanation(given, again=again, on=on)
    if launched.how == "started":
        launch.begin(launched.job, on=on)
    return finish_explanation(launched)
