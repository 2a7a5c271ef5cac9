"""ROC and precision-recall curves side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.contracts.calibration import Curve
from fm_notebook.figures.confusion import names
from fm_notebook.figures.picture import BLUE, GREEN, GREY, ORANGE, Picture, finish, fonts, is_drawable, new_figure, quieten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS, DASHES = (BLUE, ORANGE, GREEN, GREY), ((), (4, 1.5), (1, 1.2))
"""Of labels, in order: when the colours are used up, they come again in dashes, so that no colour has to be told apart."""


def roc(curves: Sequence[Curve]) -> Picture | None:
    """ROC curves on the left, with the dashed line of chance; precision-recall on the right, where chance is a label's share.

    Parameters
    ----------
    curves : sequence of Curve
        Of one label or of several, each with its `label`.

    Returns
    -------
    Picture or None
        None if there are no curves.
    """
    import matplotlib as mpl

    if not curves:
        return None
    labels = list(dict.fromkeys(curve.label for curve in curves))
    with mpl.rc_context({**fonts(), "text.parse_math": False}):
        figure = new_figure(520, 250 if len(labels) == 1 else 262 + 14 * -(-len(labels) // 4))
        left, right = figure.subplots(1, 2)
        _frame(left, "roc", "fpr", "tpr")
        _frame(right, "pr", "recall", "precision")
        left.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=(0, (3, 3)))
        for number, (label, name) in enumerate(zip(labels, names(labels, range(len(labels))), strict=True)):
            _draw(left, right, [curve for curve in curves if curve.label == label], name, number)
        if len(labels) > 1:
            lines, told = left.get_legend_handles_labels()
            figure.legend(lines, told, loc="outside lower center", ncols=4, frameon=False, fontsize=7.5, labelcolor=GREY)
        else:
            _chance(right, curves)
        return finish(figure, _alt(curves, labels))


def _frame(axes: Axes, title: str, x: str, y: str) -> None:
    quieten(axes)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xlabel(_word(x), color=GREY, fontsize=8)
    axes.set_ylabel(_word(y), color=GREY, fontsize=8)
    axes.set_title(_word(title), loc="left", color=GREY, fontsize=8.5, fontweight="bold")


def _draw(left: Axes, right: Axes, curves: Sequence[Curve], name: str, number: int) -> None:
    color, dash = COLORS[number % len(COLORS)], DASHES[number // len(COLORS) % len(DASHES)]
    for curve in curves:
        style = (0, dash) if dash else "-"
        if curve.kind == "roc":
            left.plot(curve.x, curve.y, color=color, linewidth=1.5, linestyle=style, label=name)
        else:  # precision is that of the rows down to a threshold: between two points it is not known
            right.step(curve.x, curve.y, where="pre", color=color, linewidth=1.5, linestyle=style)


def _chance(axes: Axes, curves: Sequence[Curve]) -> None:
    share = next((curve.base_rate for curve in curves if curve.base_rate is not None), None)
    if share is not None:
        axes.axhline(share, color=GREY, linewidth=0.9, linestyle=(0, (3, 3)))


def _word(key: str) -> str:
    word = messages.text(f"figure_curves.{key}")
    return word if is_drawable(word) else messages.catalogue("en")[f"figure_curves.{key}"]


def _alt(curves: Sequence[Curve], labels: Sequence[str]) -> str:
    areas = {(curve.label, curve.kind): f"{curve.area.value:.3f}" for curve in curves}
    told = [
        messages.text(
            "figure_curves.area", label=label, auc=areas.get((label, "roc"), "–"), ap=areas.get((label, "precision-recall"), "–")
        )
        for label in labels
    ]
    return messages.text("figure_curves.alt", areas="; ".join(told))
