"""How our values look as a cell's result, registered by name so that nothing is imported before a value exists."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_TWINS = {
    ("fm_notebook.contracts.attributions", "Attribution"): "attribution",
    ("fm_notebook.contracts.comparisons", "Comparison"): "comparison",
    ("fm_notebook.contracts.probe_changes", "ProbeComparisons"): "probe_changes",
    ("fm_notebook.contracts.probe_reports", "ProbeReport"): "probe_report",
    ("fm_notebook.contracts.probe_reports", "ProbeReports"): "probe_report",
    ("fm_notebook.contracts.results", "Evaluation"): "evaluation",
    ("fm_notebook.contracts.trials", "Estimate"): "estimate",
    ("fm_notebook.contracts.trials", "LearningRateCurve"): "learning_rates",
}
"""Results by module and name, and the module of `fm_notebook.panels` that shows each."""


def install(shell: InteractiveShell) -> Callable[[], None]:
    """Show results as tables and pictures; returns how to undo that."""
    formatters: Any = shell.display_formatter.formatters  # type: ignore[union-attr]
    html, plain = formatters["text/html"], formatters["text/plain"]
    for home, name in _TWINS:
        html.for_type_by_name(home, name, lambda value: _twins(value).html(value))
        plain.for_type_by_name(home, name, lambda value, printer, cycle: printer.text(_twins(value).plain(value)))  # noqa: ARG005 - IPython's form

    def undo() -> None:
        for formatter in (html, plain):
            for kind in _TWINS:
                for key in (kind, ".".join(kind)):
                    formatter.deferred_printers.pop(key, None)
            for cls in [cls for cls in formatter.type_printers if (cls.__module__, cls.__name__) in _TWINS]:
                formatter.type_printers.pop(cls)

    return undo


def _twins(value: object) -> Any:
    kind = type(value)
    return import_module(f"fm_notebook.panels.{_TWINS[kind.__module__, kind.__name__]}")
