"""What probes saw of a model between the steps of its training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.contracts.scores import Interval
from fm_notebook.figures.picture import GREY, Picture, finish, fonts, is_drawable, new_figure, quieten
from fm_notebook.figures.series import PURPLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PROBES, IN_A_ROW = 12, 3


@dataclass(frozen=True)
class Looks:
    """The main number of one probe by step.

    Attributes
    ----------
    name, label : str
        Of the probe, and of its number.
    steps : list of int
    values : list of float
    intervals : list of Interval or None
        95 %, one a step.
    neutral : float or None
        The value that shows no preference.
    """

    name: str
    label: str
    steps: list[int]
    values: list[float]
    intervals: list[Interval | None]
    neutral: float | None = None


def looks(found: Sequence[Looks]) -> Picture | None:
    """A plot a probe: its number as a line, the interval as a band, the neutral value dashed.

    Returns
    -------
    Picture or None
        None without looks. Of more than 12 probes, the first 12 are drawn.
    """
    shown = [each for each in found if each.steps][:MOST_PROBES]
    if not shown:
        return None
    import matplotlib as mpl

    columns = min(IN_A_ROW, len(shown))
    rows = -(-len(shown) // columns)
    with mpl.rc_context({**fonts(), "text.parse_math": False}):
        figure = new_figure(300 * columns, 165 * rows)
        grid = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes, each in zip(grid, shown, strict=False):
            _draw(axes, each)
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
        return finish(figure, " ".join(map(_alt, shown)))


def _draw(axes: Axes, found: Looks) -> None:
    from matplotlib.ticker import MaxNLocator

    quieten(axes)
    if found.neutral is not None:
        axes.axhline(found.neutral, color=GREY, linewidth=1, linestyle="--", alpha=0.8)
    inside = [(step, each.low, each.high) for step, each in zip(found.steps, found.intervals, strict=True) if each]
    if inside:
        steps, lows, highs = zip(*inside, strict=True)
        axes.fill_between(steps, lows, highs, color=PURPLE, alpha=0.2, linewidth=0)
    axes.plot(found.steps, found.values, color=PURPLE, linewidth=1.4, marker="o", markersize=2.6)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_title(found.name, loc="left", color=GREY, fontsize=8.5, fontweight="bold")
    axes.set_xlabel(_drawable("figure.step"), color=GREY, fontsize=7.5)
    if is_drawable(found.label):
        axes.set_ylabel(found.label, color=GREY, fontsize=7.5)


def _drawable(key: str) -> str:
    word = messages.text(key)
    return word if is_drawable(word) else messages.catalogue("en")[key]


def _alt(found: Looks) -> str:
    return messages.text(
        "looks.alt", name=found.name, label=found.label, first=f"{found.values[0]:.3g}", last=f"{found.values[-1]:.3g}",
        step=f"{found.steps[-1]:,}",
    )  # fmt: skip
