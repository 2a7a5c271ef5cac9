r"""How great a difference must be to be seen, and how many rows it takes to see it.

All are the usual normal approximations for two-sided tests at `alpha` that find the difference with a chance of `power`; with
:math:`z_a` the :math:`1 - alpha/2` and :math:`z_b` the `power` quantile of the normal distribution.

References
----------
Fleiss, Levin and Paik (2003), *Statistical Methods for Rates and Proportions*, chapter 4.
Connor (1987), *Sample size for testing differences in proportions for the paired-sample design*, Biometrics 43.
"""

from __future__ import annotations

import math
from statistics import NormalDist

POWER, ALPHA = 0.8, 0.05


def rows_needed(first: float, second: float, *, power: float = POWER, alpha: float = ALPHA) -> int | None:
    r"""Rows in *each* of two groups of equal size at which the difference of two rates is found.

    .. math:: n = \frac{(z_a \sqrt{2 \bar p \bar q} + z_b \sqrt{p_1 q_1 + p_2 q_2})^2}{(p_1 - p_2)^2}

    Parameters
    ----------
    first, second : float
        The rates, 0 to 1.
    power, alpha : float
        See the module.

    Returns
    -------
    int or None
        Rounded up; None for equal rates, which no number of rows tells apart.

    Examples
    --------
    .80 against .75: (1.960 · √.34875 + .8416 · √.3475)² / .05² = 1.6536² / .0025 = 1093.8.

    >>> rows_needed(0.80, 0.75)
    1094
    """
    gap = abs(first - second)
    if not gap:
        return None
    mean = (first + second) / 2
    z_a, z_b = _quantiles(power, alpha)
    root = z_a * math.sqrt(2 * mean * (1 - mean)) + z_b * math.sqrt(first * (1 - first) + second * (1 - second))
    return math.ceil(root**2 / gap**2)


def smallest_gap(rate: float, n_first: int, n_second: int, *, power: float = POWER, alpha: float = ALPHA) -> float | None:
    r"""The smallest difference from `rate`, up or down, that groups of these sizes show.

    The least d > 0 that solves, for :math:`p_2 = rate \pm d` and the pooled rate :math:`\bar p`,

    .. math:: d = z_a \sqrt{\bar p \bar q (1/n_1 + 1/n_2)} + z_b \sqrt{p_1 q_1 / n_1 + p_2 q_2 / n_2}

    Parameters
    ----------
    rate : float
        Of the first group, 0 to 1.
    n_first, n_second : int
        Rows of the two groups.
    power, alpha : float
        See the module.

    Returns
    -------
    float or None
        None where even a rate of 0 or 1 would not stand out, or a group has no rows.

    Examples
    --------
    The other way round of `rows_needed`: 1,094 rows each show the step from .75 to .80.

    >>> round(smallest_gap(0.75, 1094, 1094), 4)
    0.05
    >>> smallest_gap(0.5, 3, 3) is None
    True
    """
    if not n_first or not n_second:
        return None
    found = [_root(rate, sign, n_first, n_second, _quantiles(power, alpha)) for sign in (1, -1)]
    return min((gap for gap in found if gap is not None), default=None)


def paired_rows_needed(flips: float, gap: float, *, power: float = POWER, alpha: float = ALPHA) -> int | None:
    r"""Rows at which McNemar's test finds that two models differ by `gap` in accuracy.

    .. math:: n = \frac{(z_a \sqrt\psi + z_b \sqrt{\psi - d^2})^2}{d^2}

    Parameters
    ----------
    flips : float
        :math:`\psi`, the share of rows that one of the two models alone has right, at least `gap`, at most 1.
    gap : float
        :math:`d`, the difference of the accuracies.
    power, alpha : float
        See the module.

    Returns
    -------
    int or None
        Rounded up; None for no difference.

    Examples
    --------
    A fifth of the rows flip, .05 more one way: (1.960 · √.2 + .8416 · √.1975)² / .0025 = 625.6.

    >>> paired_rows_needed(0.2, 0.05), paired_rows_needed(0.2, -0.03)
    (626, 1742)
    """
    if not gap:
        return None
    if not gap**2 <= abs(gap) <= flips <= 1:
        raise ValueError(f"flips must lie in [{abs(gap)}, 1], not {flips}")
    z_a, z_b = _quantiles(power, alpha)
    return math.ceil((z_a * math.sqrt(flips) + z_b * math.sqrt(flips - gap**2)) ** 2 / gap**2)


def smallest_paired_gap(flips: float, n: int, *, power: float = POWER, alpha: float = ALPHA) -> float | None:
    r"""The smallest difference in accuracy that two models on the same `n` rows show, if a share `flips` of rows flips.

    The inverse of `paired_rows_needed`, in closed form: with :math:`c = z_a \sqrt{\psi / n}`,
    :math:`d = (c + \sqrt{c^2 - (1 + z_b^2/n)(c^2 - z_b^2 \psi / n)}) / (1 + z_b^2/n)`.

    Returns
    -------
    float or None
        None where it would be greater than `flips`, which no difference can be, and for ``n = 0``.

    Examples
    --------
    >>> round(smallest_paired_gap(0.2, 626), 3)
    0.05
    >>> smallest_paired_gap(0.01, 20) is None
    True
    """
    if not n:
        return None
    z_a, z_b = _quantiles(power, alpha)
    c, b = z_a * math.sqrt(flips / n), z_b**2 / n
    gap = (c + math.sqrt(c**2 - (1 + b) * (c**2 - b * flips))) / (1 + b)
    return gap if 0 < gap <= flips else None


def _root(rate: float, sign: int, n_first: int, n_second: int, z: tuple[float, float]) -> float | None:
    from scipy.optimize import root_scalar

    def excess(gap: float) -> float:
        other = rate + sign * gap
        pooled = (n_first * rate + n_second * other) / (n_first + n_second)
        spread = rate * (1 - rate) / n_first + other * (1 - other) / n_second
        null = math.sqrt(max(0.0, pooled * (1 - pooled)) * (1 / n_first + 1 / n_second))
        return gap - z[0] * null - z[1] * math.sqrt(max(0.0, spread))

    room = 1 - rate if sign > 0 else rate
    if room <= 0 or excess(room) < 0:
        return None
    # At a rate of 0 or 1 the excess of no gap is 0, which is not the root that is meant.
    least = 1e-9 * room
    return least if excess(least) >= 0 else float(root_scalar(excess, bracket=(least, room)).root)


def _quantiles(power: float, alpha: float) -> tuple[float, float]:
    normal = NormalDist()
    return normal.inv_cdf(1 - alpha / 2), normal.inv_cdf(power)
