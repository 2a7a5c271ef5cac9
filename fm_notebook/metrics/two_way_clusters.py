r"""Means of items that share templates, and terms: each template is a draw, and each term, and neither has many.

A sentence made of template *i* and term *j* is like all others of *i*, and of *j*. With :math:`u` what each item adds to the
error of a statistic (its influence), and :math:`A`, :math:`B` the two ways to put items into clusters,

.. math:: V = \max(V_A + V_B - V_{A \cap B},\; V_A,\; V_B), \quad
          V_C = \frac{G_C}{G_C - 1} \sum_{c \in C} \Bigl(\sum_{i \in c} u_i\Bigr)^2

The difference may be too small, even below 0, in few clusters: the greatest of the three errs on the wide side. A way with a
single cluster tells nothing and is left out. Intervals are Student's with the fewer clusters less one degrees of freedom.

References
----------
Cameron, Gelbach and Miller (2011), *Robust inference with multiway clustering*, Journal of Business & Economic Statistics 29.
MacKinnon, Nielsen and Webb (2024), *Jackknife inference with two-way clustering*, arXiv 2406.08880 (the maximum).
Korn and Graubard (1998), *Confidence intervals for proportions with small expected number of positive counts estimated from
survey data*, Survey Methodology 24 (the effective number of trials).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fm_notebook.contracts.scores import Interval


@dataclass(frozen=True)
class Estimate:
    """A statistic of clustered items.

    Attributes
    ----------
    value : float
    variance : float
        Of `value`, at least 0; NaN if there is but one cluster.
    clusters : int
        Of the way that has fewer, ways with a single one left out; 1 if no way has more.
    """

    value: float
    variance: float
    clusters: int

    def interval(self, *, low: float = -math.inf, high: float = math.inf, level: float = 0.95) -> Interval | None:
        """Student's interval within [low, high]; None if nothing is known of the spread."""
        if self.clusters < 2 or self.variance <= 0:
            return None
        half = _quantile(level, self.clusters - 1) * math.sqrt(self.variance)
        return Interval(low=max(low, self.value - half), high=min(high, self.value + half), level=level, method="clusters")

    def share_interval(self, level: float = 0.95) -> Interval:
        r"""Wilson's interval of a share (0 to 1) with :math:`p (1 - p) / V` trials, which stays within [0, 1].

        Where all items are alike, the clusters are the trials.
        """
        p, n = self.value, float(self.clusters)
        if self.clusters > 1 and self.variance > 0 and 0 < p < 1:
            n = p * (1 - p) / self.variance
        z = _quantile(level, self.clusters - 1) if self.clusters > 1 else _quantile(level, 1e6)
        centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
        scale = 1 + z * z / n
        ends = max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
        return Interval(low=min(ends[0], p), high=max(ends[1], p), level=level, method="wilson of clusters")

    def p_value(self, neutral: float = 0.0) -> float | None:
        """Two-sided, of the hypothesis that the value is `neutral`; None if nothing is known of the spread."""
        from scipy.special import stdtr

        if self.value == neutral:
            return 1.0
        if self.clusters < 2 or self.variance <= 0:
            return None
        return float(2 * stdtr(self.clusters - 1, -abs(self.value - neutral) / math.sqrt(self.variance)))

    @property
    def smallest(self) -> float | None:
        """The deviation from a neutral value that these items find with a power of .8 (two-sided α = .05), by the normal law."""
        return (1.959964 + 0.841621) * math.sqrt(self.variance) if self.clusters > 1 and self.variance > 0 else None


def mean_of(values: np.ndarray, clusters: Sequence[np.ndarray]) -> Estimate:
    """The mean of `values`, shape ``(N,)``, with the clusters of each item by each way, any values of shape ``(N,)``.

    Examples
    --------
    Two clusters that differ and are alike within: the mean of two numbers, 1 and 3, with variance 2 · (½² + ½²) = 1.

    >>> mean_of(np.array([1.0, 1.0, 3.0, 3.0]), [np.array(["a", "a", "b", "b"])])
    Estimate(value=2.0, variance=1.0, clusters=2)
    """
    values = np.asarray(values, np.float64)
    mean = float(values.mean())
    return estimate(mean, (values - mean) / len(values), clusters, scale=float(np.abs(values).max()))


def ratio_of(hits: np.ndarray, of: np.ndarray, clusters: Sequence[np.ndarray]) -> Estimate:
    r"""The sum of `hits` over the sum of `of`, both of shape ``(N,)``, such as a share of those items that are counted.

    Examples
    --------
    One half of the two items that are counted.

    >>> ratio_of(np.array([1, 0, 0]), np.array([1, 1, 0]), [np.arange(3)]).value
    0.5
    """
    value, influence = ratio_influence(hits, of)
    return estimate(value, influence, clusters)


def ratio_influence(hits: np.ndarray, of: np.ndarray) -> tuple[float, np.ndarray]:
    r"""Σ hits / Σ of, and what each item adds to its error, :math:`(h_i - r o_i) / \sum o`, shape ``(N,)``."""
    total = float(np.sum(of))
    value = float(np.sum(hits)) / total
    return value, (np.asarray(hits, np.float64) - value * np.asarray(of, np.float64)) / total


def difference_of(values: np.ndarray, is_first: np.ndarray, clusters: Sequence[np.ndarray]) -> Estimate:
    """The mean of the items of a first group less that of all others; a cluster may hold items of both.

    Examples
    --------
    >>> difference_of(np.array([3.0, 1.0]), np.array([True, False]), [np.arange(2)]).value
    2.0
    """
    ones, rest = np.asarray(is_first, np.float64), 1 - np.asarray(is_first, np.float64)
    first, of_first = ratio_influence(values * ones, ones)
    second, of_second = ratio_influence(values * rest, rest)
    return estimate(first - second, of_first - of_second, clusters, scale=float(np.abs(values).max()))


def estimate(value: float, influence: np.ndarray, clusters: Sequence[np.ndarray], *, scale: float = 0.0) -> Estimate:
    """A statistic with its `influence`, shape ``(N,)``, of items clustered in one way or two; `scale` is that of their values.

    Raises
    ------
    ValueError
        If there are no ways or more than two.
    """
    if not 1 <= len(clusters) <= 2:
        raise ValueError(f"items are clustered in one way or two, not {len(clusters)}")
    codes = [np.unique(np.asarray(each), return_inverse=True)[1].ravel() for each in clusters]
    ways = [each for each in codes if each.max(initial=0) > 0]
    if not ways:
        return Estimate(value, math.nan, 1)
    fewest = min(int(each.max()) + 1 for each in ways)
    alone = [_variance(influence, each) for each in ways]
    crossed = [_variance(influence, _cells(*pair)) for pair in combinations(ways, 2)]
    variance = max(sum(alone) - sum(crossed), *alone) if crossed else alone[0]
    # Equal clusters differ by rounding, which would pass for certainty.
    rounding = (1e-12 * max(scale, abs(value), float(np.abs(influence).sum()))) ** 2
    return Estimate(value, variance if variance > rounding else 0.0, fewest)


def _cells(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.unique(first * (second.max() + 1) + second, return_inverse=True)[1].ravel()


def _variance(influence: np.ndarray, codes: np.ndarray) -> float:
    sums = np.bincount(codes, weights=influence)
    return float(len(sums) / (len(sums) - 1) * (sums**2).sum())


def _quantile(level: float, df: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, (1 + level) / 2))
