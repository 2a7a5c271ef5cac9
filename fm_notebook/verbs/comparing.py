"""Models against each other: the function behind ``%compare``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fm_notebook.jobs.placement import Where
from fm_notebook.session import launch
from fm_notebook.session.binding import Assigned, Fields
from fm_notebook.session.evaluating import finish_evaluation

if TYPE_CHECKING:
    from fm_notebook.contracts.comparisons import Comparison
    from fm_notebook.contracts.probe_changes import ProbeComparisons
    from fm_notebook.session.contenders import PreparedComparison


def compare(
    *models: Any, data: Any = None, probe: Any = None, again: bool = False, on: Where = "process", **fields: Any
) -> Comparison | ProbeComparisons:  # fmt: skip
    """What changed from the first of `models` to each other one, on the same rows: the function behind ``%compare``.

    Parameters
    ----------
    *models : Run, str, path or PreTrainedModel
        At least two, as for `evaluate`. All are scored on the same rows, read as the first one's are.
    data : frame, Dataset, list of dict, path, hub id, ``sample:NAME`` or Run, optional
        Labelled rows; by default those that the first run held out.
    probe : str, list of str, or dict, optional
        Probes to put to all models, as for `probe`; a dict gives each its own fields.
    again : bool
        Whether to score even where equal evaluations have been done.
    **fields
        The fields of `fm_notebook.contracts.specs.EvaluateSpec`, such as ``by`` and ``positive``.

    Returns
    -------
    Comparison or ProbeComparisons
        The latter where probes are asked for, no rows are given and the first model has none held out.

    Raises
    ------
    FMError
        If a field is wrong, the models cannot be compared, or scoring fails.

    Examples
    --------
    >>> found = compare("sentiment", "fairer", data=frame, by="gender")  # doctest: +SKIP
    >>> found["fairer.1"].overall.get("accuracy").interval  # doctest: +SKIP
    """
    given = {key: Assigned(value) for key, value in fields.items()} | ({} if data is None else {"data": Assigned(data)})
    given |= {} if probe is None else {"probe": Assigned(probe)}
    prepared = prepare_comparison([Assigned(model) for model in models], given, again=again, on=on)
    for each in prepared.launched:
        if each.how == "started":
            launch.begin(each.job, on=on)
    return finish_comparison(prepared)


def prepare_comparison(
    models: Sequence[Assigned], fields: Fields, *, again: bool = False, on: Where = "process"
) -> PreparedComparison:
    """An evaluation and the probes of each of `models`, prepared or found; `launch.begin` starts those that are ``started``."""
    from fm_notebook.session import contenders

    return contenders.prepare(models, fields, again=again, on=on)


def finish_comparison(prepared: PreparedComparison) -> Comparison | ProbeComparisons:
    """Wait for what has begun, and hold the others against the first.

    Raises
    ------
    FMError
        Why one failed.
    """
    from fm_notebook.session import comparing, probe_comparing

    for each in prepared.evaluations:
        finish_evaluation(each)
    probes = probe_comparing.finish(prepared.probes) if prepared.probes else None
    if probes and not prepared.evaluations:
        return probes
    found = comparing.comparison([each.job.jobfolder for each in prepared.evaluations])
    return found.model_copy(update={"probes": probes})
