r"""What differences chance alone makes between groups: the groups of rows are exchanged, and the greatest difference noted.

The bootstrap cannot tell: the greatest less the least of several estimates is above 0 in every resample, also where all groups
are alike. Rows exchange their groups only with rows that the question holds alike: of the same true label for TPR, FPR, macro
F1, AUC and ECE; any row for selection rate and accuracy; any row predicted positive for PPV.

For rates no row need be moved: the hits of each group then follow the multivariate hypergeometric distribution, and a draw
costs the same for a hundred rows and a million. Draws that come as near as rounding to what was seen count as great as that.

References
----------
Fisher (1935), *The Design of Experiments*, chapter 2.
Phipson and Smyth (2010), *Permutation p-values should never be zero*, Statistical Applications in Genetics and Molecular
Biology 9.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fm_notebook.metrics.calibration import BINS, bin_of, scored
from fm_notebook.metrics.predictions import Predictions

DRAWS = 9999
"""Permutations of a rate: the p-value .05 then comes out within .0043 (95 %)."""
PERMUTED_ROWS = 50_000_000
"""Rows moved for the scores that need it, in all; at least `LEAST` and at most `MOST` permutations."""
LEAST, MOST = 99, 999
RANKS = 4096
"""Of scores whose areas are permuted."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""From the code of each row's group, shape ``(N,)``, to a value of each group, shape ``(G,)``."""


def p_value(seen: float, drawn: np.ndarray) -> float:
    r"""The share of draws that are as great as what was seen, which counts as one of them: :math:`(1 + b) / (1 + R)`.

    Examples
    --------
    >>> p_value(0.5, np.array([0.1, 0.5, 0.2]))
    0.5
    """
    return (1 + int((drawn >= seen - 1e-12).sum())) / (1 + len(drawn))


def rate_ranges(hits: np.ndarray, rows: np.ndarray, *, seed: int | Sequence[int], size: int = DRAWS) -> np.ndarray:
    """Greatest less least rate of groups when the hits fall on their rows by chance.

    Parameters
    ----------
    hits, rows : numpy.ndarray
        Of each group, ints, shape ``(G,)``, every group with a row.
    seed : int or sequence of int
        Draws of another seed are independent.
    size : int
        Draws.

    Returns
    -------
    numpy.ndarray
        Shape ``(size,)``.

    Examples
    --------
    One hit among two groups of a row each is always in one of them.

    >>> rate_ranges(np.array([1, 0]), np.array([1, 1]), seed=0, size=3).tolist()
    [1.0, 1.0, 1.0]
    """
    rng = np.random.default_rng(seed)
    drawn = rng.multivariate_hypergeometric(rows, int(hits.sum()), size, method="marginals")
    return np.ptp(drawn / rows, axis=1)


def two_rates_p(first: tuple[int, int], second: tuple[int, int]) -> float:
    r"""Two-sided p-value of the difference of two rates by the "N - 1" chi-squared test.

    It is the normal approximation to the permutation test: the variance is that of the hypergeometric distribution.

    .. math:: \chi^2 = \frac{N - 1}{N} \cdot \frac{(p_1 - p_2)^2}{\bar p \bar q (1/n_1 + 1/n_2)}, \quad N = n_1 + n_2

    Parameters
    ----------
    first, second : tuple of int
        Hits and rows of each; rows at least 1.

    References
    ----------
    Campbell (2007), *Chi-squared and Fisher-Irwin tests of two-by-two tables with small sample recommendations*, Statistics in
    Medicine 26.

    Examples
    --------
    8 of 10 against 2 of 10: .36 / (.25 · .2) · 19/20 = 6.84, whose p is .0089.

    >>> round(two_rates_p((8, 10), (2, 10)), 4)
    0.0089
    """
    (k, n), (j, m) = first, second
    pooled, total = (k + j) / (n + m), n + m
    spread = pooled * (1 - pooled) * (1 / n + 1 / m)
    if not spread:
        return 1.0
    return math.erfc(math.sqrt((k / n - j / m) ** 2 / spread * (total - 1) / total / 2))


