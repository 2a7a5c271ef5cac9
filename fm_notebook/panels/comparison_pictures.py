"""The pictures of a comparison: quality against the gap between groups, and learning curves one over another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.contracts.comparisons import Compared, Comparison
from fm_notebook.panels import text

if TYPE_CHECKING:
    from fm_notebook.figures.pareto import Plane, Point
    from fm_notebook.figures.picture import Picture

QUALITY = "macro_f1"
GAPS = ("equal_opportunity", "macro_f1", "accuracy", "demographic_parity")
"""The gap that is drawn: the first of these that every model has."""


def quality_and_gap(comparison: Comparison) -> Picture | None:
    """A point a model for each grouping in which some gap is known of all of them."""
    from fm_notebook.figures.pareto import pareto

    found = (_plane(comparison, number) for number in range(len(comparison.base.groups)))
    return pareto([plane for plane in found if plane])


def curves(comparison: Comparison) -> Picture | None:
    """The learning curves of those that are runs."""
    from fm_notebook.figures.overlay import overlay

    known = [(run.name, run.curve) for run in comparison.runs if run.curve]
    return overlay(known, {curve.metric: text.metric(curve.metric) for _, curve in known})


def _plane(comparison: Comparison, number: int) -> Plane | None:
    from fm_notebook.figures.pareto import Plane

    named = [{gap.name for gap in run.groups[number].disparities.gaps} for run in comparison.runs]
    gap = next((name for name in GAPS if all(name in names for names in named)), None)
    if gap is None:
        return None
    columns = " × ".join(comparison.base.groups[number].table.columns)
    points = [_point(run, number, gap) for run in comparison.runs]
    return Plane(columns, text.metric(QUALITY), messages.text("compare.picture.gap", name=text.metric(gap)), points)


def _point(run: Compared, number: int, name: str) -> Point:
    from fm_notebook.figures.pareto import Point

    quality, gap = run.get(QUALITY), run.groups[number].disparities[name]
    assert quality is not None, "every evaluation by group has it"
    return Point(run.name, quality.value, quality.interval, gap.difference, gap.interval)
