"""What the form's buttons do: start the run that its text describes, or ask what it would take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from fm_notebook import messages, verbs
from fm_notebook.contracts.trials import Estimate
from fm_notebook.errors import Fault, FMError
from fm_notebook.panels import text
from fm_notebook.panels.form.draft import Draft
from fm_notebook.session import launch
from fm_notebook.session.job import Job
from fm_notebook.session.run import Run


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to begin, or was found: its job, a line that says which, and what begins it."""

    job: Job
    said: str
    begin: Callable[[], None]


def prepare(draft: Draft, namespace: MutableMapping[str, Any]) -> Prepared:
    """Prepare the run as ``%%finetune`` would, and bind its name in `namespace`.

    Raises
    ------
    FMError
        If anything is wrong. An exception of the user's own expression is passed on.
    """
    name, asked, fields = draft.fields(namespace)
    on = asked.values.get("on", "process")
    launched = verbs.prepare_finetune(name, fields, again="again" in asked.on, on=on)
    job = launched.job
    namespace[name] = Run(job)
    if launched.how == "started":
        return Prepared(job, messages.text("form.started", name=job.name), lambda: launch.begin(job, on=on))
    return Prepared(job, messages.text(f"finetune.{launched.how}", name=job.name), lambda: None)


def estimate(draft: Draft, namespace: Mapping[str, Any], tell: Callable[[list[str], bool], None]) -> Callable[[], None]:
    """Begin a dry run, and `tell` its state, at last its result, in lines, and whether it is over; returns how to watch no more.

    Raises
    ------
    FMError
        If anything is wrong.
    """
    name, _, fields = draft.fields(namespace)
    launched = verbs.prepare_dry_run(name, fields)
    if launched.how == "started":
        launch.begin(launched.job)

    def look(job: Job) -> None:
        job.refresh()
        found = job.progress.estimate
        if not job.progress.over:
            tell([messages.text("form.estimating", state=text.state(job.progress))], False)
        elif found is None:
            tell(wrong(job.failure() or FMError("run.no_result", name=job.name, state=job.state_in_words)), True)
        else:
            tell(lines(found), True)

    look(launched.job)
    return launched.job.watch(look)


def lines(found: Estimate) -> list[str]:
    """An estimate in a few words, each with what there is of it."""
    if found.free_memory_bytes is None:
        words = [messages.text("form.estimate_memory", needed=text.memory(found.memory_bytes))]
    else:
        free = text.memory(found.free_memory_bytes)
        words = [messages.text("form.estimate_memory_free", needed=text.memory(found.memory_bytes), free=free)]
    if found.total_seconds is not None:
        told = {"time": text.duration(found.total_seconds)}
        if found.interval is None:
            words.append(messages.text("form.estimate_time", **told))
        else:
            low, high = text.duration(found.interval.low), text.duration(found.interval.high)
            words.append(messages.text("form.estimate_time_range", **told, low=low, high=high))
    needed, free = text.memory(found.disk_bytes), text.memory(found.free_disk_bytes)
    words.append(messages.text("form.estimate_disk", needed=needed, free=free))
    words.append(messages.text("form.estimate_steps", steps=f"{found.total_steps:,}"))
    return words if found.fits else [*words, messages.text("form.estimate_tight")]


def wrong(error: BaseException) -> list[str]:
    """What to tell of an error, a line each."""
    if isinstance(error, FMError):
        return str(error).splitlines()
    told = {"field": "", "type": type(error).__name__, "text": str(error)}
    return [*(Fault("form.raised", told).lines()), *getattr(error, "__notes__", [])]
