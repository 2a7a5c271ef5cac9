"""ROC and precision-recall curves: how a score ranks the rows, at every threshold."""

from __future__ import annotations

import numpy as np

from fm_notebook.contracts.calibration import Curve
from fm_notebook.contracts.results import Score
from fm_notebook.metrics.auc import auc_score, counts
from fm_notebook.metrics.intervals import wilson

POINTS = 1000
"""Points a curve has at most: a picture shows no more."""


def roc_curve(scores: np.ndarray, positive: np.ndarray, *, level: float = 0.95) -> Curve | None:
    """The ROC curve: share of positives (TPR) against share of negatives (FPR) at or above each threshold.

    Parameters
    ----------
    scores : numpy.ndarray
        Shape ``(N,)``.
    positive : numpy.ndarray
        Bool, shape ``(N,)``.
    level : float
        Of the interval of the area.

    Returns
    -------
    Curve or None
        From (0, 0), whose threshold is infinite, to (1, 1), of at most `POINTS` points; None where all rows are of one class.

    References
    ----------
    Fawcett (2006), *An introduction to ROC analysis*, Pattern Recognition Letters 27.

    Examples
    --------
    >>> found = roc_curve(np.array([0.9, 0.5, 0.1]), np.array([True, False, True]))
    >>> found.x, found.y
    ([0.0, 0.0, 1.0, 1.0], [0.0, 0.5, 0.5, 1.0])
    """
    area = auc_score("auc", scores, positive, level=level)
    if area is None:
        return None
    wins, losses, thresholds = _from_the_top(scores, positive)
    x = np.concatenate([[0.0], losses / losses[-1]])
    y = np.concatenate([[0.0], wins / wins[-1]])
    keep = _thinned(len(x))
    at = np.concatenate([[np.inf], thresholds])
    return Curve(kind="roc", x=x[keep].tolist(), y=y[keep].tolist(), thresholds=at[keep].tolist(), area=area)


def precision_recall_curve(scores: np.ndarray, positive: np.ndarray, *, level: float = 0.95) -> Curve | None:
    r"""The precision-recall curve, and average precision :math:`\sum_k (R_k - R_{k-1}) P_k` over descending thresholds.

    Average precision is not interpolated. Its interval takes it for a share of the positive rows, as Boyd, Eng and Page (2013)
    recommend, and is that of Wilson: near enough to draw, not to test by.

    Parameters
    ----------
    scores : numpy.ndarray
        Shape ``(N,)``.
    positive : numpy.ndarray
        Bool, shape ``(N,)``.
    level : float
        Of the interval.

    Returns
    -------
    Curve or None
        By ascending recall, at most `POINTS` points; None where all rows are of one class.

    References
    ----------
    Davis and Goadrich (2006), *The relationship between precision-recall and ROC curves*, ICML.
    Boyd, Eng and Page (2013), *Area under the precision-recall curve: point estimates and confidence intervals*, ECML.

    Examples
    --------
    Precision 1 at recall 1/2, then 1/2, then 2/3 at recall 1: ½ · 1 + ½ · ⅔.

    >>> found = precision_recall_curve(np.array([0.9, 0.5, 0.1]), np.array([True, False, True]))
    >>> found.x, round(found.area.value, 4)
    ([0.5, 0.5, 1.0], 0.8333)
    """
    positive = np.asarray(positive, bool)
    if positive.all() or not positive.any():
        return None
    wins, losses, thresholds = _from_the_top(scores, positive)
    recall, precision = wins / wins[-1], wins / (wins + losses)
    value, n = float((np.diff(recall, prepend=0.0) * precision).sum()), int(wins[-1])
    found = wilson(round(value * n), n, level)
    if found is not None:
        found = found.model_copy(update={"low": min(found.low, value), "high": max(found.high, value)})
    area = Score(name="average_precision", value=value, n=len(positive), interval=found)
    keep = _thinned(len(recall))
    return Curve(
        kind="precision-recall",
        x=recall[keep].tolist(),
        y=precision[keep].tolist(),
        thresholds=thresholds[keep].tolist(),
        area=area,
    )


def _from_the_top(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positives and negatives at or above each distinct score, and those scores, descending."""
    wins, losses = counts(scores, positive)
    return wins[::-1].cumsum(), losses[::-1].cumsum(), np.unique(scores)[::-1]


def _thinned(n: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, POINTS)).round().astype(int))
