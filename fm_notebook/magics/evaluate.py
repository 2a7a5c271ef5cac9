"""``%evaluate RUN DATA`` and its cell form."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fm_notebook import messages, verbs
from fm_notebook.contracts.results import Evaluation
from fm_notebook.contracts.specs import EvaluateSpec
from fm_notebook.errors import SpecError
from fm_notebook.magics import arguments, body, frontend, manual, names, settings
from fm_notebook.magics.arguments import AGAIN, ON, QUIET, Flag
from fm_notebook.session import launch
from fm_notebook.session.binding import Assigned
from fm_notebook.session.job import Job
from fm_notebook.session.progress import Progress

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

FLAGS = (
    Flag("by", "COLUMN", many=True), Flag("positive", "LABEL"), Flag("text", "COLUMN"), Flag("text_pair", "COLUMN"),
    Flag("label", "COLUMN"), AGAIN, ON, QUIET,
)  # fmt: skip
SILENT_SECONDS = 1.0
PLAIN_SECONDS = 10.0
"""Between two lines where none is updated in place."""


def magic(shell: InteractiveShell, line: str, cell: str | None) -> Evaluation | None:
    """Score a run or a model on data; the value is the `Evaluation`."""
    __tracebackhide__ = True
    asked = settings.fill(arguments.parse(line, FLAGS, most_words=2), FLAGS)
    if "help" in asked.on:
        manual.show("evaluate", "%evaluate RUN DATA [--flags]", FLAGS, EvaluateSpec)
        return None
    fields = _fields(shell, asked, cell)
    if not {"model", "data"} <= set(fields):
        messages.say("example.evaluate")
        return None
    launched = verbs.prepare_evaluation(fields, again="again" in asked.on, on=asked.values.get("on", "process"))
    if launched.how == "reused":
        messages.say("evaluate.reused", name=launched.job.name)
    elif launched.how == "started":
        launch.begin(launched.job, on=asked.values.get("on", "process"))
    launched.job.wait(Teller(launched.job, words))
    value = verbs.finish_evaluation(launched)
    if cell is not None or not frontend.shows_value(shell, "evaluate", line):
        if "quiet" not in asked.on:
            from IPython.display import display

            display(value)
        return None if cell is not None else value
    return value


def _fields(shell: InteractiveShell, asked: arguments.Line, cell: str | None) -> dict[str, Assigned]:
    """Fields of the line and of the body; a field may stand in one of them only."""
    __tracebackhide__ = True
    fields = {name: Assigned(value, value) for name, value in asked.values.items() if name != "on"}
    fields |= {name: Assigned(values, " ".join(values)) for name, values in asked.lists.items()}
    for name, word in zip(("model", "data"), asked.words, strict=False):
        fields[name] = (names.data if name == "data" else names.assigned)(word, shell.user_ns)
    if cell:
        written = body.evaluate(body.parse(cell, first_line=frontend.first_line(shell, cell)), shell.user_ns)
        for name in set(fields) & set(written):
            raise SpecError("body.also_on_line", line=written[name].line, field=name)
        fields |= written
    return fields


class Teller:
    """Says, in one line that is updated in place, how far a job is that somebody waits for; silent for the first second."""

    def __init__(self, job: Job, words: Callable[[str, Progress], str]):
        self._job, self._since, self._handle, self._shown = job, time.monotonic(), None, ""
        self._words = words
        self._time = -PLAIN_SECONDS

    def __call__(self, progress: Progress) -> bool:
        """Tell of `progress`; never ends the waiting."""
        if time.monotonic() - self._since > SILENT_SECONDS or self._handle:
            self._tell(self._words(self._job.name, progress))
        return False

    def _tell(self, words: str) -> None:
        if words == self._shown or self._job.progress.error is not None:
            return
        from IPython.display import display

        from fm_notebook.panels.plain import is_plain

        bundle = {"text/plain": words}
        if is_plain():
            if time.monotonic() - self._time < PLAIN_SECONDS:
                return
            self._time, self._handle = time.monotonic(), None
        self._shown = words
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def words(name: str, progress: Progress) -> str:
    """How far the evaluation called `name` is."""
    if progress.state == "queued":
        return messages.text("wait.behind", name=name, behind=progress.behind or "…")
    if progress.over:
        return messages.text("evaluate.done", name=name, total=progress.evaluation.n if progress.evaluation else 0)
    if progress.items:
        return messages.text("evaluate.items", name=name, done=progress.items.done, total=progress.items.total)
    return messages.text("evaluate.starting", name=name)
