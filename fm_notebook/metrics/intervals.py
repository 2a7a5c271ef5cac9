"""Confidence intervals: Wilson for proportions, Student's t for means, percentile for bootstrap resamples.

Wilson, not Wald (``p ± z·se``): near 0 and 1, and for the few rows of a rare class, Wald leaves [0, 1] and covers far less
than it says (Brown, Cai and DasGupta 2001).
"""

from __future__ import annotations

import math

import numpy as np

from fm_notebook.contracts.results import Interval


def wilson(successes: int, n: int, level: float = 0.95) -> Interval | None:
    r"""Wilson's score interval of a proportion, without continuity correction.

    With :math:`p = k/n` and :math:`z` the :math:`(1 + level)/2` quantile of the normal distribution,

    .. math:: \frac{p + z^2/2n \pm z \sqrt{p(1-p)/n + z^2/4n^2}}{1 + z^2/n}

    Parameters
    ----------
    successes : int
        :math:`k`, from 0 to `n`.
    n : int
        Number of independent trials.
    level : float
        Coverage aimed at, above 0 and below 1.

    Returns
    -------
    Interval or None
        Within [0, 1] and holding `successes` / `n`; None for ``n = 0``, where nothing is known.

    References
    ----------
    Wilson (1927), *Probable inference, the law of succession, and statistical inference*, JASA 22.
    Brown, Cai and DasGupta (2001), *Interval estimation for a binomial proportion*, Statistical Science 16, eq. 4.

    Examples
    --------
    For 1 of 2, :math:`p = 1/2` gives :math:`1/2 ± z / 2\sqrt{n + z^2}`: with z = 1.96, half a width of
    1.96 / (2 · √5.84) = 0.4055.

    >>> found = wilson(1, 2)
    >>> round(found.low, 4), round(found.high, 4)
    (0.0945, 0.9055)
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in [0, {n}], not {successes}")
    if n == 0:
        return None
    z = _normal_quantile(level)
    p, z2 = successes / n, z * z / n
    centre = p + z2 / 2
    half = z * math.sqrt(p * (1 - p) / n + z2 / (4 * n))
    # The ends are exact at k = 0 and k = n, where rounding would miss p by an ulp.
    low = 0.0 if successes == 0 else (centre - half) / (1 + z2)
    high = 1.0 if successes == n else (centre + half) / (1 + z2)
    return Interval(low=low, high=high, level=level, method="wilson")


def mean_t(values: np.ndarray, level: float = 0.95) -> Interval | None:
    r"""Student's t interval of a mean, :math:`\bar x ± t_{n-1} s/\sqrt n` with :math:`s` the sample deviation.

    Exact for normal values, right for large `n` by the central limit theorem; for few and skewed values, as losses are, the
    upper end is too low.

    Parameters
    ----------
    values : numpy.ndarray
        Independent values, shape ``(N,)``.
    level : float
        Coverage aimed at, above 0 and below 1.

    Returns
    -------
    Interval or None
        None for fewer than two values, and where any is not finite.

    Examples
    --------
    Mean 2, s = √2, t with one degree of freedom at 97.5 % is 12.706; 12.706 · √2 / √2 = 12.706.

    >>> found = mean_t(np.array([1.0, 3.0]))
    >>> round(found.low, 3), round(found.high, 3)
    (-10.706, 14.706)
    """
    from scipy.special import stdtrit  # a tenth of the import time of scipy.stats

    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return None
    mean = float(values.mean())
    half = float(stdtrit(n - 1, (1 + _checked(level)) / 2) * values.std(ddof=1) / math.sqrt(n))
    return Interval(low=mean - half, high=mean + half, level=level, method="t")


def percentile(value: float, resampled: np.ndarray, level: float = 0.95) -> Interval | None:
    """Percentile interval of a statistic from its bootstrap resamples, widened where needed to hold `value`.

    A plug-in statistic such as macro F1 is biased downward in resamples of many rare classes, so that the plain percentiles
    can miss the value itself; then the nearer end is moved to it, which errs on the wide side.

    Parameters
    ----------
    value : float
        The statistic on the data themselves.
    resampled : numpy.ndarray
        The statistic on each resample, shape ``(R,)``.
    level : float
        Coverage aimed at, above 0 and below 1.

    Returns
    -------
    Interval or None
        None where all resamples give `value`: no spread was seen, which does not mean that there is none.

    References
    ----------
    Efron and Tibshirani (1993), *An Introduction to the Bootstrap*, chapter 13.

    Examples
    --------
    The quartiles of 0, 1, 2, 3, 4 are 1 and 3.

    >>> percentile(2.0, np.arange(5.0), level=0.5)
    Interval(low=1.0, high=3.0, level=0.5, method='bootstrap')
    """
    tail = (1 - _checked(level)) / 2
    if np.allclose(resampled, value, rtol=0, atol=1e-12):
        return None
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(low=min(float(low), value), high=max(float(high), value), level=level, method="bootstrap")


def _normal_quantile(level: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf((1 + _checked(level)) / 2)


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    return level
