"""Quality against the gap between groups: no model is best in both unless all others lie below it and to its right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from fm_notebook import messages
from fm_notebook.contracts.scores import Interval
from fm_notebook.figures.picture import GREY, Picture, finish, fonts, is_drawable, new_figure, quieten
from fm_notebook.figures.series import Style, legend, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_GROUPINGS = 3


class Point(NamedTuple):
    """A model: how good it is, and how far its groups lie apart, each with its interval."""

    name: str
    quality: float
    quality_interval: Interval | None
    gap: float
    gap_interval: Interval | None


class Plane(NamedTuple):
    """One grouping: its columns, what the axes are called, and the models."""

    columns: str
    quality: str
    gap: str
    points: Sequence[Point]


def pareto(planes: Sequence[Plane]) -> Picture | None:
    """A point a model with intervals on both axes, one part for each grouping; better is up and to the left.

    Returns
    -------
    Picture or None
        None if there are no points. Of more than three groupings, the first three are drawn. The interval of a gap is that of the
        two groups farthest apart, as the tables have it; below 0 it is cut.
    """
    planes = [plane for plane in planes if plane.points][:MOST_GROUPINGS]
    if not planes:
        return None
    import matplotlib as mpl

    known = dict.fromkeys(point.name for plane in planes for point in plane.points)
    each = dict(zip(known, styles(list(known)), strict=True))
    with mpl.rc_context({**fonts(), "text.parse_math": False}):
        figure = new_figure(40 + 290 * len(planes), 280)
        for axes, plane in zip(figure.subplots(1, len(planes), squeeze=False)[0], planes, strict=True):
            _draw(axes, plane, each)
        legend(figure, list(each.values()), lines=False)
        return finish(figure, " ".join(map(_alt, planes)))


def _draw(axes: Axes, plane: Plane, each: dict[str, Style]) -> None:
    quieten(axes)
    axes.grid(color=GREY, alpha=0.18, linewidth=0.6)
    axes.set_axisbelow(True)
    for point in plane.points:
        style = each[point.name]
        if (wide := point.gap_interval) is not None:
            axes.plot([max(0.0, wide.low), wide.high], [point.quality] * 2, color=style.colour, linewidth=1.3, alpha=0.75)
        if (tall := point.quality_interval) is not None:
            axes.plot([point.gap] * 2, [tall.low, tall.high], color=style.colour, linewidth=1.3, alpha=0.75)
        axes.plot([point.gap], [point.quality], style.marker, color=style.colour, markersize=6.5, linestyle="")
    axes.set_xlim(left=-0.015 * max(axes.get_xlim()[1], 0.01))
    axes.set_title(_drawn(plane.columns), loc="left", color=GREY, fontsize=8.5, fontweight="bold")
    axes.set_xlabel(f"← {_word('less', plane.gap)}", color=GREY, fontsize=8)
    axes.set_ylabel(f"{_word('more', plane.quality)} →", color=GREY, fontsize=8)


def _word(direction: str, name: str) -> str:
    text = messages.text(f"compare.picture.{direction}", name=name)
    return text if is_drawable(text) else messages.catalogue("en")[f"compare.picture.{direction}"].format(name=_drawn(name))


def _drawn(name: str) -> str:
    return name if is_drawable(name) else "".join(c if is_drawable(c) else "?" for c in name)


def _alt(plane: Plane) -> str:
    points = ", ".join(map(_said, plane.points))
    axes = {"columns": plane.columns, "quality": plane.quality, "gap": plane.gap}
    return messages.text("compare.picture.plane", **axes, points=points)


def _said(point: Point) -> str:
    quality, gap = _with(point.quality, point.quality_interval), _with(point.gap, point.gap_interval)
    return messages.text("compare.picture.point", name=point.name, quality=quality, gap=gap)


def _with(value: float, interval: Interval | None) -> str:
    return f"{value:.3f}" + (f" ({max(0.0, interval.low):.3f} – {interval.high:.3f})" if interval else "")
