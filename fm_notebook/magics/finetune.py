"""``%%finetune NAME``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from fm_notebook import messages, verbs
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.contracts.trials import Estimate, LearningRateCurve
from fm_notebook.errors import RunError
from fm_notebook.magics import arguments, body, frontend, manual, names, settings, trial
from fm_notebook.magics.arguments import AGAIN, ON_SEVERAL, QUIET, WAIT, Flag
from fm_notebook.session import launch, store
from fm_notebook.session.job import Job
from fm_notebook.session.launch import Launched
from fm_notebook.session.progress import Progress
from fm_notebook.session.run import Run

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

DRY_RUN, FIND_LR = Flag("dry-run"), Flag("find-lr")
FLAGS = (WAIT, AGAIN, ON_SEVERAL, QUIET, DRY_RUN, FIND_LR)


def magic(shell: InteractiveShell, line: str, cell: str | None) -> Estimate | LearningRateCurve | None:
    """Start the run that the cell describes and bind its name to the handle; or only try it, and give what was found."""
    __tracebackhide__ = True
    asked = settings.fill(arguments.parse(line, FLAGS, most_words=1), FLAGS)
    if "help" in asked.on:
        manual.show("finetune", "%%finetune NAME [--flags]", FLAGS, FinetuneSpec)
    elif not asked.words or not (cell or "").strip():
        messages.say("example.finetune")
    else:
        tried = trial.kind(asked)
        name = store.check_name(asked.words[0]) if tried else names.free_for_a_run(asked.words[0], shell.user_ns)
        fields = body.evaluate(body.parse(cell or "", first_line=frontend.first_line(shell, cell or "")), shell.user_ns)
        if tried:
            return trial.do(tried, name, fields, asked)
        launched = verbs.prepare_finetune(name, fields, again="again" in asked.on, on=asked.values.get("on", "process"))
        shell.user_ns[name] = Run(launched.job)
        _start(shell, launched, asked)
    return None


def _start(shell: InteractiveShell, launched: Launched, asked: arguments.Line) -> None:
    job = launched.job
    if launched.how != "started":
        messages.say(f"finetune.{launched.how}", name=job.name)
    if "quiet" not in asked.on:
        from fm_notebook.panels import progress

        progress.show(job, resume=lambda: launch.resume(job), watched=frontend.is_watched(shell))
    if launched.how == "started":
        launch.begin(job, on=asked.values.get("on", "process"))
    if "wait" in asked.on or not frontend.shows_news(shell):
        wait_to_the_end(shell, job, quiet="quiet" in asked.on)
    else:
        job.wait(verbs.has_started)
    if failure := job.failure():
        raise failure


def wait_to_the_end(shell: InteractiveShell, job: Job, *, quiet: bool = False) -> None:
    """Wait for the end of a job that this cell has begun, and tell of it where no panel does."""
    tell = None if quiet or job.progress.over else frontend.teller(shell, job.progress)
    if tell is None and not quiet and not job.progress.over and not frontend.answers_while_busy(shell):
        messages.say("wait.clicks", name=job.name)
    wait_and_obey(job, tell)
    if tell is not None and job.failure() is None:
        from fm_notebook.panels import live

        live.sum_up(job)


def wait_and_obey(job: Job, tell: Callable[[Progress], bool] | None = None) -> None:
    """Wait for the end; the first interrupt stops and saves, the second cancels. `tell` is told of the progress."""
    asked = ""
    for wish in ("stop", "cancel"):
        try:
            if asked:
                messages.say(f"wait.{asked}", name=job.name)
            job.wait(tell)
        except KeyboardInterrupt:  # an impatient one may come while we speak
            asked = wish
        else:
            return
        with suppress(RunError):  # over meanwhile
            job.command(wish)
    messages.say(f"wait.{asked}", name=job.name)
    job.wait(tell)
