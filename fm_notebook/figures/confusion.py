"""Which class is taken for which."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from fm_notebook import messages
from fm_notebook.figures.picture import GREY, Picture, finish, fonts, is_drawable, new_figure, quieten

MOST_CLASSES = 30
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


def _draw(counts, shares, ticks: list[str], alt: str) -> Picture:
    import matplotlib as mpl
    from matplotlib.colors import LinearSegmentedColormap

    size = len(ticks)
    cell = max(16, min(58, 420 // size))
    longest = max(len(tick) for tick in ticks)
    with mpl.rc_context({**fonts(), "text.parse_math": False}):  # a label such as $x$ is no formula
        figure = new_figure(130 + 6 * longest + cell * size, 90 + cell * size + (5 * longest if size > 4 else 0))
        axes = figure.subplots()
        # From clear to a mid blue, so that an empty cell is the page's own colour in both themes.
        blues = LinearSegmentedColormap.from_list("clear_to_blue", [(0.23, 0.51, 0.77, 0.04), (0.23, 0.51, 0.77, 1.0)])
        axes.imshow(shares, cmap=blues, vmin=0, vmax=1)
        quieten(axes, grid=False)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(length=0, labelsize=8 if size <= 12 else 6.5)
        axes.set_xticks(
            range(size),
            ticks,
            rotation=0 if size <= 4 and longest <= 9 else 45,
            ha="center" if size <= 4 and longest <= 9 else "right",
        )
        axes.set_yticks(range(size), ticks)
        axes.set_xlabel(_word("figure.predicted", "predicted"), color=GREY, fontsize=8)
        axes.set_ylabel(_word("figure.true", "true"), color=GREY, fontsize=8)
        if size <= 15:
            for row in range(size):
                for column in range(size):
                    colour = "white" if shares[row, column] > 0.55 else GREY
                    axes.text(column, row, f"{counts[row, column]:,.0f}", ha="center", va="center", color=colour, fontsize=8)
        return finish(figure, alt)


def _alt(counts, labels: Sequence[str], chosen: Sequence[int]) -> str:
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
