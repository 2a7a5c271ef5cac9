"""``%probe RUN PROBE…`` and its cell form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fm_notebook import messages, verbs
from fm_notebook.contracts.probe_reports import ProbeReport, ProbeReports
from fm_notebook.contracts.probe_specs import ProbeSpec
from fm_notebook.errors import SpecError, WaitInterrupted
from fm_notebook.magics import arguments, body, frontend, manual, names, settings
from fm_notebook.magics.arguments import AGAIN, ON, QUIET, Flag
from fm_notebook.magics.evaluate import Teller
from fm_notebook.session import launch
from fm_notebook.session.binding import Assigned
from fm_notebook.session.job import Job
from fm_notebook.session.progress import Progress

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from fm_notebook.session.probing import Prepared

FLAGS = (
    Flag("data", "DATA", of="probe"), Flag("variant", "VARIANT", of="probe"),
    Flag("language", "LANGUAGE", ("en", "zh"), of="probe"), Flag("limit", "N", of="probe"),
    Flag("precision", "PRECISION", ("fp32", "bf16"), of="probe"), AGAIN, ON, QUIET,
)  # fmt: skip
MOST_PROBES = 50
_HIDDEN = ("model", "head_of", "run", "probe", "version", "fields", "data", "items")


def magic(shell: InteractiveShell, line: str, cell: str | None) -> ProbeReport | ProbeReports | None:
    """Put probes to a model; the value is the report of the one, or of several a mapping."""
    __tracebackhide__ = True
    asked = settings.fill(arguments.parse(line, FLAGS, most_words=1 + MOST_PROBES), FLAGS)
    if "help" in asked.on:
        _help(asked.words)
        return None
    fields, probes = _asked(shell, asked, cell)
    if "model" not in fields or not probes:
        messages.say("example.probe")
        return None
    on = asked.values.get("on", "process")
    prepared = verbs.prepare_probes(probes, fields, again="again" in asked.on, on=on)
    _wait(prepared, on)
    value = verbs.finish_probes(prepared)
    if cell is not None or not frontend.shows_value(shell, "probe", line):
        if "quiet" not in asked.on:
            from IPython.display import display

            display(value)
        return None if cell is not None else value
    return value


def _asked(shell: InteractiveShell, asked: arguments.Line, cell: str | None) -> tuple[dict[str, Assigned], tuple[str, ...]]:
    """The fields, of the line and of the body, and the probes; a field may stand in one of them only."""
    __tracebackhide__ = True
    space, probes = shell.user_ns, asked.words[1:]
    fields = {name: Assigned(value, value) for name, value in asked.values.items() if name not in {"on", "data"}}
    if "limit" in fields:
        fields["limit"] = Assigned(_number(asked.values["limit"]), asked.values["limit"])
    if asked.words:
        fields["model"] = names.assigned(asked.words[0], space)
    if "data" in asked.values:
        fields["data"] = names.data(asked.values["data"], space)
    if not cell:
        return fields, probes
    written = body.evaluate(body.parse(cell, first_line=frontend.first_line(shell, cell)), space)
    for name in ({*fields, *(["probes"] if probes else [])}) & set(written):
        raise SpecError("body.also_on_line", line=written[name].line, field=name)
    if "probes" in written:
        listed = written.pop("probes").value
        probes = (listed,) if isinstance(listed, str) else tuple(listed)
    return fields | written, probes


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _wait(prepared: Prepared, on: str) -> None:
    """Start what is not done yet, and tell of one after the other; an interrupt stops what runs and keeps what it has."""
    reused = [name for name, each in prepared.launched.items() if each.how == "reused"]
    if reused:
        messages.say("probe.reused", names=", ".join(reused))
    begun = {name: each for name, each in prepared.launched.items() if each.how != "reused"}
    for each in begun.values():
        if each.how == "started":
            launch.begin(each.job, on=on)
    for name, each in begun.items():
        try:
            each.job.wait(Teller(each.job, lambda _, progress, name=name: words(name, progress)))
        except WaitInterrupted:
            _stop([each.job for each in begun.values()])
            return


def _stop(jobs: list[Job]) -> None:
    """Stop what runs at its next chunk, and wait for its partial report."""
    for job in jobs:
        if not job.progress.over:
            job.command("stop")
    messages.say("probe.stopping")
    for job in jobs:
        job.wait()


def words(name: str, progress: Progress) -> str:
    """How far the probe called `name` is."""
    if progress.state == "queued":
        return messages.text("wait.behind", name=name, behind=progress.behind or "…")
    if progress.over:
        return messages.text("probe.done", name=name, done=progress.probe.scored if progress.probe else 0)
    if progress.items:
        return messages.text("probe.items", name=name, done=progress.items.done, total=progress.items.total)
    return messages.text("probe.starting", name=name)


def _help(words: tuple[str, ...]) -> None:
    """The magic's help; with ``%probe RUN PROBE --help`` also the fields of that probe."""
    from fm_notebook.probes import probes

    manual.show("probe", "%probe RUN PROBE… [--flags]", FLAGS, ProbeSpec, but=_HIDDEN)
    chosen = [word for word in words if word in probes]
    for name in chosen:
        manual.show_fields(messages.text("help.of_probe", name=name, source=probes[name].source), probes[name].Spec)
    if not chosen:
        messages.say("help.text", text="\n".join(f"  {name:<22}  {probes[name].summary}" for name in probes))
