r"""How well one label out of C was predicted.

Conventions, those of scikit-learn's ``classification_report(labels=all, zero_division=0)``: with the counts of class c
(true positives, false positives, false negatives),

.. math:: P_c = \frac{TP}{TP + FP}, \quad R_c = \frac{TP}{TP + FN}, \quad F_c = \frac{2 TP}{2 TP + FP + FN}

each 0 where its denominator is 0; a macro average is the plain mean over *all* C labels, also those that no row has and
none is given (macro F1 is the mean of the F1, not the F1 of the means: Opitz and Burst 2019); a weighted average weighs each
class by its support :math:`TP + FN`.

What the intervals stand on:

- accuracy, precision, recall: Wilson over the n rows of the denominator (all rows; predicted c; labelled c);
- F1 and averages: percentile bootstrap of the rows, stratified by true label, so that supports stay fixed. The held-out
  splits made here are stratified too, and a rare class does not vanish from resamples (Robin et al. 2011 for ROC curves);
- where no resample differs (a few rows, all right), a bootstrap would claim certainty. The interval of a class's F1 is then
  that of Wilson for :math:`J = TP/(TP + FP + FN)`, carried over by :math:`F = 2J/(1 + J)`, which only grows with J; the
  interval of an average is the average of the ends of its classes' intervals, which errs on the wide side;
- loss: Student's t.

References
----------
Opitz and Burst (2019), *Macro F1 and Macro F1*, arXiv:1911.03347.
Robin et al. (2011), *pROC: an open-source package for R and S+ to analyze and compare ROC curves*, BMC Bioinformatics 12:77.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fm_notebook.contracts.results import ClassScores, Interval, Score
from fm_notebook.errors import ModelError
from fm_notebook.metrics.intervals import mean_t, percentile
from fm_notebook.metrics.rates import class_scores, proportion

RESAMPLES = 2000
"""Resamples of a bootstrap: the ends of a 95 % interval then jitter by about 3 % of its width between seeds."""

CELLS_AT_ONCE = 2_000_000
"""Drawn counts held in memory at a time (16 MB)."""


@dataclass(frozen=True, slots=True)
class ClassificationScores:
    """What `evaluate` gives: the fields of the same names of `fm_notebook.contracts.results.Evaluation`."""

    scores: list[Score]
    classes: list[ClassScores]
    confusion: list[list[int]]


@dataclass(frozen=True, slots=True)
class _Rates:
    """Per-class rates of one or more confusion matrices; each array has the shape ``(..., C)``."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray

    @classmethod
    def of(cls, hits: np.ndarray, support: np.ndarray, predicted: np.ndarray) -> _Rates:
        return cls(_ratio(hits, predicted), _ratio(hits, support), _ratio(2 * hits, support + predicted), support)

    def averages(self) -> dict[str, np.ndarray]:
        return {
            "macro_precision": self.precision.mean(-1),
            "macro_recall": self.recall.mean(-1),
            "macro_f1": self.f1.mean(-1),
            "weighted_f1": _ratio((self.f1 * self.support).sum(-1), self.support.sum(-1)),
        }


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Number of rows by true label (rows) and predicted label (columns), int64, shape ``(C, C)``.

    Examples
    --------
    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = np.asarray(targets, np.int64) * n_classes + np.asarray(predicted, np.int64)
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def evaluate(
    probabilities: np.ndarray, targets: np.ndarray, labels: Sequence[str], *, seed: int, level: float = 0.95
) -> ClassificationScores:
    r"""All scores of a classifier on held-out rows, each with ``n`` and an interval (see the module for the conventions).

    The predicted label is the most probable one, of equals the first. ``loss`` is the mean negative log likelihood of the
    true labels in nats, :math:`-\frac1N \sum_i \ln p_{i,y_i}`, from 0 upwards (:math:`\ln C` for a uniform guess), with
    probabilities clipped from below at 2.2e-16 as scikit-learn's ``log_loss`` does.

    Parameters
    ----------
    probabilities : numpy.ndarray
        Class probabilities, float64, shape ``(N, C)``, N at least 1, each row summing to 1.
    targets : numpy.ndarray
        True label numbers from 0 to C - 1, shape ``(N,)``.
    labels : sequence of str
        Names of the C classes in the order of the columns.
    seed : int
        Of the bootstrap.
    level : float
        Coverage of the intervals, above 0 and below 1.

    Returns
    -------
    ClassificationScores
        ``n`` of a score is the number of rows it stands on: all; for precision those predicted so, for recall those labelled
        so, for a class's F1 those that are either. A score with ``n = 0`` is 0 by convention and has no interval.

    Raises
    ------
    ModelError
        If a probability is not a finite number, as a diverged model gives.
    ValueError
        If the shapes do not fit or there are no rows.

    Examples
    --------
    Three of four right. Class "a": TP 1, FP 0, FN 1, so P = 1, R = 1/2, F1 = 2/3 over the 2 rows that are either; class "b":
    TP 2, FP 1, FN 0, so P = 2/3, R = 1, F1 = 4/5. Macro F1 is (2/3 + 4/5) / 2 = 11/15.

    >>> sure = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.1, 0.9]])
    >>> found = evaluate(sure, np.array([0, 0, 1, 1]), ["a", "b"], seed=0)
    >>> found.confusion
    [[1, 1], [0, 2]]
    >>> [(c.label, round(c.f1.value, 3), c.f1.n) for c in found.classes]
    [('a', 0.667, 2), ('b', 0.8, 3)]
    >>> round(found.scores[3].value, 4), round(11 / 15, 4)
    (0.7333, 0.7333)
    """
    targets = np.asarray(targets, np.int64)
    _check(probabilities, targets, labels)
    matrix = confusion_matrix(targets, probabilities.argmax(1), len(labels))
    rates, draws = _rates(matrix), _resample(matrix, seed)
    counts = np.stack([np.diagonal(matrix), matrix.sum(1), matrix.sum(0)], axis=1)
    classes = [class_scores(name, counts[c], draws.f1[:, c], level) for c, name in enumerate(labels)]
    scores = [proportion("accuracy", int(np.trace(matrix)), len(targets), level)]
    scores += [_average(name, rates, draws, classes, level) for name in rates.averages()]
    scores.append(_loss(probabilities, targets, level))
    return ClassificationScores(scores, classes, matrix.tolist())


