r"""How near numbers were predicted, and how well their order.

With errors :math:`e_i = \hat y_i - y_i` over N rows:

.. math:: RMSE = \sqrt{\frac1N \sum e_i^2}, \quad MAE = \frac1N \sum |e_i|, \quad
          R^2 = 1 - \frac{\sum e_i^2}{\sum (y_i - \bar y)^2}

RMSE and MAE are in the unit of the targets; :math:`R^2` is at most 1, 0 for always giving the mean and below 0 for worse.
Pearson's r and Spearman's ρ (Pearson's of the ranks, equals sharing the mean of theirs) go from -1 to 1.

What the intervals stand on: RMSE and R² the percentile bootstrap of rows; MAE Student's t; the correlations Fisher's z,
:math:`\tanh(\operatorname{artanh} r ± z \cdot se)`, with :math:`se = 1/\sqrt{N-3}` for Pearson (right for jointly normal
values) and :math:`\sqrt{(1 + ρ^2/2)/(N-3)}` for Spearman (Bonett and Wright 2000).

Where a score is not defined it is **NaN and has no interval**, rather than a number that could be taken for a measurement: the
correlations if the predictions or the targets are all equal, as an untrained or collapsed model's are; R² if the targets are.

References
----------
Fisher (1921), *On the "probable error" of a coefficient of correlation deduced from a small sample*, Metron 1.
Bonett and Wright (2000), *Sample size requirements for estimating Pearson, Kendall and Spearman correlations*,
Psychometrika 65.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from fm_notebook.contracts.results import Interval, Score
from fm_notebook.errors import ModelError
from fm_notebook.metrics.intervals import mean_t, percentile
from fm_notebook.metrics.resampling import resampled_sums


def evaluate(predicted: np.ndarray, targets: np.ndarray, *, seed: int, level: float = 0.95) -> list[Score]:
    """All scores of a regression on held-out rows, each with ``n`` and an interval (see the module for the conventions).

    Parameters
    ----------
    predicted, targets : numpy.ndarray
        Numbers, float, shape ``(N,)``, N at least 1.
    seed : int
        Of the bootstrap.
    level : float
        Coverage of the intervals, above 0 and below 1.

    Returns
    -------
    list of Score
        ``rmse``, ``mae``, ``r2``, ``pearson``, ``spearman``; ``n`` is the number of rows.

    Raises
    ------
    ModelError
        If a prediction is not a finite number, as a diverged model gives.
    ValueError
        If the shapes do not fit or there are no rows.

    Examples
    --------
    Errors 0, 1, 0, -1: RMSE = √(2/4), MAE = 1/2. The targets 0, 1, 2, 3 have the mean 3/2 and squares of 5 around it, so that
    R² = 1 - 2/5. The predictions 0, 2, 2, 2 have the squares 3 around their mean and the products 3 with the targets:
    r = 3 / √(3 · 5).

    >>> found = evaluate(np.array([0.0, 2, 2, 2]), np.array([0.0, 1, 2, 3]), seed=0)
    >>> [(score.name, round(score.value, 4)) for score in found]
    [('rmse', 0.7071), ('mae', 0.5), ('r2', 0.6), ('pearson', 0.7746), ('spearman', 0.7746)]
    """
    predicted, targets = np.asarray(predicted, np.float64), np.asarray(targets, np.float64)
    _check(predicted, targets)
    errors, n = predicted - targets, len(targets)
    rho = correlation(ranks(predicted), ranks(targets))
    r = correlation(predicted, targets)
    return [
        *_from_squares(errors, targets, seed, level),
        Score(name="pearson", value=r, n=n, interval=fisher(r, n, 1.0, level)),
        Score(name="spearman", value=rho, n=n, interval=fisher(rho, n, 1 + rho**2 / 2, level)),
    ]


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's r of two rows of numbers, shape ``(N,)``, from -1 to 1; NaN if either is constant."""
    product = _unit(one) @ _unit(other)
    return float(np.clip(product, -1.0, 1.0))


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 to N; equal values share the mean of theirs.

    Examples
    --------
    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[place]


def fisher(r: float, n: int, variance: float, level: float = 0.95) -> Interval | None:
    """Fisher's z interval of a correlation, whose z has the variance ``variance / (n - 3)``.

    Returns
    -------
    Interval or None
        Within -1 and 1; None for fewer than four rows, for NaN, and for a perfect correlation, of which it would claim to be
        certain.

    Examples
    --------
    For r = 0, n = 7 the ends are ± tanh(1.96 / 2).

    >>> found = fisher(0.0, 7, 1.0)
    >>> round(found.high, 4), round(math.tanh(1.96 / 2), 4)
    (0.7531, 0.7531)
    """
    if n < 4 or not abs(r) < 1 - 1e-12:
        return None
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance / (n - 3))
    centre = math.atanh(r)
    return Interval(low=math.tanh(centre - half), high=math.tanh(centre + half), level=level, method="fisher")


def _from_squares(errors: np.ndarray, targets: np.ndarray, seed: int, level: float) -> list[Score]:
    n, centred = len(targets), targets - targets.mean()
    constant = bool((targets == targets[0]).all())
    spread = float((centred**2).sum())
    draws = resampled_sums(np.column_stack([errors**2, centred, centred**2]), seed=seed)
    spreads = draws[:, 2] - draws[:, 1] ** 2 / n
    # A resample of one row alone, again and again, has no R²; its spread is 0 but for rounding.
    defined = spreads > 1e-9 * spread
    rmse = math.sqrt(float((errors**2).mean()))
    r2 = math.nan if constant else 1 - float((errors**2).sum()) / spread
    drawn = 1 - draws[defined, 0] / spreads[defined]
    return [
        Score(name="rmse", value=rmse, n=n, interval=percentile(rmse, np.sqrt(draws[:, 0] / n), level)),
        Score(name="mae", value=float(np.abs(errors).mean()), n=n, interval=mean_t(np.abs(errors), level)),
        Score(name="r2", value=r2, n=n, interval=None if constant else percentile(r2, drawn, level)),
    ]


def _unit(values: np.ndarray) -> np.ndarray:
    """Centred and of length 1; NaN if all are equal."""
    if (values == values[0]).all():
        return np.full(len(values), math.nan)
    centred = values - values.mean()
    centred = centred / np.abs(centred).max()  # squares of very small numbers would vanish
    return centred / math.sqrt(float(centred @ centred))


def _check(predicted: np.ndarray, targets: np.ndarray) -> None:
    if not targets.size or not predicted.shape == targets.shape == (len(targets),):
        raise ValueError(f"predicted must be one row of as many numbers as targets, not {predicted.shape} and {targets.shape}")
    bad = int((~np.isfinite(predicted)).sum())
    if bad:
        raise ModelError("metrics.not_finite_predictions", rows=bad, n=len(targets))
