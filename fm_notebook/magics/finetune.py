"""``%%finetune NAME``."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from fm_notebook import messages, verbs
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.errors import RunError
from fm_notebook.magics import arguments, body, frontend, manual, names
from fm_notebook.magics.arguments import AGAIN, ON_SEVERAL, QUIET, WAIT
from fm_notebook.session import launch, store
from fm_notebook.session.job import Job
from fm_notebook.session.launch import Launched
from fm_notebook.session.run import Run

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

FLAGS = (WAIT, AGAIN, ON_SEVERAL, QUIET)


def magic(shell: InteractiveShell, line: str, cell: str | None) -> None:
    """Start the run that the cell describes and bind its name to the handle."""
    __tracebackhide__ = True
    asked = arguments.parse(line, FLAGS, most_words=1)
    if "help" in asked.on:
        manual.show("finetune", "%%finetune NAME [--flags]", FLAGS, FinetuneSpec)
    elif not asked.words or not (cell or "").strip():
        messages.say("example.finetune")
    else:
        name = _free_name(shell, asked.words[0])
        fields = body.evaluate(body.parse(cell or "", first_line=frontend.first_line(shell, cell or "")), shell.user_ns)
        launched = verbs.prepare_finetune(name, fields, again="again" in asked.on, on=asked.values.get("on", "process"))
        shell.user_ns[name] = Run(launched.job)
        _start(shell, launched, asked)


def _free_name(shell: InteractiveShell, word: str) -> str:
    """A name that is a run already, or nothing yet: a user's own variable is never overwritten."""
    name = store.check_name(word)
    if not names.is_free_for_a_run(name, shell.user_ns):
        raise RunError("name.taken", name=name, type=type(shell.user_ns[name]).__name__)
    return name


def _start(shell: InteractiveShell, launched: Launched, asked: arguments.Line) -> None:
    job = launched.job
    if launched.how != "started":
        messages.say(f"finetune.{launched.how}", name=job.name)
    if "quiet" not in asked.on:
        from fm_notebook.panels import progress

        progress.show(job, resume=lambda: launch.resume(job))
    if launched.how == "started":
        launch.begin(job, on=asked.values.get("on", "process"))
    if "wait" in asked.on or not frontend.shows_news(shell):
        wait_and_obey(job)
    else:
        job.wait(verbs.has_started)
    if failure := job.failure():
        raise failure


def wait_and_obey(job: Job) -> None:
    """Wait for the end; the first interrupt stops and saves, the second cancels."""
    asked = ""
    for wish in ("stop", "cancel"):
        try:
            if asked:
                messages.say(f"wait.{asked}", name=job.name)
            job.wait()
        except KeyboardInterrupt:  # an impatient one may come while we speak
            asked = wish
        else:
            return
        with suppress(RunError):  # over meanwhile
            job.command(wish)
    messages.say(f"wait.{asked}", name=job.name)
    job.wait()
