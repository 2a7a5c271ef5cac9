"""Which class is taken for which."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.figures.picture import GREY, Picture, finish, fonts, is_drawable, new_figure, quieten

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

MOST_CLASSES = 30
MOST_WITH_COUNTS = 15
SHADES = ((0.0, 0.04), (0.3, 0.25), (0.5, 0.75), (1.0, 1.0))
"""Opacity by share of the row: faint up to where counts turn from grey to white, so that both can be read."""
MOST_LETTERS = 18


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> Picture | None:
    """The confusion matrix, a row a true label, coloured by the share of its row.

    Parameters
    ----------
    matrix : sequence of sequence of int
        Rows are true labels, columns predictions, shape ``(C, C)``.
    labels : sequence of str
        C names. Where one cannot be drawn with the installed fonts, all are written as their numbers, from 0.

    Returns
    -------
    Picture or None
        None if there are no rows. Of more than 30 classes, the 30 that are most often confused are shown.
    """
    import numpy as np

    counts = np.asarray(matrix, dtype=float)
    if counts.size == 0 or counts.sum() == 0:
        return None
    chosen = most_confused(matrix)
    shown = counts[np.ix_(chosen, chosen)]
    totals = counts.sum(axis=1)[chosen]
    shares = np.divide(shown, totals[:, None], out=np.zeros_like(shown), where=totals[:, None] > 0)
    return _draw(shown, shares, names(labels, chosen), _alt(counts, labels, chosen))


def most_confused(matrix: Sequence[Sequence[int]]) -> list[int]:
    """Indices, ascending, of all classes or of the `MOST_CLASSES` with the most mistakes to or from them."""
    import numpy as np

    counts = np.asarray(matrix)
    wrong = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
    return sorted(np.argsort(-wrong, kind="stable")[:MOST_CLASSES].tolist())


def names(labels: Sequence[str], chosen: Sequence[int]) -> list[str]:
    """How the classes are written in the picture: shortened, or as numbers where no font has their characters."""
    if are_numbered(labels):
        return [str(i) for i in chosen]
    return [shorten(labels[i]) for i in chosen]


def are_numbered(labels: Sequence[str]) -> bool:
    """Whether the picture writes numbers, which the table beside it must then explain."""
    return not all(map(is_drawable, labels))


def shorten(label: str) -> str:
    """A label of at most `MOST_LETTERS` Latin letters' width, on one line."""
    label = " ".join(label.split())
    width = 0
    for i, letter in enumerate(label):
        width += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if width > MOST_LETTERS:
            return label[: max(1, i - 1)] + "…"
    return label


def _draw(counts: np.ndarray, shares: np.ndarray, ticks: list[str], alt: str) -> Picture:
    import matplotlib as mpl
    from matplotlib.colors import LinearSegmentedColormap

    size, longest = len(ticks), max(len(tick) for tick in ticks)
    cell = max(15, min(56, 420 // size))
    # From clear to blue, so that an empty cell has the page's own colour in both themes.
    clear_to_blue = LinearSegmentedColormap.from_list(
        "clear_to_blue", [(share, (0.12, 0.42, 0.70, alpha)) for share, alpha in SHADES]
    )
    with mpl.rc_context({**fonts(), "text.parse_math": False}):  # a label such as $x$ is no formula
        figure = new_figure(90 + 6 * longest + cell * size, 70 + 5 * longest + cell * size)
        axes = figure.subplots()
        axes.imshow(shares, cmap=clear_to_blue, vmin=0, vmax=1)
        _label(axes, ticks, slanted=6 * longest > cell)
        if size <= MOST_WITH_COUNTS:
            _write_counts(axes, counts, shares, size=8 if size <= 8 else 6.5)
        return finish(figure, alt)


def _label(axes: Axes, ticks: list[str], *, slanted: bool) -> None:
    quieten(axes, grid=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=8 if len(ticks) <= 12 else 6.5)
    axes.set_xticks(
        range(len(ticks)), ticks, rotation=45 if slanted else 0, ha="right" if slanted else "center", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(ticks)), ticks)
    if not slanted:
        axes.tick_params(axis="x", pad=8)
    axes.set_xlabel(_word("figure.predicted", "predicted"), color=GREY, fontsize=8)
    axes.set_ylabel(_word("figure.true", "true"), color=GREY, fontsize=8)


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray, *, size: float) -> None:
    from matplotlib.patheffects import withStroke

    # The ground of a half-filled cell depends on the page's theme: white with a blue edge reads on both.
    edge = [withStroke(linewidth=1.6, foreground="#1f6bb3")]
    for (row, column), share in _cells(shares):
        full = share > 0.35
        axes.text(
            column, row, f"{counts[row, column]:,.0f}", ha="center", va="center", fontsize=size,
            color="white" if full else GREY, path_effects=edge if full else None,
        )  # fmt: skip


def _cells(shares: np.ndarray) -> Iterator[tuple[tuple[int, int], float]]:
    for row, line in enumerate(shares.tolist()):
        for column, share in enumerate(line):
            yield (row, column), share


def _alt(counts: np.ndarray, labels: Sequence[str], chosen: Sequence[int]) -> str:
    wrong = counts.copy()
    wrong[range(len(wrong)), range(len(wrong))] = 0
    said = messages.text("figure.alt_confusion", classes=len(labels), shown=len(chosen))
    if wrong.sum() == 0:
        return said
    true, predicted = divmod(int(wrong.argmax()), len(wrong))
    return (
        said
        + " "
        + messages.text(
            "figure.alt_most_confused", true=labels[true], predicted=labels[predicted], n=f"{wrong[true, predicted]:,.0f}"
        )
    )


def _word(key: str, plain: str) -> str:
    word = messages.text(key)
    return word if is_drawable(word) else plain
