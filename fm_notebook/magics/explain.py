"""``%%explain RUN``: the body is the text, verbatim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fm_notebook import messages, verbs
from fm_notebook.contracts.attributions import Attribution
from fm_notebook.magics import arguments, frontend, manual, names, settings
from fm_notebook.magics.arguments import AGAIN, ON, QUIET, Flag
from fm_notebook.magics.evaluate import Teller
from fm_notebook.session import launch
from fm_notebook.session.binding import Assigned
from fm_notebook.session.progress import Progress

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

METHODS = ("integrated-gradients", "occlusion")
FLAGS = (
    Flag("label", "LABEL", of="explain"), Flag("method", "METHOD", METHODS, many=True, of="explain"),
    Flag("pair", "TEXT", of="explain"), Flag("target", "PIECE", of="explain"), Flag("steps", "N", of="explain"),
    Flag("unit", "UNIT", ("token", "word"), of="explain"), Flag("max_length", "N", of="explain"),
    Flag("baseline", "BASELINE", ("auto", "mask", "pad", "zero"), of="explain"), Flag("task", "TASK", of="explain"),
    Flag("labels", "LABEL", many=True, of="explain"), AGAIN, ON, QUIET,
)  # fmt: skip
_FIELDS = {"pair": "text_pair", "method": "methods"}
_NUMBERS = {"steps", "max_length", "target"}


def magic(shell: InteractiveShell, line: str, cell: str | None) -> Attribution | None:
    """Explain the model's answer to the body's text; the value is the `Attribution`, and its panel stands above it."""
    __tracebackhide__ = True
    asked = settings.fill(arguments.parse(line, FLAGS, most_words=1), FLAGS)
    if "help" in asked.on:
        manual.show("explain", "%%explain RUN [--flags]", FLAGS)
        return None
    if not asked.words or cell is None:
        messages.say("explain.example")
        return None
    fields = {"model": names.assigned(asked.words[0], shell.user_ns), "text": Assigned(cell.strip("\r\n"))} | _fields(asked)
    on = asked.values.get("on", "process")
    launched = verbs.prepare_explanation(fields, again="again" in asked.on, on=on)
    quiet = "quiet" in asked.on
    if launched.how == "started":
        launch.begin(launched.job, on=on)
        launched.job.wait(None if quiet else Teller(launched.job, _words))
    elif not quiet:
        messages.say("explain.reused", name=launched.job.name)
    value = verbs.finish_explanation(launched)
    if frontend.shows_news(shell) and not quiet:
        from fm_notebook.panels import explain

        explain.show(value)
    return value


def _fields(asked: arguments.Line) -> dict[str, Assigned]:
    found = {name: Assigned(_value(name, value), value) for name, value in asked.values.items() if name != "on"}
    found |= {name: Assigned(values, " ".join(values)) for name, values in asked.lists.items()}
    return {_FIELDS.get(name, name): each for name, each in found.items()}


def _value(name: str, written: str) -> str | int:
    """A number where one is meant; else the fields' own check says what is wrong with it."""
    digits = written.removeprefix("-")
    return int(written) if name in _NUMBERS and digits.isascii() and digits.isdigit() else written


def _words(name: str, progress: Progress) -> str:
    if progress.state == "queued":
        return messages.text("wait.behind", name=name, behind=progress.behind or "…")
    if progress.over:
        return messages.text("explain.done", name=name)
    if progress.items:
        return messages.text("explain.doing", name=name, done=progress.items.done, total=progress.items.total)
    return messages.text("explain.starting", name=name)
