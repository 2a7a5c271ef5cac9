r"""Area under the ROC curve: the chance that a positive row scores higher than a negative one, ties counting one half.

Its interval is DeLong's on the logit scale. In `benchmarks/coverage.py` it covered better than the bootstrap at few positive rows
(95 against 91 % at 20 of 200) and as well at many, and it costs one sort. Where every positive row outranks every negative one,
no spread is seen: the interval is that of Wilson with the rarer class as trials, which errs on the wide side.

References
----------
DeLong, DeLong and Clarke-Pearson (1988), *Comparing the areas under two or more correlated receiver operating characteristic
curves*, Biometrics 44.
Qin and Hotilovac (2008), *Comparison of non-parametric confidence intervals for the area under the ROC curve*, Statistical
Methods in Medical Research 17.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from fm_notebook.contracts.results import Interval, Score
from fm_notebook.metrics.intervals import wilson


def auc(scores: np.ndarray, positive: np.ndarray) -> float | None:
    r"""Area under the ROC curve, :math:`U / (n_1 n_0)` with Mann and Whitney's U.

    Parameters
    ----------
    scores : numpy.ndarray
        Shape ``(N,)``; higher for rows held positive.
    positive : numpy.ndarray
        Bool, shape ``(N,)``.

    Returns
    -------
    float or None
        From 0 to 1, 1/2 for chance; None where all rows are of one class.

    Examples
    --------
    Positives .8 and .4, negatives .4 and .1: of four pairs three are won and one is a tie, 3.5 / 4.

    >>> auc(np.array([0.8, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
    0.875
    """
    wins, losses = counts(scores, positive)
    return _area(wins, losses) if wins.any() and losses.any() else None


def auc_score(name: str, scores: np.ndarray, positive: np.ndarray, *, level: float = 0.95) -> Score | None:
    """`auc` with its interval (see the module), over all rows.

    Examples
    --------
    >>> found = auc_score("auc", np.array([0.8, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
    >>> found.value, found.n, found.interval.method
    (0.875, 4, 'delong')
    """
    return auc_of_counts(name, *counts(scores, positive), level=level)


def auc_of_counts(name: str, positives: np.ndarray, negatives: np.ndarray, *, level: float = 0.95) -> Score | None:
    """`auc_score` from what `counts` gives: rows that are ranked once can be counted in many ways."""
    n_positive, n_negative = int(positives.sum()), int(negatives.sum())
    if not (n_positive and n_negative):
        return None
    value = _area(positives, negatives)
    interval = delong(positives, negatives, level) or _from_wilson(value, min(n_positive, n_negative), level)
    return Score(name=name, value=value, n=n_positive + n_negative, interval=interval)


def counts(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positive and negative rows at each distinct score, ascending; int64, shape ``(K,)`` each."""
    distinct, at = np.unique(scores, return_inverse=True)
    positive = np.asarray(positive, bool)
    return np.bincount(at[positive], minlength=len(distinct)), np.bincount(at[~positive], minlength=len(distinct))


def placements(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of negative rows below each distinct score, and of positive rows above it, ties half; shape ``(K,)`` each.

    Their means over positive, and over negative, rows are both the area under the curve.

    Parameters
    ----------
    positives, negatives : numpy.ndarray
        As `counts` gives them.

    Examples
    --------
    >>> below, above = placements(np.array([0, 1, 1]), np.array([1, 1, 0]))
    >>> below.tolist(), above.tolist()
    ([0.25, 0.75, 1.0], [1.0, 0.75, 0.25])
    """
    below = (negatives.cumsum() - negatives / 2) / negatives.sum()
    above = 1 - (positives.cumsum() - positives / 2) / positives.sum()
    return below, above


def variance(positives: np.ndarray, negatives: np.ndarray) -> float:
    """DeLong's variance of the area under the curve, from what `counts` gives; 0 where a class has a single row."""
    below, above = placements(positives, negatives)
    return _spread(below, positives) + _spread(above, negatives)


def delong(positives: np.ndarray, negatives: np.ndarray, level: float = 0.95) -> Interval | None:
    """DeLong's interval on the logit scale, from what `counts` gives; None where no spread is seen."""
    value, spread = _area(positives, negatives), variance(positives, negatives)
    if not 0 < value < 1 or not spread:
        return None
    centre = math.log(value / (1 - value))
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(spread) / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-end)) for end in (centre - half, centre + half))
    return Interval(low=low, high=high, level=level, method="delong")


def _area(positives: np.ndarray, negatives: np.ndarray) -> float:
    below = negatives.cumsum() - negatives / 2
    return float((positives * below).sum() / (positives.sum() * negatives.sum()))


def _spread(values: np.ndarray, times: np.ndarray) -> float:
    """Variance of the mean of `values`, each taken so many `times`."""
    n = int(times.sum())
    if n < 2:
        return 0.0
    mean = (values * times).sum() / n
    return float((times * (values - mean) ** 2).sum() / (n - 1) / n)


def _from_wilson(value: float, trials: int, level: float) -> Interval | None:
    found = wilson(round(value * trials), trials, level)
    if found is None:
        return None
    return Interval(low=min(found.low, value), high=max(found.high, value), level=level, method="wilson")
