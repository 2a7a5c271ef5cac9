"""How our values look as a cell's result, registered by name so that nothing is imported before a value exists."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_TYPE = ("fm_notebook.contracts.results", "Evaluation")


def install(shell: InteractiveShell) -> Callable[[], None]:
    """Show an `Evaluation` as its table; returns how to undo that."""
    formatters: Any = shell.display_formatter.formatters  # type: ignore[union-attr]
    html, plain = formatters["text/html"], formatters["text/plain"]
    html.for_type_by_name(*_TYPE, lambda value: _twins().html(value))
    plain.for_type_by_name(*_TYPE, lambda value, printer, cycle: printer.text(_twins().plain(value)))  # noqa: ARG005 - IPython's form

    def undo() -> None:
        for formatter in (html, plain):
            for key in (_TYPE, ".".join(_TYPE)):
                formatter.deferred_printers.pop(key, None)
            for cls in [cls for cls in formatter.type_printers if (cls.__module__, cls.__name__) == _TYPE]:
                formatter.type_printers.pop(cls)

    return undo


def _twins() -> Any:
    from fm_notebook.panels import evaluation

    return evaluation
