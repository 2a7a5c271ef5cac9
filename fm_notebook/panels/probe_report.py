"""A `ProbeReport` as a headline, what must be known to read it, a picture, and a table; several by their headlines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fm_notebook import messages
from fm_notebook.contracts.probe_reports import Measurement, ProbeReport, ProbeReports
from fm_notebook.contracts.probe_specs import Remark
from fm_notebook.panels import markup, text
from fm_notebook.panels.probe_tables import NOTHING, Rows, Table, between, label, neutral, number, p_value, tables

MOST_ROWS = 60
"""Of a table of measurements that are shown at once; the others are folded."""
variables: dict[str, str] = {}
"""What the notebook calls a report, by the report's folder, as far as ``%probe`` knows: for the line that opens its items."""
_NEUTRAL_ORDER = {"warning": 0, "info": 1}


def html(found: ProbeReport | ProbeReports) -> str:
    """As HTML that survives sanitizers; no item is shown."""
    return _several(found) if isinstance(found, ProbeReports) else _one(found)


def plain(found: ProbeReport | ProbeReports) -> str:
    """As text."""
    if isinstance(found, ProbeReports):
        lines = [*text.columns(headlines(found)), *(f"  {line}" for line in unfit(found))]
        return "\n".join([*lines, *(f"\n{plain(each)}" for each in found.values())])
    lines = [title(found), *(f"  {line}" for line in [*headline(found), *notices(found)])]
    for each in tables(found.measurements):
        lines += [each.caption, *text.columns(each.rows)]
    if rows := downstream(found):
        lines += [messages.text("probe_report.downstream"), *text.columns(rows)]
    return "\n".join([*lines, *(f"  {line}" for line in [*opening(found), *sources(found)])])


def title(report: ProbeReport) -> str:
    """Which probe, of what, on which items."""
    variant = f" ({report.variant})" if report.variant else ""
    words = [
        messages.text("probe_report.title", probe=report.probe + variant, model=report.run or report.model),
        messages.text("probe_report.items", n=f"{report.scored:,}", name=items_name(report)),
    ]
    return " · ".join([*words, *([text.duration(report.seconds)] if report.seconds else [])])


def headline(report: ProbeReport) -> list[str]:
    """The main measurement in a sentence, what it means, and what so many items can show."""
    if not report.measurements:
        return [messages.text("probe_report.nothing")]
    main = report.main
    return [line for line in (_sentence(main), _meaning(main), _power(main)) if line]


def notices(report: ProbeReport) -> list[str]:
    """What must be known to read the numbers, warnings first; and what was not scored."""
    remarks = sorted(report.remarks, key=lambda remark: _NEUTRAL_ORDER[remark.level])
    skipped = [
        messages.text("probe_report.skipped", n=f"{n:,}", why=skip_reason(reason)) for reason, n in report.skipped.items() if n
    ]
    return [*dict.fromkeys([*map(remark_text, remarks), *skipped])]


def opening(report: ProbeReport) -> list[str]:
    """How the items are looked at one by one; nothing if none was scored."""
    if not report.scored or not report.folder:
        return []
    return [messages.text("probe_items.open_line", name=variables.get(report.folder, messages.text("probe_report.variable")))]


def downstream(report: ProbeReport) -> Rows:
    """A header, then the gaps between groups that evaluations of the same run have found; empty if none is known."""
    from fm_notebook.session.launch import evaluations

    run = report.spec.get("run")
    gaps: dict[tuple[str, str], tuple[str, ...]] = {}
    for evaluation in evaluations(Path(run)) if run else ():
        for by in evaluation.groups:
            for gap in by.disparities.gaps:
                columns = " × ".join(by.table.columns)
                between = f" ({text.interval(gap.interval)})" if gap.interval else ""
                value = text.score(gap.difference) + between
                gaps[gap.name, columns] = (text.metric(gap.name), columns, value, text.p_value(gap.p_value), f"{evaluation.n:,}")
    header = tuple(messages.text(f"probe_report.{word}") for word in ("gap", "by", "value", "p", "n"))
    return [header, *gaps.values()] if gaps else []


def sources(report: ProbeReport) -> list[str]:
    """Whose items these are, and whose method."""
    licence = report.licence or messages.text("probe_report.unknown")
    lines = [messages.text("probe_report.licence", name=items_name(report), licence=licence, hash=report.data.fingerprint[:12])]
    return [*lines, *([messages.text("probe_report.citation", citation=report.citation)] if report.citation else [])]


def headlines(reports: ProbeReports) -> Rows:
    """A header, then a row a probe: its main measurement."""
    words = ("probe", "measure", "value", "interval", "neutral", "p", "n")
    rows: Rows = [tuple(messages.text(f"probe_report.{word}") for word in words)]
    for name, report in reports.items():
        called = f"{name} ({report.variant})" if report.variant else name
        if report.measurements:
            main = report.main
            rows.append(
                (
                    called,
                    label(main),
                    number(main.value, main),
                    between(main),
                    neutral(main) or NOTHING,
                    p_value(main.p_value),
                    f"{main.n:,}",
                )
            )
        else:
            rows.append((called, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, "0"))
    return rows


