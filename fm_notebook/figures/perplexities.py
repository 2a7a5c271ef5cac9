"""How perplexity is spread over texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.figures.picture import BLUE, GREY, ORANGE, Picture, finish, fonts, is_drawable, new_figure, quieten

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

MOST_BINS = 40
MOST_FINE_TICKS = 300
"""Ratio of the ends from which on only powers of ten are named: more words would overlap."""
FARTHEST = 1e12
"""What is above is drawn here: the perplexity of a text can fill the range of floats, and then nothing else can be seen."""


def perplexities(values: Sequence[float]) -> Picture | None:
    """A histogram of the perplexities of texts, on a logarithmic axis where they differ by more than 5 times, and their median.

    Parameters
    ----------
    values : sequence of float
        Of each text, from 1 upwards, shape ``(N,)``, such as `fm_notebook.metrics.language.text_perplexities` gives.

    Returns
    -------
    Picture or None
        None if there is no finite value; infinite ones are left out.
    """
    import matplotlib as mpl
    import numpy as np

    found = np.asarray(values, float)
    found = found[np.isfinite(found) & (found > 0)]
    if not len(found):
        return None
    with mpl.rc_context(fonts()):
        figure = new_figure(420, 190)
        _draw(figure.subplots(), found)
        return finish(figure, _alt(found))


def _draw(axes: Axes, found: np.ndarray) -> None:
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    found = np.minimum(found, FARTHEST)
    low, high = float(found.min()), float(found.max())
    low, high = (low, high) if high > 1.01 * low else (low / 1.1, high * 1.1)
    edges = np.geomspace(low, high, min(MOST_BINS, 5 + int(len(found) ** 0.5)) + 1)
    edges[0], edges[-1] = low, high  # rounding may put the ends an ulp inside the data
    axes.hist(found, edges.tolist(), color=BLUE, alpha=0.75)
    axes.axvline(float(np.median(found)), color=ORANGE, linewidth=1.4)
    quieten(axes)
    if high > 5 * low:  # a narrower range can lie between two ticks of a logarithmic axis
        _logarithmic(axes, high / low)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_xlabel(_word("figure.perplexity"), color=GREY, fontsize=8)
    axes.set_ylabel(_word("figure.texts"), color=GREY, fontsize=8)


def _logarithmic(axes: Axes, ratio: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if ratio < MOST_FINE_TICKS else (1,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if 1 <= value < 1e5 else f"{value:.0e}"))


def _word(key: str) -> str:
    word = messages.text(key)
    return word if is_drawable(word) else messages.catalogue("en")[key]


def _alt(found: np.ndarray) -> str:
    import numpy as np

    low, median, high = (f"{end:,.3g}" for end in np.quantile(found, [0.25, 0.5, 0.75]))
    return messages.text("figure.alt_perplexities", n=f"{len(found):,}", median=median, low=low, high=high)
