"""Fine-tune foundation models in notebook cells and see what it does to people.

``%load_ext fm_notebook`` gives the magics; the functions below are the same for scripts. Everything is loaded on first use, so
that importing this package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from fm_notebook.contracts.attributions import Attribution
    from fm_notebook.contracts.comparisons import Comparison
    from fm_notebook.contracts.probe_reports import ProbeReport, ProbeReports
    from fm_notebook.contracts.results import Evaluation, RunResult
    from fm_notebook.contracts.trials import Estimate, LearningRateCurve
    from fm_notebook.errors import FMError
    from fm_notebook.session.run import Run
    from fm_notebook.verbs import compare, dry_run, evaluate, explain, find_lr, finetune, inspect, probe, register, runs, settings

_HOMES = {
    "Attribution": "contracts.attributions",
    "Comparison": "contracts.comparisons",
    "Estimate": "contracts.trials",
    "Evaluation": "contracts.results",
    "FMError": "errors",
    "LearningRateCurve": "contracts.trials",
    "ProbeReport": "contracts.probe_reports",
    "ProbeReports": "contracts.probe_reports",
    "Run": "session.run",
    "RunResult": "contracts.results",
    "compare": "verbs",
    "dry_run": "verbs",
    "evaluate": "verbs",
    "explain": "verbs",
    "find_lr": "verbs",
    "finetune": "verbs",
    "inspect": "verbs",
    "probe": "verbs",
    "register": "verbs",
    "runs": "verbs",
    "settings": "verbs",
}
__all__ = [
    "Attribution", "Comparison", "Estimate", "Evaluation", "FMError", "LearningRateCurve", "ProbeReport", "ProbeReports", "Run",
    "RunResult", "compare", "dry_run", "evaluate", "explain", "find_lr", "finetune", "inspect", "probe", "register", "runs",
    "settings",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"fm_notebook.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics; loading twice is harmless."""
    from fm_notebook.magics import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics away again; jobs go on."""
    from fm_notebook.magics import unload

    unload(shell)
