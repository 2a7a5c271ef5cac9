"""`ProbeComparisons`: a table a probe of what changed in the answers to its items, and who moved where."""

from __future__ import annotations

from fm_notebook import messages
from fm_notebook.contracts.probe_changes import ModelChanges, ProbeChange, ProbeComparison, ProbeComparisons
from fm_notebook.contracts.probe_reports import Measurement
from fm_notebook.panels import markup, text
from fm_notebook.panels.probe_tables import between, label, number

Rows = list[tuple[str, ...]]


def html(found: ProbeComparisons) -> str:
    """As HTML that survives sanitizers; no item is shown."""
    parts = []
    for each in found.probes:
        parts += [markup.paragraph(_called(each), strong=_word("title")), markup.bullets(unpaired(each))]
        header, *rows = headlines(each)
        parts.append(markup.table(header, rows, _word("headlines")))
        header, *rows = changes(each)
        parts.append(markup.table(header, rows, _word("changes")))
    return "".join([*parts, markup.paragraph(messages.text("probe_report.no_prediction"))])


def plain(found: ProbeComparisons) -> str:
    """As text."""
    lines: list[str] = []
    for each in found.probes:
        lines += ["", f"{_word('title')} {_called(each)}", *(f"  {line}" for line in unpaired(each))]
        lines += [*text.columns(headlines(each)), *text.columns(changes(each))]
    return "\n".join(lines[1:])


def headlines(found: ProbeComparison) -> Rows:
    """A header, then a row a model: the probe's own main measurement."""
    rows: Rows = [tuple(messages.text(f"probe_report.{word}") for word in ("model", "measure", "value", "interval", "n"))]
    for name, main in zip(found.models, found.headlines, strict=True):
        rows.append((name, *_main(main)))
    return rows


def changes(found: ProbeComparison) -> Rows:
    """A header, then a row a model but the first, group and number: before, after, what changed, and who moved."""
    words = ("model", "what", "of", "n", "before", "after", "difference", "p", "adjusted", "flips")
    rows: Rows = [tuple(_word(word) for word in words)]
    for model in found.changes:
        rows += [_row(found.probe, model, change) for change in model.changes]
    return rows


def unpaired(found: ProbeComparison) -> list[str]:
    """How many items were scored with one of two models alone."""
    return [_word("unpaired", n=f"{each.unpaired:,}", name=each.name) for each in found.changes if each.unpaired]


def _called(found: ProbeComparison) -> str:
    return f"{found.probe} ({found.variant})" if found.variant else found.probe


def _main(main: Measurement | None) -> tuple[str, ...]:
    if main is None:
        return ("–", "–", "–", "0")
    return (label(main), number(main.value, main), between(main), f"{main.n:,}")


def _row(probe: str, model: ModelChanges, change: ProbeChange) -> tuple[str, ...]:
    decimals = 1 if max(abs(change.first), abs(change.second)) >= 10 else 3
    before, after = (f"{value:.{decimals}f}".replace("-", "−") for value in (change.first, change.second))
    low, high = (_signed(end, decimals) for end in (change.interval.low, change.interval.high)) if change.interval else ("", "")
    difference = _signed(change.difference, decimals) + (f" ({low} – {high})" if change.interval else "")
    return (
        model.name, _counted(probe, change.what), change.group or messages.text("probe_report.overall"), f"{change.n:,}",
        before, after, difference, text.p_value(change.p_value), text.p_value(change.adjusted_p),
        "" if change.up is None else f"+{change.up} −{change.down}",
    )  # fmt: skip


def _counted(probe: str, what: str) -> str:
    """What the numbers count, in the probe's own words where its items choose something else than a stereotype."""
    own = messages.has(f"probe_counts.{probe}.{what}")
    return messages.text(f"probe_counts.{probe}.{what}") if own else _word(what)


def _signed(value: float, decimals: int) -> str:
    return f"{value:+.{decimals}f}".replace("-", "−") if value else "0"


def _word(key: str, **values: object) -> str:
    return messages.text(f"probe_changes.{key}", **values)
