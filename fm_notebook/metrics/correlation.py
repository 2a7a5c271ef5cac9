"""Whether two numbers go together: Pearson's correlation with Fisher's interval."""

from __future__ import annotations

import math

import numpy as np

from fm_notebook.contracts.probe_reports import Measurement
from fm_notebook.contracts.scores import Interval

_Z, _FOUND = 1.959964, 1.959964 + 0.841621


def correlation(name: str, first: np.ndarray, second: np.ndarray, group: str = "") -> Measurement | None:
    r"""Pearson's r of paired numbers, -1 to 1; None of fewer than four pairs, and where one of the numbers never differs.

    The interval is normal on Fisher's scale, :math:`\operatorname{artanh} r ± z/\sqrt{n - 3}`; p is that of the t test.

    Parameters
    ----------
    first, second : numpy.ndarray
        Shape ``(N,)``.

    References
    ----------
    Fisher (1921), *On the probable error of a coefficient of correlation deduced from a small sample*, Metron 1.

    Examples
    --------
    Deviations -3, -1, 1, 3 and -1, -3, 3, 1: products 12, squares 20 each, so r = .6; artanh .6 = .693 ± 1.96.

    >>> found = correlation("r", np.array([1.0, 3, 5, 7]), np.array([3.0, 1, 7, 5]))
    >>> round(found.value, 4), round(found.interval.low, 3), round(found.interval.high, 3)
    (0.6, -0.853, 0.99)
    """
    from scipy.stats import pearsonr

    n = len(first)
    if n < 4 or not np.ptp(first) or not np.ptp(second):
        return None
    r, p = map(float, tuple(pearsonr(first, second)))  # type: ignore[arg-type]
    centre, half = math.atanh(max(-1 + 1e-15, min(1 - 1e-15, r))), _Z / math.sqrt(n - 3)
    return Measurement(
        name=name, group=group, value=r, n=n, neutral=0.0, p_value=p,
        interval=Interval(low=math.tanh(centre - half), high=math.tanh(centre + half), method="fisher-z"),
        needed=math.ceil(3 + (_FOUND / centre) ** 2) if abs(centre) > 1e-3 else None,
        smallest=math.tanh(_FOUND / math.sqrt(n - 3)),
    )  # fmt: skip
