"""Measurements of a probe as rows of text: the numbers of one with as many decimals, over all items and by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fm_notebook import messages
from fm_notebook.contracts.probe_reports import Measurement
from fm_notebook.panels import text

Rows = list[tuple[str, ...]]
NOTHING = "–"


@dataclass(frozen=True)
class Table:
    """Measurements side by side: `rows` begin with a header; `name` is the measure's where all rows are of one."""

    caption: str
    rows: Rows
    name: str = ""


def tables(found: Sequence[Measurement]) -> list[Table]:
    """What was measured over all items, a row a measure; then of each measure its groups, that of the headline first."""
    whole, main = [each for each in found if not each.group], next((each.name for each in found if each.is_main), "")
    made = [_table(messages.text("probe_report.table"), "measure", [(label(each), each) for each in whole])] if whole else []
    names = sorted(dict.fromkeys(each.name for each in found if each.group), key=lambda name: name != main)
    for name in names:
        groups = [(each.group, each) for each in found if each.group and each.name == name]
        made.append(_table(_captioned(groups[0][1]), "group", groups, name))
    return made


def _table(caption: str, first: str, named: Sequence[tuple[str, Measurement]], name: str = "") -> Table:
    """A column that would be empty is left out."""
    words = (first, "value", "interval", "neutral", "n", "ties", "p", "adjusted", "smallest")
    constant = {words.index("neutral")} if name else set()
    rows = [tuple(messages.text(f"probe_report.{word}") for word in words), *((head, *_row(each)) for head, each in named)]
    full = [
        place for place in range(len(words)) if place not in constant and any(row[place] not in {"", NOTHING} for row in rows[1:])
    ]
    return Table(caption, [tuple(row[place] for place in full) for row in rows], name)


def _captioned(found: Measurement) -> str:
    """Of a table of one measure's groups, which have one neutral value."""
    against = "" if found.neutral is None else messages.text("probe_report.against", neutral=neutral(found))
    return " · ".join(filter(None, [label(found), against]))


def label(found: Measurement) -> str:
    """The short name of a measurement; its own name with spaces if the catalogue has none."""
    key = f"measure.{found.name}.label"
    return messages.text(key) if messages.has(key) else found.name.replace("_", " ")


def between(found: Measurement) -> str:
    """The interval of a measurement; a dash if it has none."""
    interval = found.interval
    return f"{number(interval.low, found)} – {number(interval.high, found)}" if interval else NOTHING


def number(value: float, found: Measurement) -> str:
    """A number of a measurement, all of one with as many decimals: per cents with one, smaller numbers with three."""
    others = [found.value, found.neutral or 0.0, *((found.interval.low, found.interval.high) if found.interval else ())]
    decimals = 1 if max(map(abs, others)) >= 10 else 3
    return f"{value:,.{decimals}f}".replace("-", "−")


def neutral(found: Measurement) -> str:
    """The value that shows no preference; empty if there is none."""
    if found.neutral is None:
        return ""
    return f"{found.neutral:.0f}" if found.neutral == round(found.neutral) else number(found.neutral, found)


def _row(found: Measurement) -> tuple[str, ...]:
    return (
        number(found.value, found), between(found), neutral(found), f"{found.n:,}",
        f"{found.ties:,}" if found.ties else "", p_value(found.p_value), p_value(found.adjusted_p),
        "" if found.smallest is None else f"± {number(found.smallest, found)}",
    )  # fmt: skip


def p_value(value: float | None) -> str:
    """A p-value; a dash if there is none."""
    return NOTHING if value is None else text.p_value(value)
