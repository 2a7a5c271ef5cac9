"""What probes saw of a model in training: for the panel's charts, for the card, and as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fm_notebook import messages
from fm_notebook.contracts.events import ProbeScored
from fm_notebook.panels.probe_tables import between, label, number
from fm_notebook.session.progress import Progress

if TYPE_CHECKING:
    from fm_notebook.figures.picture import Picture

MOST_LOOKS = 200
"""Of a probe that are drawn; of more, evenly chosen ones and the newest."""


def by_probe(progress: Progress) -> dict[str, list[ProbeScored]]:
    """The looks of each probe, in the order of steps, by the probe's name with its variant."""
    found: dict[str, list[ProbeScored]] = {}
    for each in list(progress.probed):  # the watcher's thread may be appending
        found.setdefault(f"{each.probe} ({each.variant})" if each.variant else each.probe, []).append(each)
    return found


def charts(progress: Progress) -> list[dict[str, Any]]:
    """For the page, a probe each: ``points`` are step, value, and the ends of the 95 % interval or null."""
    return [
        {
            "name": name, "label": label(seen[-1].measurement), "neutral": _finite(seen[-1].measurement.neutral),
            "points": [_point(each) for each in _thinned(seen) if math.isfinite(each.measurement.value)],
        }
        for name, seen in by_probe(progress).items()
    ]  # fmt: skip


def picture(progress: Progress) -> Picture | None:
    """The charts as a picture; None without looks."""
    if not progress.probed:
        return None
    from fm_notebook.figures.looks import looks

    return looks([_of_figure(name, _thinned(seen)) for name, seen in by_probe(progress).items()])


def rows(progress: Progress) -> list[tuple[str, ...]]:
    """A header, then a row a probe: before the first step looked at and after the last; empty without looks."""
    if not progress.probed:
        return []
    found = [tuple(messages.text(f"looks.{word}") for word in ("probe", "measure", "first", "last", "n"))]
    for name, seen in by_probe(progress).items():
        ends = [_said(each) for each in (seen[0], seen[-1])]
        found.append((name, label(seen[-1].measurement), *ends, f"{seen[-1].measurement.n:,}"))
    return found


def _said(look: ProbeScored) -> str:
    found = look.measurement
    interval = f" ({between(found)})" if found.interval else ""
    return messages.text("looks.at", value=number(found.value, found), interval=interval, step=f"{look.step:,}")


def _point(look: ProbeScored) -> list[float | None]:
    found = look.measurement
    ends = [found.interval.low, found.interval.high] if found.interval else [None, None]
    return [look.step, found.value, *(ends if all(map(_is_number, ends)) else [None, None])]


def _of_figure(name: str, seen: Sequence[ProbeScored]) -> Any:
    from fm_notebook.figures.looks import Looks

    last = seen[-1].measurement
    return Looks(
        name, label(last), [each.step for each in seen], [each.measurement.value for each in seen],
        [each.measurement.interval for each in seen], last.neutral,
    )  # fmt: skip


def _thinned(seen: Sequence[ProbeScored]) -> list[ProbeScored]:
    stride = -(-len(seen) // MOST_LOOKS) or 1
    return [each for at, each in enumerate(seen) if at % stride == 0 or at == len(seen) - 1]


def _finite(value: float | None) -> float | None:
    return value if _is_number(value) else None


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
