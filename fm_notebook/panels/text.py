"""How numbers and states are worded, once for panel, card and plain reports. Rounding happens here and nowhere below."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fm_notebook import messages
from fm_notebook.contracts.events import ErrorRecord, Noted
from fm_notebook.contracts.results import Interval, Score
from fm_notebook.contracts.specs import DataRef
from fm_notebook.errors import Fault
from fm_notebook.session.progress import Progress

MOST_NOTES = 20


def duration(seconds: float) -> str:
    """Seconds as ``4.2 s``, ``2:31`` (minutes) or ``1:02:31`` (hours)."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    return clock(seconds)


def clock(seconds: float) -> str:
    """Whole seconds as ``0:07``, ``2:31`` or ``1:02:31``."""
    if not math.isfinite(seconds):
        return "–"
    minutes, second = divmod(round(max(0.0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def amount(value: float) -> str:
    """A count or a rate: ``12,345``; below 10 with one decimal unless whole."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.1f}" if abs(value) < 10 and value != round(value) else f"{value:,.0f}"


def epochs(value: float) -> str:
    """A number of epochs: ``3``, ``0.25`` or ``11,111.11``."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def number(value: float) -> str:
    """A loss or a setting, to four significant digits."""
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def score(value: float) -> str:
    """A metric, to three decimals; from 100 on, such as a perplexity, to one, and from 1,000 on whole."""
    if not math.isfinite(value):
        return str(value)
    decimals = 3 if abs(value) < 100 else 1 if abs(value) < 1000 else 0
    return f"{value:,.{decimals}f}"


def share(value: float) -> str:
    """A share from 0 to 1 as ``12.3 %``."""
    return f"{100 * value:.1f} %"


def memory(size: float) -> str:
    """Bytes as ``640 MB`` or ``1.24 GB`` (powers of ten)."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def interval(found: Interval | None) -> str:
    """An interval as ``0.812 – 0.857``; empty if there is none."""
    return f"{score(found.low)} – {score(found.high)}" if found else ""


def with_interval(found: Score, *, below: bool = False) -> str:
    """A score as ``0.831 (0.812 – 0.857)``, or with the interval `below` it, for tables of many columns."""
    between = f"\n{interval(found.interval)}" if below else f" ({interval(found.interval)})"
    return score(found.value) + (between if found.interval else "")


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines of a plain text, indented and in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def score_lines(rows: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """Scores (metric, value, interval, n) as lines of a plain text, in columns."""
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    return [f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  n = {row[3]}" for row in rows]


def p_value(value: float) -> str:
    """A p-value to three decimals; below .001 no nearer than that."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_in_words(value: float) -> str:
    """A p-value in a sentence: ``p = 0.143``, ``p < 0.001``."""
    shown = p_value(value)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def adjustment(name: str) -> str:
    """A way to adjust p-values by its authors' names: ``Holm``, ``Benjamini–Hochberg``."""
    return name.title().replace("-", "–")


def rows_of(data: DataRef) -> str:
    """What an evaluation's rows are called: as they were written, or the held-out rows of a run."""
    return messages.text("compare.held_out", run=data.source) if data.kind == "run" else data.source


def metric(name: str) -> str:
    """The display name of a metric; its own name with spaces if the catalogue has none."""
    key = f"evaluation.metric.{name}"
    return messages.text(key) if messages.has(key) else name.replace("_", " ")


def state(progress: Progress) -> str:
    """Where the job stands, in words, such as *starting, loading torch…*."""
    words = messages.text(f"state.{progress.state}", name=progress.name)
    if progress.state == "queued" and progress.behind:
        words = messages.text("panel.queued_behind", name=progress.behind)
    if progress.state in {"starting", "running"} and progress.phase:
        words = messages.text("panel.in_phase", state=words, phase=messages.text(f"phase.{progress.phase}"))
    return words


def note(noted: Noted) -> str:
    """The text of a note; its bare key if the catalogue does not know it or its values do not fit."""
    key = f"note.{noted.key}"
    try:
        return messages.text(key, **noted.values)
    except (KeyError, IndexError, ValueError, TypeError):  # written by another version, or by a plug-in
        return noted.key


def notes(noted: Sequence[Noted]) -> list[tuple[str, str]]:
    """The newest notes without repetitions, as (level, text)."""
    found = dict.fromkeys((each.level, note(each)) for each in noted)
    return list(found)[-MOST_NOTES:]


def failure(record: ErrorRecord | None) -> list[str]:
    """Why a job failed, a line each; of our own bugs the last line of the traceback."""
    if record is None:
        return []
    lines: list[str] = []
    for fault in record.faults:
        try:
            lines += Fault(str(fault["key"]), fault.get("values", {}), fault.get("line")).lines()
        except (KeyError, IndexError, ValueError, TypeError):
            lines.append(str(fault.get("key", fault)))
    if not lines:
        lines = [messages.text("panel.bug"), *record.detail.strip().splitlines()[-1:]]
    return lines
