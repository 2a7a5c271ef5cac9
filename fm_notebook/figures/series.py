"""How several runs are told apart in one picture: by colour and, for those who see no colours, by marker and line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from fm_notebook.figures.confusion import names
from fm_notebook.figures.picture import BLUE, GREEN, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PURPLE, RED = "#9a6bc0", "#c8504f"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")


class Style(NamedTuple):
    """Of one run."""

    name: str
    colour: str
    marker: str
    line: Literal["-", "--", ":", "-."]


def styles(runs: Sequence[str]) -> list[Style]:
    """One for each of `runs`, by their order; names that no font can draw become numbers, from 0."""
    shown = names(runs, range(len(runs)))
    return [
        Style(name, COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)], LINES[at % len(LINES)])
        for at, name in enumerate(shown)
    ]


def legend(figure: Figure, each: Sequence[Style], *, lines: bool) -> None:
    """Names the runs, below the picture."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=s.colour, marker=s.marker, markersize=5, linestyle=s.line if lines else "", linewidth=1.4, label=s.name
        )
        for s in each
    ]
    figure.legend(
        handles=handles, loc="outside lower center", frameon=False, fontsize=8, labelcolor=GREY, ncols=min(4, len(handles))
    )
