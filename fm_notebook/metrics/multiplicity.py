"""P-values of many tests at once, adjusted so that they may be read as if each were alone."""

from __future__ import annotations

import numpy as np

from fm_notebook.contracts.groups import Adjustment


def adjusted(p_values: np.ndarray, how: Adjustment = "holm") -> np.ndarray:
    """`p_values` adjusted by `holm` or `benjamini_hochberg`, in their order."""
    return holm(p_values) if how == "holm" else benjamini_hochberg(p_values)


def holm(p_values: np.ndarray) -> np.ndarray:
    r"""Holm's adjusted p-values: rejecting those up to α errs anywhere in the family with a chance of at most α.

    With the m p-values in ascending order, :math:`\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) p_{(j)})`. It holds
    whatever the tests' dependence, and is never weaker than Bonferroni's.

    Parameters
    ----------
    p_values : numpy.ndarray
        From 0 to 1, shape ``(M,)``.

    Returns
    -------
    numpy.ndarray
        In the order given, shape ``(M,)``.

    References
    ----------
    Holm (1979), *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of Statistics 6.

    Examples
    --------
    3 · .01 = .03; 2 · .03 = .06; 1 · .04 = .04, but not less than the one before.

    >>> holm(np.array([0.03, 0.01, 0.04])).round(2).tolist()
    [0.06, 0.03, 0.06]
    """
    order = np.argsort(p_values)
    steps = np.asarray(p_values, np.float64)[order] * np.arange(len(order), 0, -1)
    back = np.empty_like(steps)
    back[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return back


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    r"""Benjamini and Hochberg's adjusted p-values: of those up to α, a share of at most α is expected to be false.

    :math:`\tilde p_{(i)} = \min_{j \ge i} \min(1, m p_{(j)} / j)` for m p-values in ascending order that are independent or
    positively dependent.

    Parameters
    ----------
    p_values : numpy.ndarray
        From 0 to 1, shape ``(M,)``.

    Returns
    -------
    numpy.ndarray
        In the order given, shape ``(M,)``.

    References
    ----------
    Benjamini and Hochberg (1995), *Controlling the false discovery rate*, JRSS B 57.

    Examples
    --------
    3 · .01 / 1 = .03; 3 · .03 / 2 = .045, but not more than the next; 3 · .04 / 3 = .04.

    >>> benjamini_hochberg(np.array([0.03, 0.01, 0.04])).round(3).tolist()
    [0.04, 0.03, 0.04]
    """
    from scipy.stats import false_discovery_control

    return false_discovery_control(p_values) if len(p_values) else np.zeros(0)
