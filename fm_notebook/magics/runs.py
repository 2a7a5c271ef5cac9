"""``%runs``: the runs and jobs of this project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fm_notebook import messages
from fm_notebook.errors import ArgumentError, RunError, did_you_mean
from fm_notebook.jobs import queue
from fm_notebook.magics import arguments, finetune, frontend, manual, names
from fm_notebook.magics.arguments import ON_SEVERAL, WAIT, Flag
from fm_notebook.session import launch
from fm_notebook.session.launchers.process import free_worker
from fm_notebook.session.run import Run

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

FLAGS = (WAIT, ON_SEVERAL, Flag("yes"), Flag("weights"))


_WORDS = {"list": (0, 1), "free": (0, 1), "export": (3, 3), "bundle": (3, 3), "diff": (3, 3), "code": (2, 3)}
"""Fewest and most words on the line, the action among them; two for the others."""
_SECOND = {"export": " PATH", "bundle": " PATH", "diff": " RUN"}


def magic(shell: InteractiveShell, line: str, cell: str | None) -> Any:  # noqa: ARG001 - the form of every magic
    """List the runs, or do something with one of them."""
    asked = arguments.parse(line, FLAGS, most_words=3)
    word = asked.words[0] if asked.words else "list"
    if "help" in asked.on:
        manual.show(
            "runs",
            "%runs [list|show|curves|diff|code|attach|stop|pause|resume|cancel|export|bundle|open|free|delete] [RUN] [RUN|PATH]",
            FLAGS,
        )
        return None
    if word not in ACTIONS:
        raise ArgumentError("words.unknown_action", action=word, known=", ".join(ACTIONS), hint=did_you_mean(word, list(ACTIONS)))
    least, most = _WORDS.get(word, (2, 2))
    if len(asked.words) > most:
        raise ArgumentError("words.too_many", extra=" ".join(asked.words[most:]))
    if len(asked.words) < least:
        raise ArgumentError("words.needs_run", action=word, path=_SECOND.get(word, ""))
    return ACTIONS[word](shell, asked)


def _run(shell: InteractiveShell, asked: arguments.Line, place: int = 1) -> Run:
    return names.run(asked.words[place], shell.user_ns)


def _list(shell: InteractiveShell, asked: arguments.Line) -> Any:  # noqa: ARG001
    from fm_notebook.panels.runs import table as runs_table
    from fm_notebook.session import index

    return runs_table.RunsTable(tuple(index.listing()))


def _diff(shell: InteractiveShell, asked: arguments.Line) -> Any:
    """What two runs were asked differently."""
    from fm_notebook.panels.runs.compared import SpecDiff

    left, right = _run(shell, asked), _run(shell, asked, 2)
    return SpecDiff.of((left.name, right.name), (left.spec, right.spec))


def _curves(shell: InteractiveShell, asked: arguments.Line) -> Any:
    """The curves of a run as a table."""
    from fm_notebook.panels.runs.compared import CurveTable

    run = _run(shell, asked)
    return CurveTable.of(run.progress, run.name)


def _code(shell: InteractiveShell, asked: arguments.Line) -> None:
    """Print the script that does a run again, or write it into a new file."""
    run = _run(shell, asked)
    script = run.code()
    if len(asked.words) < 3:
        messages.say("runs.code", script=script)
        return
    path = Path(asked.words[2]).expanduser()
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(script)
    except FileExistsError:
        taken = True
    else:
        taken = False
    if taken:
        raise RunError("runs.code_exists", path=str(path))
    messages.say("runs.written", name=run.name, path=path.resolve())


def _show(shell: InteractiveShell, asked: arguments.Line) -> None:
    from fm_notebook.panels import card

    card.Card(_run(shell, asked).job).show()


def _attach(shell: InteractiveShell, asked: arguments.Line) -> None:
    """Show the live panel of a run and bind its name."""
    from fm_notebook.panels import progress

    run = _run(shell, asked)
    name = run.job.jobfolder.identity.name
    if names.is_free_for_a_run(name, shell.user_ns):
        shell.user_ns[name] = run
    progress.show(run.job, resume=lambda: launch.resume(run.job), watched=frontend.is_watched(shell))
    if run.progress.over:
        return
    if "wait" in asked.on:
        finetune.wait_to_the_end(shell, run.job)
    elif not frontend.shows_news(shell):
        run.job.wait(frontend.teller(shell, run.job.progress))
    if failure := run.job.failure():
        raise failure


def _resume(shell: InteractiveShell, asked: arguments.Line) -> None:
    run = _run(shell, asked)
    if run.state in {"paused", "pausing"}:
        run.resume()
        messages.say("runs.asked", action="resume", name=run.name)
        return
    launch.resume(run.job, on=asked.values.get("on"))
    _attach(shell, asked)


def _ask(action: str) -> Callable[[InteractiveShell, arguments.Line], None]:
    def ask(shell: InteractiveShell, asked: arguments.Line) -> None:
        run = _run(shell, asked)
        run.job.command(action)
        messages.say("runs.asked", action=action, name=run.name)
        if "wait" in asked.on:
            run.job.wait()

    return ask


def _export(shell: InteractiveShell, asked: arguments.Line) -> None:
    run = _run(shell, asked)
    messages.say("runs.written", name=run.name, path=run.export(asked.words[2]))


def _bundle(shell: InteractiveShell, asked: arguments.Line) -> None:
    run = _run(shell, asked)
    messages.say("runs.written", name=run.name, path=run.bundle(asked.words[2], weights="weights" in asked.on))


def _open(shell: InteractiveShell, asked: arguments.Line) -> None:
    from fm_notebook.panels import card

    run = Run.open(Path(asked.words[1]))
    name = run.job.jobfolder.identity.name
    if names.is_free_for_a_run(name, shell.user_ns):
        shell.user_ns[name] = run
    card.Card(run.job).show()


def _free(shell: InteractiveShell, asked: arguments.Line) -> None:  # noqa: ARG001
    for each in queue.devices():
        gone = free_worker(each, patience_seconds=3.0)
        messages.say("runs.freed" if gone else "runs.freed_later", device=each.device)


def _delete(shell: InteractiveShell, asked: arguments.Line) -> None:
    run = _run(shell, asked)
    if "yes" not in asked.on:
        messages.say("runs.delete_confirm", name=run.name, folder=run.folder)
        return
    run.delete()
    messages.say("runs.deleted", name=run.name)


ACTIONS: dict[str, Callable[[Any, arguments.Line], Any]] = {
    "list": _list,
    "show": _show,
    "curves": _curves,
    "diff": _diff,
    "code": _code,
    "attach": _attach,
    "stop": _ask("stop"),
    "pause": _ask("pause"),
    "resume": _resume,
    "cancel": _ask("cancel"),
    "export": _export,
    "bundle": _bundle,
    "open": _open,
    "free": _free,
    "delete": _delete,
}
