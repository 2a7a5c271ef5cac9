"""ROC and precision-recall curves: how a score ranks the rows, at every threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fm_notebook.contracts.calibration import Curve
from fm_notebook.contracts.results import Score
from fm_notebook.metrics.auc import auc_of_counts
from fm_notebook.metrics.intervals import wilson
from fm_notebook.metrics.predictions import Predictions

POINTS = 200
"""Points a curve has at most: a picture shows no more."""
MOST_LABELS = 8
"""Labels with curves of their own: more cannot be told apart in a picture."""


def curves(predictions: Predictions, *, level: float = 0.95) -> list[Curve]:
    """ROC and precision-recall curve of the positive label, or of each label against all others where none is named.

    Parameters
    ----------
    predictions : Predictions
    level : float
        Of the intervals of the areas.

    Returns
    -------
    list of Curve
        Those of a label stand together. Of more than `MOST_LABELS` labels, the most frequent, in their own order; none for a
        label that no row, or every row, has, and none without probabilities.

    Examples
    --------
    >>> shares = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    >>> found = curves(Predictions.of([0, 1, 1], [0, 1, 0], ["no", "yes"], probabilities=shares, positive="yes"))
    >>> [(curve.kind, curve.label, curve.area.value) for curve in found]
    [('roc', 'yes', 1.0), ('precision-recall', 'yes', 1.0)]
    """
    if predictions.probabilities is None:
        return []
    found: list[Curve] = []
    for label in _labels(predictions):
        ranked = _Ranked.of(predictions.probabilities[:, label], predictions.truth == label)
        both = _roc(ranked, level), _precision_recall(ranked, level)
        found += [curve.model_copy(update={"label": predictions.labels[label]}) for curve in both if curve]
    return found


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
    return _roc(_Ranked.of(scores, positive), level)


def _roc(ranked: _Ranked, level: float) -> Curve | None:
    area = auc_of_counts("auc", ranked.positives, ranked.negatives, level=level)
    if area is None:
        return None
    wins, losses, thresholds = ranked.from_the_top()
    x = np.concatenate([[0.0], losses / losses[-1]])
    y = np.concatenate([[0.0], wins / wins[-1]])
    keep = _thinned(x + y)
    at = np.concatenate([[np.inf], thresholds])
    return Curve(
        kind="roc",
        base_rate=float(wins[-1] / area.n),
        x=x[keep].tolist(),
        y=y[keep].tolist(),
        thresholds=at[keep].tolist(),
        area=area,
    )


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
    return _precision_recall(_Ranked.of(scores, positive), level)


def _precision_recall(ranked: _Ranked, level: float) -> Curve | None:
    wins, losses, thresholds = ranked.from_the_top()
    if not (len(wins) and wins[-1] and losses[-1]):
        return None
    recall, precision = wins / wins[-1], wins / (wins + losses)
    value, n, rows = float((np.diff(recall, prepend=0.0) * precision).sum()), int(wins[-1]), int(wins[-1] + losses[-1])
    found = wilson(round(value * n), n, level)
    if found is not None:
        found = found.model_copy(update={"low": min(found.low, value), "high": max(found.high, value)})
    area = Score(name="average_precision", value=value, n=rows, interval=found)
    keep = _thinned(recall)
    return Curve(
        kind="precision-recall",
        base_rate=n / rows,
        x=recall[keep].tolist(),
        y=precision[keep].tolist(),
        thresholds=thresholds[keep].tolist(),
        area=area,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """The distinct scores, ascending, and how many positive and negative rows have each, shape ``(K,)`` each."""

    distinct: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, positive: np.ndarray) -> _Ranked:
        distinct, at = np.unique(scores, return_inverse=True)
        positives = np.bincount(at[np.asarray(positive, bool)], minlength=len(distinct))
        return cls(distinct, positives, np.bincount(at, minlength=len(distinct)) - positives)

    def from_the_top(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positives and negatives at or above each distinct score, and those scores, descending."""
        return self.positives[::-1].cumsum(), self.negatives[::-1].cumsum(), self.distinct[::-1]


def _labels(predictions: Predictions) -> list[int]:
    if predictions.positive is not None:
        return [predictions.positive]
    rows = np.bincount(predictions.truth, minlength=len(predictions.labels))
    return sorted(np.argsort(-rows, kind="stable")[:MOST_LABELS].tolist())


def _thinned(way: np.ndarray) -> np.ndarray:
    """Points evenly along a `way` that never turns back: evenly over rows, the steep rise of a rare class would be lost."""
    if len(way) <= POINTS:
        return np.arange(len(way))
    inner = np.searchsorted(way, np.linspace(way[0], way[-1], POINTS)[1:-1])
    return np.unique(np.concatenate([[0], inner, [len(way) - 1]]))