def unfit(reports: ProbeReports) -> list[str]:
    """Which probes have no report, and why: those that failed, and those of a family that were left out, a line a reason."""
    reasons = dict.fromkeys(reports.unfit.values())
    names = {why: ", ".join(name for name, own in reports.unfit.items() if own == why) for why in reasons}
    failed = [messages.text("probe_failed.line", name=name, why=why) for name, why in reports.failed.items()]
    return [*failed, *(messages.text("probe.unfit_of_family", names=names[why], why=why) for why in reasons)]


def remark_text(remark: Remark) -> str:
    """A remark in words; its bare key if the catalogue does not know it or its values do not fit."""
    try:
        return messages.text(f"remark.{remark.key}.text", **remark.values)
    except (KeyError, IndexError, ValueError, TypeError):  # written by another version, or by a plug-in
        return remark.key


def items_name(report: ProbeReport) -> str:
    """What the items are called: a seed set by its language, others by their own name."""
    if report.origin == "seed":
        return messages.text("probe_report.seed_set", language=report.language or NOTHING)
    return report.data_name or report.data.source


def skip_reason(reason: str) -> str:
    """Why an item was not scored, in words."""
    key = f"skipped.{reason}.text"
    return messages.text(key) if messages.has(key) else reason.replace("_", " ")


def _one(report: ProbeReport) -> str:
    return "".join(_parts(report))


def _parts(report: ProbeReport) -> Iterator[str]:
    from fm_notebook.figures import measurements

    first, *others = headline(report)
    yield markup.paragraph(title(report))
    yield markup.paragraph("", *others, strong=first)
    yield markup.bullets(notices(report))
    shown, pictured = tables(report.measurements), _pictured(report)
    for each in shown:
        drawn = (
            markup.image(measurements.measurements(pictured, label(pictured[0])))
            if pictured and each.name == pictured[-1].name
            else ""
        )
        if not each.name or drawn:
            yield drawn + _limited(each)
        else:
            yield markup.details(
                messages.text("probe_report.by_group", label=each.caption.partition(" · ")[0], n=len(each.rows) - 1),
                _limited(each),
            )
    yield "".join(markup.paragraph(line) for line in opening(report))
    if rows := downstream(report):
        caption = messages.text("probe_report.downstream")
        yield markup.table(rows[0], rows[1:], caption) + markup.paragraph(messages.text("probe_report.no_prediction"))
    yield markup.details(messages.text("probe_report.sources"), markup.bullets(sources(report)))


def _limited(found: Table) -> str:
    """The table; of very many rows the later ones are folded."""
    header, *rows = found.rows
    shown = markup.table(header, rows[:MOST_ROWS], found.caption)
    if len(rows) <= MOST_ROWS:
        return shown
    return shown + markup.details(
        messages.text("probe_report.more", n=len(rows) - MOST_ROWS), markup.table(header, rows[MOST_ROWS:])
    )


def _pictured(report: ProbeReport) -> list[Measurement]:
    """Those that are drawn: of the headline's measure, or if that has no groups, of the first that has; all items first."""
    with_groups = dict.fromkeys(each.name for each in report.measurements if each.group)
    if not with_groups:
        return []
    name = report.main.name if report.main.name in with_groups else next(iter(with_groups))
    return sorted((each for each in report.measurements if each.name == name), key=lambda each: bool(each.group))


def _several(reports: ProbeReports) -> str:
    header, *rows = headlines(reports)
    parts = [markup.table(header, rows, messages.text("probe_report.several")), markup.bullets(unfit(reports))]
    return "".join([*parts, *(markup.details(title(each), _one(each)) for each in reports.values())])


def _sentence(main: Measurement) -> str:
    interval = messages.text("probe_report.between", interval=between(main)) if main.interval else ""
    against = "" if main.neutral is None else messages.text("probe_report.against", neutral=neutral(main))
    chance = "" if main.p_value is None else text.p_in_words(main.p_value)
    return " · ".join(part for part in (f"{label(main)}: {number(main.value, main)}{interval}", against, chance) if part)


def _meaning(main: Measurement) -> str:
    key = f"measure.{main.name}.says"
    return messages.text(key) if messages.has(key) else ""


def _power(main: Measurement) -> str:
    if main.smallest is None or main.neutral is None:
        return ""
    values = {"n": f"{main.n:,}", "smallest": number(main.smallest, main), "neutral": neutral(main)}
    if main.needed is None:
        return messages.text("probe_report.smallest_only", **values)
    return messages.text("probe_report.power", value=number(main.value, main), needed=f"{main.needed:,.0f}", **values)
