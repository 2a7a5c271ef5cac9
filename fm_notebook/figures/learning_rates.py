"""How the loss went while the learning rate grew, with what rules of thumb read from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.figures.picture import BLUE, GREEN, GREY, ORANGE, Picture, finish, fonts, is_drawable, new_figure, quieten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKS = (("o", ORANGE), ("s", GREEN), ("^", GREY))
"""Shape and colour of the suggestions, in order: shapes, so that no colour has to be told apart."""
HEADROOM = 1.3
"""Of the smoothed curve's range, below the top of the picture: a loss that flies off is cut, not the rest pressed flat."""


def learning_rates(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestions: Mapping[str, float], *,
    names: Mapping[str, str], partial: bool = False,
) -> Picture | None:  # fmt: skip
    """The loss by learning rate (logarithmic), raw and smoothed, and the suggestions on the curve.

    Parameters
    ----------
    rates, losses, smoothed : sequence of N float
    suggestions : mapping
        Learning rates by rule.
    names : mapping
        How to write each rule.
    partial : bool
        Whether the sweep was interrupted, which is then written on it.

    Returns
    -------
    Picture or None
        None if fewer than two losses are finite.
    """
    import matplotlib as mpl
    import numpy as np

    x, raw, smooth = (np.asarray(each, float) for each in (rates, losses, smoothed))
    finite = np.isfinite(raw) & np.isfinite(smooth)
    x, raw, smooth = x[finite], raw[finite], smooth[finite]
    if len(x) < 2:
        return None
    with mpl.rc_context(fonts()):
        figure = new_figure(420, 220)
        axes = figure.subplots()
        axes.plot(x, raw, color=BLUE, linewidth=0.6, alpha=0.4)
        axes.plot(x, smooth, color=BLUE, linewidth=1.5)
        for (marker, color), (rule, rate) in zip(MARKS, suggestions.items(), strict=False):
            height = float(np.interp(np.log(rate), np.log(x), smooth))
            label = f"{_drawable(names[rule], rule)}: {rate:.1e}"
            axes.plot(rate, height, marker=marker, color=color, markersize=6, linestyle="", label=label)
        _frame(axes, float(smooth.min()), float(smooth[: max(2, len(smooth) // 2)].max()), partial=partial)
        return finish(figure, _alt(x.tolist(), smooth.tolist(), suggestions, names, partial=partial))


def _frame(axes: Axes, low: float, high: float, *, partial: bool) -> None:
    quieten(axes)
    axes.set_xscale("log")
    axes.tick_params(which="minor", colors=GREY, width=0.4, length=2)
    room = (high - low) or 0.1
    axes.set_ylim(low - 0.1 * room, low + HEADROOM * room)
    axes.set_xlabel(_word("figure_rates.rate"), color=GREY, fontsize=7.5)
    axes.set_title(_word("figure_rates.loss"), loc="left", color=GREY, fontsize=8.5, fontweight="bold")
    if partial:
        axes.set_title(_word("figure_rates.partial"), loc="right", color=ORANGE, fontsize=7.5)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=7.5, labelcolor=GREY, loc="best", handlelength=1.0)


def _alt(rates: Sequence[float], smoothed: Sequence[float], suggestions: Mapping[str, float], names: Mapping[str, str],
         *, partial: bool) -> str:  # fmt: skip
    lowest = min(range(len(rates)), key=lambda i: smoothed[i])
    ends = {"first": f"{rates[0]:.1e}", "last": f"{rates[-1]:.1e}"}
    said = [messages.text("figure_rates.alt", **ends, low=f"{smoothed[lowest]:.3g}", at=f"{rates[lowest]:.1e}")]
    said += [f"{names[rule]}: {rate:.1e}." for rule, rate in suggestions.items()]
    return " ".join([*said, messages.text("figure_rates.partial") + "."] if partial else said)


def _word(key: str) -> str:
    return _drawable(messages.text(key), messages.catalogue("en")[key])


def _drawable(word: str, otherwise: str) -> str:
    return word if is_drawable(word) else otherwise
