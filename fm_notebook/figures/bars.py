"""How well each class is found, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.contracts.results import ClassScores
from fm_notebook.figures.confusion import names
from fm_notebook.figures.picture import BLUE, GREY, Picture, finish, fonts, new_figure, quieten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS = 30


def bars(classes: Sequence[ClassScores]) -> Picture | None:
    """The F1 of each class as a bar from 0 to 1, with its interval.

    Parameters
    ----------
    classes : sequence of ClassScores
        In the order to draw them, from the top. Where a label cannot be drawn with the installed fonts, all are written as
        their numbers, from 0.

    Returns
    -------
    Picture or None
        None if no class has a row. Of more than 30 classes, the 30 with the most rows are shown.
    """
    import matplotlib as mpl

    chosen = [i for i in most_supported(classes) if classes[i].f1.n]
    if not chosen:
        return None
    ticks, shown = names([one.label for one in classes], chosen), [classes[i] for i in chosen]
    with mpl.rc_context({**fonts(), "text.parse_math": False}):  # a label such as $x$ is no formula
        figure = new_figure(280 + 6 * max(map(len, ticks)), 46 + 17 * len(shown))
        axes = figure.subplots()
        _draw(axes, shown)
        axes.set_yticks(range(len(shown)), ticks)
        return finish(figure, _alt(classes, shown))


def most_supported(classes: Sequence[ClassScores]) -> list[int]:
    """Indices, ascending, of all classes or of the `MOST_BARS` with the most rows."""
    return sorted(sorted(range(len(classes)), key=lambda i: -classes[i].support)[:MOST_BARS])


def _draw(axes: Axes, shown: list[ClassScores]) -> None:
    values = [one.f1.value for one in shown]
    quieten(axes, grid=False)
    axes.grid(axis="x", color=GREY, alpha=0.18, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.barh(range(len(shown)), values, height=0.62, color=BLUE, alpha=0.75)
    for place, one in enumerate(shown):
        if one.f1.interval:
            axes.plot([one.f1.interval.low, one.f1.interval.high], [place, place], color=GREY, linewidth=1.4)
    axes.set(xlim=(0, 1.02), ylim=(len(shown) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.set_xlabel("F1", color=GREY, fontsize=8)


def _alt(classes: Sequence[ClassScores], shown: list[ClassScores]) -> str:
    lowest, highest = min(shown, key=lambda one: one.f1.value), max(shown, key=lambda one: one.f1.value)
    return messages.text(
        "figure.alt_bars", classes=len(classes), shown=len(shown), lowest=lowest.label, highest=highest.label,
        low=f"{lowest.f1.value:.3f}", high=f"{highest.f1.value:.3f}",
    )  # fmt: skip