def _check(probabilities: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> None:
    if not len(targets) or probabilities.shape != (len(targets), len(labels)):
        raise ValueError(f"probabilities must be ({len(targets)}, {len(labels)}) with rows, not {probabilities.shape}")
    bad = int((~np.isfinite(probabilities)).any(1).sum())
    if bad:
        raise ModelError("metrics.not_finite", rows=bad, n=len(targets))


def _loss(probabilities: np.ndarray, targets: np.ndarray, level: float) -> Score:
    true = probabilities[np.arange(len(targets)), targets]
    losses = -np.log(np.clip(true, np.finfo(np.float64).eps, 1.0))
    return Score(name="loss", value=float(losses.mean()), n=len(losses), interval=mean_t(losses, level))


def _average(name: str, rates: _Rates, draws: _Rates, classes: list[ClassScores], level: float) -> Score:
    value, n = float(rates.averages()[name]), int(rates.support.sum())
    interval = percentile(value, draws.averages()[name], level) or _mean_interval(name, classes, level)
    return Score(name=name, value=value, n=n, interval=interval)


def _mean_interval(name: str, classes: list[ClassScores], level: float) -> Interval:
    """The averaged ends of the classes' intervals; a class that nothing is known of counts as 0, as in the value."""
    kind, metric = name.split("_")
    parts: list[Score] = [getattr(scores, metric) for scores in classes]
    weights = [float(scores.support) if kind == "weighted" else 1.0 for scores in classes]
    low, high = (
        float(np.average([getattr(part.interval, end) if part.interval else 0.0 for part in parts], weights=weights))
        for end in ("low", "high")
    )
    return Interval(low=low, high=high, level=level, method="wilson")


def _rates(matrix: np.ndarray) -> _Rates:
    return _Rates.of(np.diagonal(matrix), matrix.sum(1), matrix.sum(0))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _resample(matrix: np.ndarray, seed: int) -> _Rates:
    """Rates of `RESAMPLES` resamples, shape ``(R, C)``.

    Rows that share a cell of the confusion matrix are exchangeable, so drawing rows with replacement within a true label is
    drawing that label's cell counts from a multinomial: cost R times the number of cells in use, whatever N is.
    """
    true, given = np.nonzero(matrix)
    at_once = max(1, CELLS_AT_ONCE // len(true))
    rng = np.random.default_rng(seed)
    parts = []
    for begin in range(0, RESAMPLES, at_once):
        counts = _draw(matrix[true, given], true, min(at_once, RESAMPLES - begin), rng)
        hit = true == given
        parts.append((_sum_by(counts[:, hit], true[hit], len(matrix)), _sum_by(counts, given, len(matrix))))
    hits, predicted = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Rates.of(hits, np.broadcast_to(matrix.sum(1), hits.shape), predicted)


def _draw(cells: np.ndarray, true: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Resampled `cells` (sorted by true label), shape ``(size, cells)``; each label keeps its number of rows."""
    borders = np.flatnonzero(np.diff(true)) + 1
    return np.hstack([rng.multinomial(own.sum(), own / own.sum(), size) for own in np.split(cells, borders)])


def _sum_by(counts: np.ndarray, groups: np.ndarray, n_groups: int) -> np.ndarray:
    """Sums of the columns of `counts` that belong to each group, shape ``(R, n_groups)``."""
    sums = np.zeros((len(counts), n_groups))
    order = np.argsort(groups, kind="stable")
    present, starts = np.unique(groups[order], return_index=True)
    if len(present):
        sums[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
    return sums
