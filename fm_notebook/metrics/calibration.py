r"""Whether probabilities mean what they say.

Scores are the probabilities of one label, or, where no label is named positive, those of whichever label was most probable
("top-label", with "came true" for "was right"). Bins are of *equal width*, 15 of them as in Guo et al. (2017), and hold their
upper edge. The expected calibration error

.. math:: ECE = \sum_b \frac{n_b}{N} \left| \bar s_b - \bar y_b \right|

is never below what chance alone gives (`ece_if_calibrated`), which is more for fewer rows: read the two together, and compare
groups of different size by their permutation p-value, not by their ECE.

Its interval is for the binned error of infinitely many rows, which is lower. A bootstrap percentile interval is not: resamples
add chance to chance, and for a calibrated model it never reaches the 0 that is true. Ours asks instead which errors would give
an ECE as seen: the bins' mean excesses are taken to be t times those seen, t from 0 upwards, with the normal spread that so many
rows have, and the ends are the least and greatest t at which the ECE seen is no outlier (a test inverted, by simulation).

References
----------
Guo, Pleiss, Sun and Weinberger (2017), *On calibration of modern neural networks*, ICML.
Brier (1950), *Verification of forecasts expressed in terms of probability*, Monthly Weather Review 78.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fm_notebook.contracts.calibration import Calibration, ReliabilityBin
from fm_notebook.contracts.results import Interval, Score
from fm_notebook.errors import DataError
from fm_notebook.metrics.intervals import mean_t, wilson
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.resampling import RESAMPLES

BINS = 15


def calibration(predictions: Predictions, *, n_bins: int = BINS, level: float = 0.95, seed: int = 0) -> Calibration:
    """Calibration of the positive label's probability, or of the top label's where none is named.

    Parameters
    ----------
    predictions : Predictions
        With probabilities.
    n_bins : int
        Of equal width.
    level : float
        Of the intervals.
    seed : int
        Of the bootstrap.

    Raises
    ------
    DataError
        If there are no probabilities.

    Examples
    --------
    Of two rows given .9 one is positive, of two given .1 none: ECE = ½ · .4 + ½ · .1, Brier (.01 + .81 + .01 + .01) / 4, and
    the mean score is .5 where .25 came true.

    >>> sure = np.array([[0.1, 0.9], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1]])
    >>> given = Predictions.of([1, 0, 0, 0], [1, 1, 0, 0], ["no", "yes"], probabilities=sure, positive="yes")
    >>> found = calibration(given)
    >>> round(found.ece.value, 4), round(found.brier.value, 4), round(found.in_the_large.value, 4)
    (0.25, 0.21, 0.25)
    """
    scores, came_true = scored(predictions)
    positive = predictions.positive
    return Calibration(
        positive=None if positive is None else predictions.labels[positive],
        n=len(scores),
        ece=ece(scores, came_true, n_bins=n_bins, level=level, seed=seed),
        ece_if_calibrated=ece_if_calibrated(scores, n_bins=n_bins),
        brier=brier(predictions, level),
        in_the_large=_mean("in_the_large", scores - came_true, level),
        bins=reliability(scores, came_true, n_bins=n_bins, level=level),
        level=level,
        seed=seed,
    )


def scored(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Score of each row and whether it came true, shape ``(N,)`` each: of the positive label, else of the top label."""
    if predictions.probabilities is None:
        raise DataError("groups.no_probabilities")
    if (scores := predictions.scores) is not None:
        return scores, predictions.is_positive
    return predictions.probabilities.max(1), predictions.probabilities.argmax(1) == predictions.truth


def ece(scores: np.ndarray, came_true: np.ndarray, *, n_bins: int = BINS, level: float = 0.95, seed: int = 0) -> Score:
    """Expected calibration error, from 0 to 1, see the module.

    Parameters
    ----------
    scores : numpy.ndarray
        From 0 to 1, shape ``(N,)``, N at least 1.
    came_true : numpy.ndarray
        Bool, shape ``(N,)``.
    n_bins : int
        Of equal width.
    level : float
        Of the interval.
    seed : int
        Of the simulation.

    Examples
    --------
    One bin holds .7 and .72, of which one came true: |.71 - .5|.

    >>> round(ece(np.array([0.7, 0.72]), np.array([True, False])).value, 3)
    0.21
    """
    at, excess, n = bin_of(scores, n_bins), scores - came_true, len(scores)
    means = np.bincount(at, excess, n_bins) / n
    value = float(np.abs(means).sum())
    # Rows of a bin that all came true show less spread than the scores themselves say there is.
    seen, said = (np.bincount(at, each, n_bins) for each in (excess**2, scores * (1 - scores)))
    spread = np.sqrt(np.maximum(np.maximum(seen / n - means**2, said / n), 0) / n)
    return Score(name="ece", value=value, n=n, interval=_inverted(means, spread, n, level, seed))


