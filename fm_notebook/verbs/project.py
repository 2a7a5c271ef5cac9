"""What this project has: its runs, its settings, its plug-ins."""

from __future__ import annotations

from pathlib import Path

from fm_notebook.session import settings as session_settings
from fm_notebook.session.run import Run, each_run
from fm_notebook.session.settings import Settings


def runs() -> list[Run]:
    """The runs of this project, oldest first."""
    return each_run()


def settings() -> Settings:
    """What is set elsewhere than in cells and calls: each field, its value and where it was set.

    A flag or an argument goes before a setting, and ``%config FMNotebook`` before the project's ``pyproject.toml`` (table
    ``[tool.fm_notebook]``), that before the user's ``config.toml``.

    Examples
    --------
    >>> settings()["learning_rate"]  # doctest: +SKIP
    3e-05
    """
    return session_settings.current()


def register(path: str | Path) -> str:
    """Add the plug-in of a file with an object called ``task``, ``mitigation`` or ``probe``, such as ``my_task.py``.

    Returns
    -------
    str
        Its name.
    """
    from fm_notebook.contracts.registry import registry_of
    from fm_notebook.mitigations import mitigations
    from fm_notebook.probes import probes
    from fm_notebook.tasks import tasks

    return registry_of(path, (tasks, mitigations, probes)).register(path)
