"""What a click in the runs panel does to a run, and what is said of it."""

from __future__ import annotations

from fm_notebook import messages
from fm_notebook.errors import RunError
from fm_notebook.session import launch
from fm_notebook.session.job import Job
from fm_notebook.session.run import Run

SLOW = frozenset({"export", "delete"})
"""Copies or removes as much as a model: not to be done in the thread that answers clicks."""


def act(job: Job, verb: str, *, path: str = "") -> str:
    """Do `verb`; a sentence to show, empty where the run's new state says it.

    Parameters
    ----------
    verb : str
        ``pause``, ``resume``, ``stop``, ``cancel``, ``restart`` (a run that is over), ``export`` (to the folder `path`) or
        ``delete`` (the page has asked whether to).

    Raises
    ------
    FMError
        Why it cannot be done.
    """
    match verb:
        case "pause" | "resume" | "stop" | "cancel":
            job.command(verb)
        case "restart":
            job.refresh()
            launch.resume(job)
        case "export":
            return _export(job, path.strip())
        case "delete":
            Run(job).delete()
            return messages.text("runs.deleted", name=job.name)
    return ""


def _export(job: Job, path: str) -> str:
    if not path:
        raise RunError("runs_panel.no_folder")
    job.refresh()
    if not job.progress.over:  # else it would be waited for, in a thread that nobody can interrupt
        raise RunError("runs_panel.alive", name=job.name)
    return messages.text("runs.written", name=job.name, path=Run(job).export(path))
