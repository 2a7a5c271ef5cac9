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

    from fm_notebook.panels.passing import PassingPanel
    from fm_notebook.session.probing import Prepared

FLAGS = (
    Flag("data", "DATA", of="probe"), Flag("variant", "VARIANT", of="probe"),
    Flag("language", "LANGUAGE", ("en", "zh"), of="probe"), Flag("limit", "N", of="probe"),
    Flag("precision", "PRECISION", ("fp32", "bf16"), of="probe"), AGAIN, ON, QUIET,
)  # fmt: skip
MOST_PROBES = 50
VARIABLE = "report"
"""What a report is called that goes nowhere else, as that of a cell."""
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
    _wait(prepared, on, live=frontend.shows_news(shell))
    value = verbs.finish_probes(prepared)
    _call(shell, value, line, cell)
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


def _call(shell: InteractiveShell, value: ProbeReport | ProbeReports, line: str, cell: str | None) -> None:
    """Let the card name the variable by which the items are opened: the line's, the cell's ``_N``, or `VARIABLE`."""
    from fm_notebook.panels import probe_report

    name = frontend.target(shell, "probe", line) if cell is None else ""
    if name == "" and cell is None and frontend.shows_value(shell, "probe", line):
        name = f"_{shell.displayhook.prompt_count}"
    elif name == "":
        name = _bind(shell, value)
    if not name:
        return
    reports = {"": value} if isinstance(value, ProbeReport) else value
    for probe, report in reports.items():
        probe_report.variables[report.folder] = f"{name} {probe}".strip()


def _bind(shell: InteractiveShell, value: ProbeReport | ProbeReports) -> str:
    """Call it `VARIABLE`, unless that is a variable of the user's own; the name, empty if it got none."""
    if VARIABLE in shell.user_ns and not isinstance(shell.user_ns[VARIABLE], ProbeReport | ProbeReports):
        return ""
    shell.user_ns[VARIABLE] = value
    return VARIABLE


def _wait(prepared: Prepared, on: str, *, live: bool) -> None:
    """Start what is not done yet, and tell of one after the other; an interrupt stops what runs and keeps what it has."""
    reused = [name for name, each in prepared.launched.items() if each.how == "reused"]
    if reused:
        messages.say("probe.reused", names=", ".join(reused))
    begun = {name: each for name, each in prepared.launched.items() if each.how != "reused"}
    for each in begun.values():
        if each.how == "started":
            launch.begin(each.job, on=on)
    for name, each in begun.items():
        teller = _teller(name, each.job, live=live)
        try:
            each.job.wait(teller)
        except WaitInterrupted:
            _stop([each.job for each in begun.values()], teller)
            return


def _teller(name: str, job: Job, *, live: bool) -> Teller | PassingPanel:
    """A panel with a stop button where it is seen, else a line that is updated."""
    if not live:
        return Teller(job, lambda _, progress: words(name, progress))
    from fm_notebook.panels.passing import PassingPanel

    return PassingPanel(job, lambda progress: words(name, progress))


def _stop(jobs: list[Job], teller: Teller | PassingPanel) -> None:
    """Stop what runs at its next chunk, and wait for its partial report; what had not begun is cancelled."""
    for job in jobs:
        if not job.progress.over:
            job.command("stop")
    messages.say("probe.stopping")
    for job in jobs:
        job.wait()
        teller(job.progress)


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