def ece_if_calibrated(scores: np.ndarray, *, n_bins: int = BINS) -> float:
    r"""The ECE to expect of scores that are exactly right, :math:`\frac1N \sum_b \sqrt{\tfrac2\pi \sum_{i \in b} s_i (1 - s_i)}`.

    The mean size of a normal deviate of the variance that each bin's sum then has.

    Examples
    --------
    A hundred rows at .5: √(2/π · 25) / 100.

    >>> round(ece_if_calibrated(np.full(100, 0.5)), 4)
    0.0399
    """
    variances = np.bincount(bin_of(scores, n_bins), scores * (1 - scores), n_bins)
    return float(np.sqrt(2 / np.pi * np.maximum(variances, 0)).sum() / len(scores))


def reliability(scores: np.ndarray, came_true: np.ndarray, *, n_bins: int = BINS, level: float = 0.95) -> list[ReliabilityBin]:
    """The reliability curve: for each bin its rows, their mean score, and how often it came true, with Wilson's interval.

    Examples
    --------
    >>> low, high = reliability(np.array([0.2, 0.4, 0.9]), np.array([False, True, True]), n_bins=2)
    >>> low.n, round(low.mean_score, 2), low.rate, high.n, high.rate
    (2, 0.3, 0.5, 1, 1.0)
    """
    at, edges = bin_of(scores, n_bins), np.linspace(0, 1, n_bins + 1).tolist()
    rows, hits = np.bincount(at, minlength=n_bins).tolist(), np.bincount(at[came_true], minlength=n_bins).tolist()
    sums = np.bincount(at, scores, n_bins).tolist()
    return [
        ReliabilityBin(
            low=edges[b],
            high=edges[b + 1],
            n=n,
            mean_score=sums[b] / n if n else None,
            rate=hits[b] / n if n else None,
            interval=wilson(hits[b], n, level),
        )
        for b, n in enumerate(rows)
    ]


def brier(predictions: Predictions, level: float = 0.95) -> Score:
    r"""Brier's score with Student's t interval: the mean of :math:`(s - y)^2`, or of :math:`\sum_c (p_c - y_c)^2`.

    The first where a label is named positive, from 0 to 1; else the second, over all labels, from 0 to 2. For two labels it is
    twice the first.

    Examples
    --------
    (.6 - 1)² + .4² = .32 for a row that was right.

    >>> given = Predictions.of([0], [0], ["a", "b"], probabilities=np.array([[0.6, 0.4]]))
    >>> round(brier(given).value, 2)
    0.32
    """
    if predictions.probabilities is None:
        raise DataError("groups.no_probabilities")
    if (scores := predictions.scores) is not None:
        return _mean("brier", (scores - predictions.is_positive) ** 2, level)
    p, true = predictions.probabilities, predictions.probabilities[np.arange(len(predictions)), predictions.truth]
    return _mean("brier", (p**2).sum(1) - 2 * true + 1, level)


def bin_of(scores: np.ndarray, n_bins: int = BINS) -> np.ndarray:
    """Number of each score's bin, shape ``(N,)``.

    Examples
    --------
    >>> bin_of(np.array([0.0, 0.5, 0.51, 1.0]), 2).tolist()
    [0, 0, 1, 1]
    """
    return np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], scores, side="left")


def _inverted(means: np.ndarray, spread: np.ndarray, n: int, level: float, seed: int) -> Interval | None:
    """Interval of the sum of absolute means of bins, shape ``(B,)``, widened where needed to hold the sum that was seen."""
    value, tail = float(np.abs(means).sum()), (1 - level) / 2
    if not spread.any():
        unseen = wilson(0, n, level)
        return unseen and unseen.model_copy(update={"low": max(0.0, value - unseen.high), "high": min(1.0, value + unseen.high)})
    noise = np.random.default_rng(seed).standard_normal((RESAMPLES, len(means))) * spread
    direction = means if value else spread

    def below(t: float) -> float:
        return float((np.abs(t * direction + noise).sum(1) < value).mean())

    size = float(np.abs(direction).sum())
    low, high = size * _least(below, 1 - tail), size * _least(below, tail)
    return Interval(low=min(low, value), high=max(min(high, 1.0), value), level=level, method="inverted")


def _least(below: Callable[[float], float], share: float) -> float:
    """The least t at which at most such a `share` of draws is below what was seen."""
    if below(0.0) <= share:
        return 0.0
    least, most = 0.0, 1.0
    while below(most) > share:
        least, most = most, 2 * most
    for _ in range(20):
        middle = (least + most) / 2
        least, most = (middle, most) if below(middle) > share else (least, middle)
    return most


def _mean(name: str, values: np.ndarray, level: float) -> Score:
    return Score(name=name, value=float(values.mean()), n=len(values), interval=mean_t(values, level))
