"""``%panel inspect REPORT``: the items of a probe's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fm_notebook.contracts.probe_reports import ProbeReport, ProbeReports
from fm_notebook.errors import ArgumentError, did_you_mean
from fm_notebook.magics import arguments, frontend, names

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def report(shell: InteractiveShell, asked: arguments.Line) -> ProbeReport | None:
    """The report that the words of ``%panel inspect NAME [PROBE]`` mean; None if NAME is no report.

    Raises
    ------
    ArgumentError
        If NAME holds several reports and PROBE is none of them.
    """
    if not asked.words[1:]:
        return None
    found = names.assigned(asked.words[1], shell.user_ns).value
    if isinstance(found, ProbeReport):
        return found
    if not isinstance(found, ProbeReports):
        return None
    chosen = asked.words[2] if asked.words[2:] else next(iter(found)) if len(found) == 1 else ""
    if chosen not in found:
        known = list(found)
        hint = did_you_mean(chosen, known) if chosen else ""
        raise ArgumentError("probe.which_report", name=asked.words[1], hint=hint, known=", ".join(known), first=known[0])
    return found[chosen]


def show(shell: InteractiveShell, found: ProbeReport) -> None:
    """Display the panel of the items of `found`."""
    from fm_notebook.panels import probe_items

    probe_items.show(found, watched=frontend.is_watched(shell))