def score_ranges(
    statistics: dict[str, tuple[Statistic, np.ndarray]], codes: np.ndarray, truth: np.ndarray, *, seed: int
) -> dict[str, np.ndarray]:
    """Greatest less least value of groups when rows of one true label exchange their groups.

    Parameters
    ----------
    statistics : dict
        By name: the statistic, and the groups that are held against each other.
    codes : numpy.ndarray
        Of each row's group, shape ``(N,)``.
    truth : numpy.ndarray
        True class of each row, shape ``(N,)``.
    seed : int

    Returns
    -------
    dict of numpy.ndarray
        By name, shape ``(R,)``; R grows less with more rows, see `PERMUTED_ROWS`.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(truth, kind="stable")
    strata = np.split(codes[order], np.flatnonzero(np.diff(truth[order])) + 1)
    size = int(np.clip(PERMUTED_ROWS // len(codes), LEAST, MOST))
    found = {name: np.empty(size) for name in statistics}
    shuffled = np.empty_like(codes)
    for draw in range(size):
        for stratum in strata:
            rng.shuffle(stratum)
        shuffled[order] = np.concatenate(strata)
        for name, (statistic, compared) in statistics.items():
            found[name][draw] = np.ptp(statistic(shuffled)[compared])
    return found


def macro_f1_by_group(predictions: Predictions, n_groups: int) -> Statistic:
    """Macro F1 of each group over the labels that it has or was given.

    Examples
    --------
    >>> given = Predictions.of([0, 1, 1], [0, 0, 1], ["a", "b"])
    >>> macro_f1_by_group(given, 2)(np.array([0, 0, 1])).round(4).tolist()
    [0.3333, 1.0]
    """
    present, both = np.unique([predictions.truth, predictions.predicted], return_inverse=True)
    true, given = both.reshape(2, -1)
    k = len(present)
    cells = true * k + given

    def statistic(codes: np.ndarray) -> np.ndarray:
        matrices = np.bincount(codes * np.int64(k * k) + cells, minlength=n_groups * k * k).reshape(n_groups, k, k)
        hits, either = np.diagonal(matrices, axis1=1, axis2=2), matrices.sum(1) + matrices.sum(2)
        return (2 * hits / np.maximum(either, 1)).sum(1) / np.maximum((either > 0).sum(1), 1)

    return statistic


def ece_by_group(predictions: Predictions, n_groups: int) -> Statistic:
    """Expected calibration error of each group.

    Examples
    --------
    >>> given = Predictions.of([0, 1], [1, 1], ["n", "y"], probabilities=np.array([[0.1, 0.9]] * 2), positive="y")
    >>> ece_by_group(given, 2)(np.array([0, 1])).round(4).tolist()
    [0.9, 0.1]
    """
    scores, came_true = scored(predictions)
    at, excess = bin_of(scores), scores - came_true

    def statistic(codes: np.ndarray) -> np.ndarray:
        sums = np.bincount(codes * np.int64(BINS) + at, excess, n_groups * BINS).reshape(n_groups, BINS)
        return np.abs(sums).sum(1) / np.bincount(codes, minlength=n_groups)

    return statistic


def auc_by_group(scores: np.ndarray, positive: np.ndarray, n_groups: int) -> Statistic:
    """Area under the ROC curve of each group, NaN for one class alone; ties count half.

    Rows are ranked once. Of more than `RANKS` distinct scores, neighbours are taken for ties, as many in each of so many ranks:
    the areas move by less than a hundredth of what chance moves them, and a permutation costs one count, not one sort.

    Examples
    --------
    >>> score, positive = np.array([0.8, 0.4, 0.4, 0.1]), np.array([True, True, False, False])
    >>> auc_by_group(score, positive, 1)(np.zeros(4, int)).tolist()
    [0.875]
    """
    distinct, at = np.unique(scores, return_inverse=True)
    if len(distinct) > RANKS:
        upto = np.bincount(at).cumsum()
        at = ((upto - 1) * RANKS // len(scores))[at]
    ranks = int(at.max()) + 1
    cells = positive * np.int64(ranks) + at

    def statistic(codes: np.ndarray) -> np.ndarray:
        found = np.bincount(codes * np.int64(2 * ranks) + cells, minlength=n_groups * 2 * ranks).reshape(n_groups, 2, ranks)
        negatives, positives = found[:, 0], found[:, 1]
        wins = (positives * (negatives.cumsum(1) - negatives / 2)).sum(1)
        with np.errstate(invalid="ignore"):
            return wins / (positives.sum(1) * negatives.sum(1))

    return statistic
