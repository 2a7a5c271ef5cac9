"""How loss and metric went, by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.contracts.events import EvalEnded
from fm_notebook.figures.picture import BLUE, GREEN, GREY, ORANGE, Picture, finish, fonts, is_drawable, new_figure, quieten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_DRAWN = 600
"""Points of the training loss drawn: more than the picture has columns adds bytes only."""


def learning_curve(
    steps: Sequence[float], losses: Sequence[float], held_out: Sequence[EvalEnded], *, metric: str = "", metric_name: str = ""
) -> Picture | None:
    """Training and held-out loss, and the held-out metric, by optimiser step.

    Parameters
    ----------
    steps, losses : sequence of float
        Training loss by step.
    held_out : sequence of EvalEnded
        Evaluations in order of steps.
    metric : str
        Key of the metric that chooses the best step; no second plot if it is empty or ``loss``.
    metric_name : str
        How to write it.

    Returns
    -------
    Picture or None
        None if there is nothing to draw.
    """
    if not steps and not held_out:
        return None
    import matplotlib as mpl

    evaluated = [(e.step, e.metrics[metric]) for e in held_out if metric in e.metrics and metric != "loss"]
    best = next((e for e in reversed(held_out) if e.best), None)
    with mpl.rc_context(fonts()):
        figure = new_figure(640 if evaluated else 420, 190)
        axes = figure.subplots(1, 2 if evaluated else 1, squeeze=False)[0]
        _loss(axes[0], steps, losses, [(e.step, e.metrics["loss"]) for e in held_out if "loss" in e.metrics])
        if evaluated:
            _title(axes[1], metric_name or metric)
            axes[1].plot(*zip(*evaluated, strict=True), color=GREEN, linewidth=1.4, marker="o", markersize=2.6)
        for each in axes:
            each.set_xlim(0, max([*steps[-1:], *(e.step for e in held_out), 1]) * 1.02)
            _frame(each, best)
        _name_best(axes[-1], best)
        return finish(figure, _alt(steps, losses, best, metric, metric_name or metric))


def _loss(axes: Axes, steps: Sequence[float], losses: Sequence[float], held_out: Sequence[tuple[float, float]]) -> None:
    stride = max(1, len(steps) // MOST_DRAWN)
    axes.plot(steps[::stride], losses[::stride], color=BLUE, linewidth=0.6, alpha=0.35)
    axes.plot(steps[::stride], smooth(losses)[::stride], color=BLUE, linewidth=1.4, label=_word("figure.train"))
    if held_out:
        label = _word("figure.held_out")
        axes.plot(
            *zip(*held_out, strict=True),
            color=ORANGE,
            linewidth=1.4,
            linestyle=(0, (4, 2)),
            marker="o",
            markersize=2.6,
            label=label,
        )
    _title(axes, _word("figure.loss"))
    axes.legend(
        frameon=False,
        fontsize=7.5,
        labelcolor=GREY,
        loc="lower right",
        bbox_to_anchor=(1, 0.98),
        ncols=2,
        handlelength=2.2,
        borderaxespad=0,
    )


def smooth(values: Sequence[float]) -> list[float]:
    """Exponential moving average over about an eighth of the points, bias-corrected; skips what is not finite."""
    decay = 1 - 1 / max(1.0, len(values) / 16)
    mean = weight = 0.0
    found: list[float] = []
    for value in values:
        if math.isfinite(value):
            mean, weight = decay * mean + (1 - decay) * value, decay * weight + (1 - decay)
        found.append(mean / weight if weight else math.nan)
    return found


def _frame(axes: Axes, best: EvalEnded | None) -> None:
    from matplotlib.ticker import MaxNLocator

    quieten(axes)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel(_word("figure.step"), color=GREY, fontsize=7.5)
    if best is not None:
        axes.axvline(best.step, color=GREY, linewidth=0.8, linestyle=(0, (3, 3)))


def _name_best(axes: Axes, best: EvalEnded | None) -> None:
    if best is not None and not axes.get_legend():
        text = _word("figure.best", step=f"{best.step:,}")
        axes.set_title(text, loc="right", color=GREY, fontsize=7.5)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", color=GREY, fontsize=8.5, fontweight="bold")


def _word(key: str, **values: object) -> str:
    """A word of the catalogue, in English where no font has its characters."""
    word = messages.text(key, **values)
    return word if is_drawable(word) else messages.catalogue("en")[key].format(**values)


def _alt(steps: Sequence[float], losses: Sequence[float], best: EvalEnded | None, metric: str, name: str) -> str:
    parts = []
    if steps:
        smoothed = smooth(losses)
        parts.append(
            messages.text("figure.alt_train", first=f"{smoothed[0]:.3g}", last=f"{smoothed[-1]:.3g}", step=f"{steps[-1]:,.0f}")
        )
    if best is not None and metric in best.metrics:
        parts.append(messages.text("figure.alt_best", metric=name, value=f"{best.metrics[metric]:.3f}", step=f"{best.step:,}"))
    return " ".join(parts)
