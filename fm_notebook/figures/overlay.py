"""The learning curves of several runs in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.contracts.comparisons import LearningCurve
from fm_notebook.figures.learning_curve import smooth
from fm_notebook.figures.picture import GREY, Picture, finish, fonts, is_drawable, new_figure, quieten
from fm_notebook.figures.series import Style, legend, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def overlay(runs: Sequence[tuple[str, LearningCurve]], metric_names: dict[str, str] | None = None) -> Picture | None:
    """Training and held-out loss, and the held-out metric, of each run by optimiser step.

    Parameters
    ----------
    runs : sequence of (name, LearningCurve)
    metric_names : dict, optional
        How to write a metric. The metric is drawn if all runs that have one have the same.

    Returns
    -------
    Picture or None
        None if there is nothing to draw. Training losses are smoothed and thin; held-out values have markers.
    """
    runs = [(name, curve) for name, curve in runs if curve.train or curve.held_out]
    if not runs:
        return None
    import matplotlib as mpl

    metrics = {curve.metric for _, curve in runs if curve.scores}
    metric = next(iter(metrics)) if len(metrics) == 1 else ""
    each = styles([name for name, _ in runs])
    with mpl.rc_context({**fonts(), "text.parse_math": False}):
        figure = new_figure(640 if metric else 420, 230)
        axes = figure.subplots(1, 2 if metric else 1, squeeze=False)[0]
        _losses(axes[0], runs, each)
        if metric:
            _title(axes[1], (metric_names or {}).get(metric, metric))
            for (_, curve), style in zip(runs, each, strict=True):
                _held_out(axes[1], curve.scores, style)
        for part in axes:
            _frame(part)
        legend(figure, each, lines=True)
        return finish(figure, _alt(runs))


def _losses(axes: Axes, runs: Sequence[tuple[str, LearningCurve]], each: Sequence[Style]) -> None:
    _title(axes, f"{_word('figure.loss')} ({_word('figure.train')}, {_word('figure.held_out')})")
    for (_, curve), style in zip(runs, each, strict=True):
        if curve.train:
            steps, losses = zip(*curve.train, strict=True)
            axes.plot(steps, smooth(losses), color=style.colour, linestyle=style.line, linewidth=0.9, alpha=0.7)
        _held_out(axes, curve.held_out, style)


def _held_out(axes: Axes, points: Sequence[tuple[float, float]], style: Style) -> None:
    if points:
        axes.plot(
            *zip(*points, strict=True),
            color=style.colour, linestyle=style.line, linewidth=1.6, marker=style.marker, markersize=3.6,
        )  # fmt: skip


def _frame(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    quieten(axes)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel(_word("figure.step"), color=GREY, fontsize=7.5)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", color=GREY, fontsize=8.5, fontweight="bold")


def _word(key: str) -> str:
    word = messages.text(key)
    return word if is_drawable(word) else messages.catalogue("en")[key]


def _alt(runs: Sequence[tuple[str, LearningCurve]]) -> str:
    parts = []
    for name, curve in runs:
        last = (curve.held_out or curve.train)[-1]
        parts.append(messages.text("compare.picture.curve", name=name, step=f"{last[0]:,.0f}", loss=f"{last[1]:.3g}"))
    return messages.text("compare.picture.curves", n=len(runs), runs=", ".join(parts))
