"""``%compare RUN RUN…`` and its cell form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fm_notebook import messages, verbs
from fm_notebook.contracts.comparisons import Comparison
from fm_notebook.contracts.probe_changes import ProbeComparisons
from fm_notebook.contracts.specs import EvaluateSpec, ProbeSpec
from fm_notebook.errors import SpecError
from fm_notebook.magics import arguments, body, frontend, manual, names, probe, settings
from fm_notebook.magics.arguments import AGAIN, ON, QUIET, Flag
from fm_notebook.magics.evaluate import Teller, words
from fm_notebook.session import launch
from fm_notebook.session.binding import Assigned, Fields
from fm_notebook.session.launch import Launched
from fm_notebook.session.progress import Progress

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

FLAGS = (
    Flag("data", "DATA"), Flag("by", "COLUMN", many=True), Flag("positive", "LABEL"), Flag("text", "COLUMN"),
    Flag("text_pair", "COLUMN"), Flag("label", "COLUMN"), Flag("probe", "PROBE", many=True, of="compare"), AGAIN, ON, QUIET,
)  # fmt: skip
MOST_RUNS = 50


def magic(shell: InteractiveShell, line: str, cell: str | None) -> Comparison | ProbeComparisons | None:
    """Hold runs or models against the first of them; the value is the `Comparison`."""
    __tracebackhide__ = True
    asked = settings.fill(arguments.parse(line, FLAGS, most_words=MOST_RUNS), FLAGS)
    if "help" in asked.on:
        manual.show("compare", "%compare RUN RUN… [--flags]", FLAGS, EvaluateSpec, but=("model", "tokenizer"))
        return None
    models, fields = _asked(shell, asked, cell)
    if not models:
        messages.say("example.compare")
        return None
    on = asked.values.get("on", "process")
    prepared = verbs.prepare_comparison(models, fields, again="again" in asked.on, on=on)
    _wait(prepared.launched, on)
    value = verbs.finish_comparison(prepared)
    if cell is not None or not frontend.shows_value(shell, "compare", line):
        if "quiet" not in asked.on:
            from IPython.display import display

            display(value)
        return None if cell is not None else value
    return value


def _asked(shell: InteractiveShell, asked: arguments.Line, cell: str | None) -> tuple[list[Assigned], Fields]:
    """The models and the fields, of the line and of the body; either may stand in one of them only."""
    __tracebackhide__ = True
    space = shell.user_ns
    models = [names.assigned(word, space) for word in asked.words]
    fields = {name: Assigned(value, value) for name, value in asked.values.items() if name not in {"on", "data"}}
    fields |= {name: Assigned(values, " ".join(values)) for name, values in asked.lists.items()}
    if "data" in asked.values:
        fields["data"] = names.data(asked.values["data"], space)
    if not cell:
        return models, fields
    written = body.evaluate(body.parse(cell, first_line=frontend.first_line(shell, cell)), space)
    for name in ({*fields, *(["runs"] if models else [])}) & set(written):
        raise SpecError("body.also_on_line", line=written[name].line, field=name)
    if "runs" in written:
        models = _listed(written.pop("runs"))
    return models, fields | written


def _listed(runs: Assigned) -> list[Assigned]:
    each = runs.value if isinstance(runs.value, list | tuple) else [runs.value]
    return [Assigned(value, value if isinstance(value, str) else "", runs.line) for value in each]


def _wait(launched: Sequence[Launched], on: str) -> None:
    """Start what is not done yet, and tell of one after the other; an interrupt ends the waiting alone."""
    reused = [each.job.name for each in launched if each.how == "reused"]
    if reused:
        messages.say("compare.reused", names=", ".join(reused))
    for each in launched:
        if each.how == "started":
            launch.begin(each.job, on=on)
    for each in launched:
        if each.how != "reused":
            each.job.wait(Teller(each.job, _words_of(each)))


def _words_of(each: Launched) -> Callable[[str, Progress], str]:
    spec = each.job.jobfolder.spec
    if isinstance(spec, ProbeSpec):
        return lambda name, progress: probe.words(f"{spec.probe}: {name}", progress)
    return words
