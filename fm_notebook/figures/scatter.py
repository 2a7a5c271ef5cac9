"""Predicted against true numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.figures.picture import BLUE, GREY, Picture, finish, fonts, is_drawable, new_figure, quieten

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

MOST_POINTS = 2000
"""Points drawn: more hide each other and add bytes only."""


def scatter(true: Sequence[float], predicted: Sequence[float]) -> Picture | None:
    """Predictions by true values, a point a row, and the line on which both are equal.

    Parameters
    ----------
    true, predicted : sequence of float
        Of each row, shape ``(N,)``.

    Returns
    -------
    Picture or None
        None if no row has two finite numbers. Of more than 2000 rows, every so many-th is drawn, and the alt text says so.
    """
    import matplotlib as mpl
    import numpy as np

    x, y = np.asarray(true, float), np.asarray(predicted, float)
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if not len(x):
        return None
    # Evenly over the rows in order of their true values, so that the far ends stay in the picture.
    shown = np.argsort(x, kind="stable")[np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(int))]
    with mpl.rc_context(fonts()):
        figure = new_figure(300, 290)
        _draw(figure.subplots(), x[shown], y[shown])
        return finish(figure, _alt(x, y, len(shown)))


def _draw(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    margin = 0.04 * (high - low) or 0.04 * abs(high) or 0.5
    ends = low - margin, high + margin
    axes.plot(ends, ends, color=GREY, linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
    axes.scatter(x, y, s=9, color=BLUE, alpha=max(0.12, min(0.7, 60 / len(x))), linewidths=0, zorder=2)
    quieten(axes)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_xlabel(_word("figure.true"), color=GREY, fontsize=8)
    axes.set_ylabel(_word("figure.predicted"), color=GREY, fontsize=8)


def _word(key: str) -> str:
    word = messages.text(key)
    return word if is_drawable(word) else messages.catalogue("en")[key]


def _alt(x: np.ndarray, y: np.ndarray, shown: int) -> str:
    ends = {"true_low": x.min(), "true_high": x.max(), "low": y.min(), "high": y.max()}
    said = {name: f"{end:.3g}" for name, end in ends.items()}
    return messages.text("figure.alt_scatter", n=f"{len(x):,}", shown=f"{shown:,}", **said)
