"""Which of many samples differ in rank, pair by pair: the Mann-Whitney test at .05, quick enough to be permuted.

References
----------
Mann and Whitney (1947), *On a test of whether one of two random variables is stochastically larger than the other*, Annals of
Mathematical Statistics 18.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

ALPHA = 0.05
EXACT_UP_TO = 8
"""Samples of which the smaller is at most this have the exact test, as in SciPy."""


def thresholds(values: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """`critical` of each of `pairs`, infinite where none is; shape ``(P,)``. It depends only on what is missing in `values`."""
    sizes = np.isfinite(values).sum(1)
    return np.array([critical(*sizes[pair].tolist()) or np.inf for pair in pairs], np.float64)


def differing(values: np.ndarray, pairs: np.ndarray, needed: np.ndarray | None = None) -> np.ndarray:
    """Which `pairs` of rows of `values` differ by the Mann-Whitney test, two-sided, at .05.

    Parameters
    ----------
    values : numpy.ndarray
        Shape ``(D, R)``; NaN where there is none.
    pairs : numpy.ndarray
        Numbers of rows, shape ``(P, 2)``.
    needed : numpy.ndarray, optional
        Their `thresholds`, where they are known.

    Returns
    -------
    numpy.ndarray
        bool, shape ``(P,)``.

    Examples
    --------
    Five values above five others: p = 2/252.

    >>> differing(np.array([[1.0, 2, 3, 4, 5], [6, 7, 8, 9, 10]]), np.array([[0, 1]])).tolist()
    [True]
    """
    sizes = np.isfinite(values).sum(1)
    needed = thresholds(values, pairs) if needed is None else needed
    found = np.zeros(len(pairs), bool)
    at_once = max(1, 8_000_000 // max(1, values.shape[1] ** 2))
    for begin in range(0, len(pairs), at_once):
        part = pairs[begin : begin + at_once]
        one, other = values[part[:, 0], :, None], values[part[:, 1], None, :]
        wins = (one > other).sum((1, 2)) + (one == other).sum((1, 2)) / 2
        products = sizes[part[:, 0]] * sizes[part[:, 1]]
        found[begin : begin + at_once] = np.maximum(wins, products - wins) >= needed[begin : begin + at_once]
    return found


@lru_cache(maxsize=4096)
def critical(n: int, m: int) -> float | None:
    """The smallest U of the larger side that is significant for samples of `n` and `m`; None if none is.

    Exact where the smaller sample has at most `EXACT_UP_TO` values, else by the normal approximation with continuity correction.

    Examples
    --------
    Of 4 and 4 values, only U = 16 is: p = 2/70.

    >>> critical(4, 4), critical(3, 3)
    (16.0, None)
    """
    from scipy.stats import norm

    if not n or not m:
        return None
    if min(n, m) > EXACT_UP_TO:
        return n * m / 2 + 0.5 + float(norm.isf(ALPHA / 2)) * (n * m * (n + m + 1) / 12) ** 0.5
    tails = np.cumsum(_frequencies(n, m)[::-1])[::-1]
    below = np.flatnonzero(2 * tails < ALPHA)
    return float(below[0]) if len(below) else None


def _frequencies(n: int, m: int) -> np.ndarray:
    r"""Probabilities of U = 0 … nm under no difference: the coefficients of :math:`\binom{n+m}{n}_q`, divided by their sum."""
    counts = np.zeros(n * m + 1)
    counts[0] = 1.0
    for i in range(1, n + 1):
        top, bottom = m + i, i
        for u in range(len(counts) - 1, top - 1, -1):
            counts[u] -= counts[u - top]
        for u in range(bottom, len(counts)):
            counts[u] += counts[u - bottom]
    return counts / counts.sum()
