"""How often things came true that were given such a probability, and how many rows stand behind each point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.contracts.calibration import Calibration, ReliabilityBin
from fm_notebook.figures.picture import BLUE, GREY, Picture, finish, fonts, is_drawable, new_figure, quieten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TOLD = 15
"""Points that the alternative text names."""


def reliability(found: Calibration) -> Picture | None:
    """The reliability curve with Wilson's intervals over a histogram of the probabilities; on the dashed line both agree.

    Returns
    -------
    Picture or None
        None if there are no rows.
    """
    import matplotlib as mpl

    bins = [each for each in found.bins if each.n]
    if not bins:
        return None
    with mpl.rc_context({**fonts(), "text.parse_math": False}):
        figure = new_figure(330, 330)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        _curve(above, bins)
        _histogram(below, found.bins)
        return finish(figure, _alt(bins, found.n))


def _curve(axes: Axes, bins: Sequence[ReliabilityBin]) -> None:
    quieten(axes)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
    points = [(each.mean_score or 0.0, each.rate or 0.0) for each in bins]  # those of bins with rows are there
    for (score, _), each in zip(points, bins, strict=True):
        if each.interval:
            axes.plot([score, score], [each.interval.low, each.interval.high], color=GREY, linewidth=1.4, zorder=2)
    axes.plot(*zip(*points, strict=True), "o-", color=BLUE, markersize=5, linewidth=1, zorder=3)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_ylabel(_word("rate"), color=GREY, fontsize=8)


def _histogram(axes: Axes, bins: Sequence[ReliabilityBin]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    quieten(axes)
    width = bins[0].high - bins[0].low
    axes.bar([each.low for each in bins], [each.n for each in bins], width * 0.92, align="edge", color=BLUE, alpha=0.75)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel(_word("score"), color=GREY, fontsize=8)
    axes.set_ylabel(_word("rows"), color=GREY, fontsize=8)


def _word(key: str) -> str:
    word = messages.text(f"figure_calibration.{key}")
    return word if is_drawable(word) else messages.catalogue("en")[f"figure_calibration.{key}"]


def _alt(bins: Sequence[ReliabilityBin], n: int) -> str:
    told = [
        messages.text("figure_calibration.point", n=f"{each.n:,}", score=f"{each.mean_score:.2f}", rate=f"{each.rate:.2f}")
        for each in bins[:MOST_TOLD]
    ]
    return messages.text("figure_calibration.alt", n=f"{n:,}", bins=len(bins), points="; ".join(told))
