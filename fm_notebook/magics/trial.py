"""``%%finetune NAME --dry-run`` and ``--find-lr``: what is tried of a run, shown as the cell's value and bound to nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from fm_notebook import messages, verbs
from fm_notebook.contracts.trials import Estimate, LearningRateCurve
from fm_notebook.errors import ArgumentError, RunError
from fm_notebook.magics.arguments import Line
from fm_notebook.magics.evaluate import Teller
from fm_notebook.session import launch
from fm_notebook.session.binding import Fields
from fm_notebook.session.job import Job
from fm_notebook.session.launch import Launched
from fm_notebook.session.progress import Progress

Kind = Literal["dry-run", "find-lr"]


def kind(asked: Line) -> Kind | None:
    """Which of the two the line asks for.

    Raises
    ------
    ArgumentError
        If it asks for both.
    """
    found: list[Kind] = [each for each in ("dry-run", "find-lr") if each in asked.on]
    if len(found) > 1:
        raise ArgumentError("trial.both")
    return found[0] if found else None


def do(tried: Kind, name: str, fields: Fields, asked: Line) -> Estimate | LearningRateCurve:
    """Do it and wait for it: an interrupt ends a dry run, and ends a sweep with the curve so far."""
    __tracebackhide__ = True
    prepare = verbs.prepare_dry_run if tried == "dry-run" else verbs.prepare_find_lr
    on = asked.values.get("on", "process")
    launched = prepare(name, fields, again="again" in asked.on, on=on)
    if launched.how == "started":
        launch.begin(launched.job, on=on)
        _wait(tried, launched, quiet="quiet" in asked.on)
    else:
        messages.say(f"trial.reused.{_key(tried)}")
    return verbs.finish_trial(launched)


def _wait(tried: Kind, launched: Launched, *, quiet: bool) -> None:
    job = launched.job
    tell = None if quiet else Teller(job, lambda name, progress: _words(tried, name, progress))
    for wish in ("stop" if tried == "find-lr" else "cancel", "cancel"):
        try:
            job.wait(tell)
        except KeyboardInterrupt:
            _ask(job, wish)
        else:
            return
    job.wait()


def _ask(job: Job, wish: str) -> None:
    messages.say(f"trial.{wish}", name=job.name)
    with suppress(RunError):  # over meanwhile
        job.command(wish)


def _words(tried: Kind, name: str, progress: Progress) -> str:
    if progress.state == "queued":
        return messages.text("wait.behind", name=name, behind=progress.behind or "…")
    done, total = (progress.items.done, progress.items.total) if progress.items else (0, 0)
    return messages.text(f"trial.{'done' if progress.over else 'doing'}.{_key(tried)}", name=name, step=done, total=total or "…")


def _key(tried: Kind) -> str:
    return tried.replace("-", "_")
