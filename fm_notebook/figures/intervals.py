"""Scores of groups side by side, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.contracts.groups import GroupScores, GroupTable
from fm_notebook.figures.confusion import names
from fm_notebook.figures.picture import BLUE, GREY, Picture, finish, fonts, new_figure, quieten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_GROUPS = 30


def intervals(table: GroupTable, metrics: Sequence[str]) -> Picture | None:
    """One column of dots with intervals for each of `metrics`, a line a group; a dashed line is the score over all rows.

    Groups of few rows, and scores that stand on few, are drawn hollow.

    Returns
    -------
    Picture or None
        None if no group has any of the scores. Of more than 30 groups, the 30 with the most rows are shown.
    """
    import matplotlib as mpl

    largest = sorted(range(len(table.groups)), key=lambda i: -table.groups[i].n)[:MOST_GROUPS]
    chosen = sorted(largest)
    shown = [metric for metric in metrics if any(table.groups[i].get(metric) for i in chosen)]
    if not shown:
        return None
    ticks = names([group.name for group in table.groups], chosen)
    with mpl.rc_context({**fonts(), "text.parse_math": False}):
        figure = new_figure(90 + 6 * max(map(len, ticks)) + 190 * len(shown), 52 + 19 * len(chosen))
        columns = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for axes, metric in zip(columns, shown, strict=True):
            _draw(axes, [table.groups[i] for i in chosen], table.overall, metric)
        columns[0].set_yticks(range(len(chosen)), ticks)
        columns[0].set_ylim(len(chosen) - 0.4, -0.6)
        return finish(figure, _alt(table, shown[0], chosen))


def _draw(axes: Axes, groups: Sequence[GroupScores], overall: GroupScores, metric: str) -> None:
    quieten(axes, grid=False)
    axes.grid(axis="x", color=GREY, alpha=0.18, linewidth=0.6)
    axes.set_axisbelow(True)
    if over_all := overall.get(metric):
        axes.axvline(over_all.value, color=GREY, linewidth=1, linestyle="--", alpha=0.8)
    for place, group in enumerate(groups):
        if score := group.get(metric):
            if score.interval:
                axes.plot([score.interval.low, score.interval.high], [place, place], color=GREY, linewidth=1.4)
            face = BLUE if group.compares(metric) else "none"
            axes.plot([score.value], [place], "o", markersize=5, color=BLUE, markerfacecolor=face)
    axes.set_xlim(-0.02, 1.02)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.set_xlabel(_name(metric), color=GREY, fontsize=8)


def _name(metric: str) -> str:
    key = f"evaluation.metric.{metric}"
    return messages.text(key) if messages.has(key) else metric.replace("_", " ")


def _alt(table: GroupTable, metric: str, chosen: Sequence[int]) -> str:
    values = [(table.groups[i].name, score.value) for i in chosen if (score := table.groups[i].get(metric))]
    groups = ", ".join(f"{name} {value:.3f}" for name, value in values[:MOST_GROUPS])
    columns = " × ".join(table.columns)
    return messages.text("evaluation.by.picture_alt", metric=_name(metric), n=len(table.groups), columns=columns, groups=groups)
