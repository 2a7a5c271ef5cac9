"""How right a model is on a slice, against all rows that are not in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fm_notebook.contracts.results import Interval
from fm_notebook.metrics.intervals import newcombe, wilson


@dataclass(frozen=True)
class SliceStatistics:
    """Accuracy within and outside of a slice.

    Attributes
    ----------
    n, right : int
        Rows of the slice, and how many of them are predicted rightly.
    rest_n, rest_right : int
        The same of all other rows.
    mean_loss : float
        Of the slice, in nats; NaN without rows.
    accuracy, rest_accuracy : Interval or None
        Wilson's 95 % intervals; None without rows.
    difference : Interval or None
        Newcombe's 95 % interval of the slice's accuracy less that of the rest; None where either has no rows.

    Notes
    -----
    The intervals hold for a slice that was chosen before its rows were seen. Of many slices looked at some differ by chance.
    """

    n: int
    right: int
    rest_n: int
    rest_right: int
    mean_loss: float
    accuracy: Interval | None
    rest_accuracy: Interval | None
    difference: Interval | None


def statistics(right: np.ndarray, loss: np.ndarray, found: np.ndarray) -> SliceStatistics:
    """Of the places `found`, given whether each of the N rows is right and its loss, both of shape ``(N,)``.

    Examples
    --------
    >>> told = statistics(np.array([True, True, False, True]), np.array([0.1, 0.3, 2.0, 0.2]), np.array([2, 0]))
    >>> told.n, told.right, told.rest_n, told.rest_right, round(told.mean_loss, 2)
    (2, 1, 2, 2, 1.05)
    """
    n, hits, total = len(found), int(right[found].sum()), int(right.sum())
    inside, outside = (hits, n), (total - hits, len(right) - n)
    mean = float(loss[found].mean()) if n else float("nan")
    return SliceStatistics(
        n=n, right=hits, rest_n=outside[1], rest_right=outside[0], mean_loss=mean, accuracy=wilson(*inside),
        rest_accuracy=wilson(*outside), difference=newcombe(inside, outside),
    )  # fmt: skip
