"""What a probe measured of several groups, each with its interval, beside the value that shows no preference."""

from __future__ import annotations

from collections.abc import Sequence

from fm_notebook import messages
from fm_notebook.contracts.probe_reports import Measurement
from fm_notebook.figures.picture import BLUE, GREY, Picture, finish, fonts, is_drawable, new_figure, quieten

MOST_GROUPS = 30
MOST_LETTERS = 44
"""Of a group's name: names of tests are long, and differ at their ends."""


def measurements(found: Sequence[Measurement], label: str) -> Picture | None:
    """A line a measurement of one name: a dot with its interval; the dashed line is the neutral value.

    Those of which the interval holds the neutral value are drawn hollow.

    Returns
    -------
    Picture or None
        None for fewer than two. Of more than 30 groups, the 30 with the most items are shown.
    """
    import matplotlib as mpl

    if len(found) < 2:
        return None
    largest = sorted(range(len(found)), key=lambda i: -found[i].n)[:MOST_GROUPS]
    shown = [found[i] for i in sorted(largest)]
    all_items = messages.text("probe_report.overall")
    ticks = _names([each.group or all_items for each in shown])
    with mpl.rc_context({**fonts(), "text.parse_math": False}):
        figure = new_figure(150 + 6 * max(map(len, ticks)) + 240, 52 + 19 * len(shown))
        axes = figure.subplots()
        quieten(axes, grid=False)
        axes.grid(axis="x", color=GREY, alpha=0.18, linewidth=0.6)
        axes.set_axisbelow(True)
        if (neutral := shown[0].neutral) is not None:
            axes.axvline(neutral, color=GREY, linewidth=1, linestyle="--", alpha=0.8)
        for place, each in enumerate(shown):
            if each.interval:
                axes.plot([each.interval.low, each.interval.high], [place, place], color=GREY, linewidth=1.4)
            axes.plot([each.value], [place], "o", markersize=5, color=BLUE, markerfacecolor=_face(each))
        axes.set_yticks(range(len(shown)), ticks)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0, labelsize=8)
        if is_drawable(label):
            axes.set_xlabel(label, color=GREY, fontsize=8)
        values = ", ".join(f"{each.group or all_items} {each.value:.3g}" for each in shown)
        return finish(figure, messages.text("probe_report.picture_alt", label=label, values=values))


def _names(groups: Sequence[str]) -> list[str]:
    """As they can be drawn: cut, or as numbers in their order where no font has their characters."""
    if not all(map(is_drawable, groups)):
        return [str(at) for at in range(len(groups))]
    return [name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "…" for name in groups]


def _face(each: Measurement) -> str:
    if each.interval is None or each.neutral is None:
        return BLUE
    return "none" if each.interval.low <= each.neutral <= each.interval.high else BLUE
