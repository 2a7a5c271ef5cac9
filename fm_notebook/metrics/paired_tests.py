r"""Whether two models differ on the same rows: a p-value for each score.

- ``accuracy``, ``selection_rate``, ``tpr``, ``fpr``: McNemar's test, exact: of the rows (all; all; positive; negative) in which
  just one model is right, or selects, as many are either's by chance;
- ``macro_f1``, ``ppv``: randomisation: the two models' predictions of a row change places with a chance of one half;
- ``auc``: DeLong's test of two correlated areas;
- ``loss``: Student's t test of the rows' differences;
- ``ece`` has none.

References
----------
McNemar (1947), *Note on the sampling error of the difference between correlated proportions*, Psychometrika 12.
Noreen (1989), *Computer-Intensive Methods for Testing Hypotheses*.
Yeh (2000), *More accurate tests for the statistical significance of result differences*, COLING.
DeLong, DeLong and Clarke-Pearson (1988), *Comparing the areas under two or more correlated receiver operating characteristic
curves*, Biometrics 44.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from fm_notebook.contracts.pairs import Test
from fm_notebook.contracts.results import Interval
from fm_notebook.metrics.permutations import p_value
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.row_sums import placements_of_rows, row_losses

RANDOMIZED = 1999
"""Draws of the randomisation test."""


def paired_p(name: str, first: Predictions, second: Predictions, *, seed: int = 0) -> tuple[Test | None, float | None]:
    """The test of a score and its two-sided p-value, see the module; both None where there is none.

    Parameters
    ----------
    name : str
        Of the score, which both models have.
    first, second : Predictions
        Of the same rows.
    seed : int
        Of the randomisation.

    Examples
    --------
    One row of two is mended, none is broken.

    >>> before, after = (Predictions.of([0, 1], given, ["a", "b"]) for given in ([1, 1], [0, 1]))
    >>> paired_p("accuracy", before, after)
    ('mcnemar', 1.0)
    """
    if name in ("accuracy", "selection_rate", "tpr", "fpr"):
        rows = {"tpr": first.is_positive, "fpr": ~first.is_positive}.get(name, slice(None))
        one, other = ((each.right if name == "accuracy" else each.selected)[rows] for each in (first, second))
        return "mcnemar", mcnemar(int((~one & other).sum()), int((one & ~other).sum()))
    if name in ("macro_f1", "ppv"):
        seen, drawn = randomized(name, first, second, seed=seed)
        return "randomization", p_value(abs(seen), np.abs(drawn))
    if name == "auc":
        return "delong", _delong_p(first, second)
    return ("t", _t_test(row_losses(second) - row_losses(first))) if name == "loss" else (None, None)


def mcnemar(mended: int, broken: int) -> float:
    r"""McNemar's exact two-sided p-value: of n rows that differ, as many go either way, :math:`2 P(B_{n, 1/2} \le \min)`.

    Parameters
    ----------
    mended, broken : int
        Rows that differ in favour of one model, and of the other.

    Returns
    -------
    float
        1 where no row differs.

    Examples
    --------
    1 against 5: 2 · (1 + 6) / 2⁶.

    >>> round(mcnemar(1, 5), 5), mcnemar(0, 0)
    (0.21875, 1.0)
    """
    from scipy.special import bdtr

    n = mended + broken
    return min(1.0, 2 * float(bdtr(min(mended, broken), n, 0.5))) if n else 1.0


def randomized(name: str, first: Predictions, second: Predictions, *, seed: int) -> tuple[float, np.ndarray]:
    """The difference of ``macro_f1`` or ``ppv`` as it is, and when predictions of a row change places by chance, shape ``(R,)``.

    Rows of the same truth and predictions are exchangeable: a draw is a binomial number for each such kind of row.
    """
    (truth, one, other), n = np.unique([first.truth, first.predicted, second.predicted], axis=1, return_counts=True)
    drawn = np.random.default_rng(seed).binomial(n, np.where(one == other, 0.0, 0.5), (RANDOMIZED, len(n)))
    swapped = np.vstack([np.zeros_like(n), drawn])  # the first is the data
    of_class = np.eye(len(first.labels))
    support, found = n @ of_class[truth], []
    for kept in (n - swapped, swapped):
        given = kept @ of_class[one] + (n - kept) @ of_class[other]
        hits = (kept * (one == truth) + (n - kept) * (other == truth)) @ of_class[truth]
        found.append(_macro_f1(hits, support + given) if name == "macro_f1" else _ppv(hits, given, first.positive))
    differences = found[1] - found[0]
    return float(differences[0]), differences[1:]


def _macro_f1(hits: np.ndarray, either: np.ndarray) -> np.ndarray:
    return (2 * hits / np.maximum(either, 1)).sum(1) / np.maximum((either > 0).sum(1), 1)


def _ppv(hits: np.ndarray, given: np.ndarray, positive: int | None) -> np.ndarray:
    assert positive is not None, "there is no PPV without a positive label"
    return hits[:, positive] / np.maximum(given[:, positive], 1)


def delong_difference(first: Predictions, second: Predictions, level: float = 0.95) -> Interval | None:
    """DeLong's interval of the difference of two correlated areas, second less first; None where no spread is seen."""
    value, error = _delong(first, second)
    half = NormalDist().inv_cdf((1 + level) / 2) * error
    return Interval(low=max(-1.0, value - half), high=min(1.0, value + half), level=level, method="delong") if error else None


def _delong(first: Predictions, second: Predictions) -> tuple[float, float]:
    """The difference of the areas and its standard error."""
    gaps, positive = placements_of_rows(second) - placements_of_rows(first), first.is_positive
    kinds = gaps[positive], gaps[~positive]
    return float(kinds[0].mean()), math.sqrt(sum(float(own.var(ddof=1)) / len(own) for own in kinds if len(own) > 1))


def _delong_p(first: Predictions, second: Predictions) -> float:
    value, error = _delong(first, second)
    if not error:
        return 1.0 if abs(value) < 1e-12 else 0.0
    return math.erfc(abs(value) / error / math.sqrt(2))


def _t_test(differences: np.ndarray) -> float | None:
    from scipy.special import stdtr

    n = len(differences)
    if n < 2:
        return None
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    if not error:
        return 1.0 if not differences.mean() else 0.0
    return 2 * float(stdtr(n - 1, -abs(float(differences.mean())) / error))
