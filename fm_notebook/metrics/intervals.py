"""Confidence intervals: Wilson for proportions, Student's t for means, percentile for bootstrap resamples, and differences.

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


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> Interval | None:
    r"""Clopper and Pearson's interval of a proportion: never covers less than `level`, whatever the proportion.

    The ends are the :math:`(1 - level)/2` quantile of :math:`Beta(k, n - k + 1)` and the :math:`(1 + level)/2` quantile of
    :math:`Beta(k + 1, n - k)`. For few trials it is wide, which is the price of the guarantee.

    Parameters
    ----------
    successes : int
        :math:`k`, from 0 to `n`.
    n : int
        Number of independent trials.
    level : float
        Coverage at least reached, above 0 and below 1.

    Returns
    -------
    Interval or None
        Within [0, 1] and holding `successes` / `n`; None for ``n = 0``, where nothing is known.

    References
    ----------
    Clopper and Pearson (1934), *The use of confidence or fiducial limits illustrated in the case of the binomial*,
    Biometrika 26.

    Examples
    --------
    0 of 5: the upper end solves :math:`(1 - p)^5 = .025`, so p = 1 - .025^(1/5) = .5218.

    >>> found = clopper_pearson(0, 5)
    >>> found.low, round(found.high, 4)
    (0.0, 0.5218)
    """
    from scipy.special import betaincinv

    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in [0, {n}], not {successes}")
    if n == 0:
        return None
    tail, k = (1 - _checked(level)) / 2, successes
    low = float(betaincinv(k, n - k + 1, tail)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Interval(low=low, high=high, level=level, method="clopper-pearson")


def newcombe(first: tuple[int, int], second: tuple[int, int], level: float = 0.95) -> Interval | None:
    r"""Newcombe's interval of the difference of two independent proportions, first less second.

    Wilson's intervals :math:`[l_i, u_i]` of the two proportions :math:`p_i`, joined as in `mover`.

    Parameters
    ----------
    first, second : tuple of int
        Successes and trials of each.
    level : float
        Coverage aimed at, above 0 and below 1.

    Returns
    -------
    Interval or None
        Within [-1, 1] and holding the difference; None where either has no trials.

    References
    ----------
    Newcombe (1998), *Interval estimation for the difference between independent proportions*, Statistics in Medicine 17,
    method 10.

    Examples
    --------
    Newcombe's example (a), 56 of 70 and 48 of 80, is .0524 to .3339.

    >>> found = newcombe((56, 70), (48, 80))
    >>> round(found.low, 4), round(found.high, 4)
    (0.0524, 0.3339)
    """
    one, other = wilson(*first, level), wilson(*second, level)
    if one is None or other is None:
        return None
    found = mover(first[0] / first[1], one, second[0] / second[1], other)
    return found.model_copy(update={"method": "newcombe"})


def mover(first: float, of_first: Interval, second: float, of_second: Interval) -> Interval:
    r"""Interval of the difference of two independent estimates from the interval of each (MOVER).

    .. math::
        L = \theta_1 - \theta_2 - \sqrt{(\theta_1 - l_1)^2 + (u_2 - \theta_2)^2}, \quad
        U = \theta_1 - \theta_2 + \sqrt{(u_1 - \theta_1)^2 + (\theta_2 - l_2)^2}

    Parameters
    ----------
    first, second : float
        The estimates.
    of_first, of_second : Interval
        Their intervals, at one level.

    References
    ----------
    Zou and Donner (2008), *Construction of confidence limits about effect measures: a general approach*, Statistics in
    Medicine 27.

    Examples
    --------
    Half widths of .3 and .4 join to .5.

    >>> wide = lambda low, high: Interval(low=low, high=high, method="t")
    >>> found = mover(1.0, wide(0.7, 1.3), 0.0, wide(-0.4, 0.4))
    >>> round(found.low, 6), round(found.high, 6)
    (0.5, 1.5)
    """
    gap = first - second
    low = gap - math.hypot(first - of_first.low, of_second.high - second)
    high = gap + math.hypot(of_first.high - first, second - of_second.low)
    return Interval(low=low, high=high, level=of_first.level, method="mover")


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
