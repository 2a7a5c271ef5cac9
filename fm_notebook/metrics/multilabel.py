r"""How well sets of labels were predicted: any number out of C for each row.

A label is given where its probability is at least the threshold. Conventions are those of scikit-learn for indicator matrices
(``zero_division=0``): micro averages count all labels of all rows together, ``macro_f1`` is the plain mean over all C labels,
``subset_accuracy`` is the share of rows whose whole set is right, ``hamming_loss`` the share of the N · C decisions that are
wrong.

What the intervals stand on: the labels of a row stand and fall together, so that all but subset accuracy and a label's
precision and recall (Wilson) and loss (Student's t) have the percentile bootstrap of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fm_notebook.contracts.results import ClassScores, Score
from fm_notebook.errors import ModelError
from fm_notebook.metrics.intervals import mean_t
from fm_notebook.metrics.rates import Rates, class_scores, f1_score, macro_f1, proportion
from fm_notebook.metrics.resampling import RESAMPLES, clustered_share, resampled_sums


@dataclass(frozen=True, slots=True)
class MultilabelScores:
    """What `evaluate` gives: the fields of the same names of `fm_notebook.contracts.results.Evaluation`."""

    scores: list[Score]
    classes: list[ClassScores]


def evaluate(
    probabilities: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str],
    *,
    seed: int,
    level: float = 0.95,
    threshold: float = 0.5,
) -> MultilabelScores:
    r"""All scores of a multi-label classifier on held-out rows, each with ``n`` and an interval (see the module).

    ``loss`` is the binary cross entropy in nats, :math:`-\frac1{NC} \sum_{ic} \ln p_{ic}` with :math:`p_{ic}` the probability
    given to what is true of label c in row i, clipped from below at 2.2e-16; ln 2 for a guess of one half throughout.

    Parameters
    ----------
    probabilities : numpy.ndarray
        Probability of each label, float, shape ``(N, C)``, N and C at least 1.
    targets : numpy.ndarray
        Whether the row has the label, bool or 0 and 1, shape ``(N, C)``.
    labels : sequence of str
        Names of the C labels in the order of the columns.
    seed : int
        Of the bootstrap.
    level : float
        Coverage of the intervals, above 0 and below 1.
    threshold : float
        Probability from which on a label is given.

    Returns
    -------
    MultilabelScores
        ``n`` of a score is its denominator: rows for ``subset_accuracy`` and ``loss``, N · C for ``hamming_loss``, labels that
        are there or given for F1. A score with ``n = 0`` is 0 by convention and has no interval.

    Raises
    ------
    ModelError
        If a probability is not a finite number, as a diverged model gives.
    ValueError
        If the shapes do not fit or there are no rows or labels.

    Examples
    --------
    Row 1 is right; row 2 has both labels and is given "b" alone: 3 of 4 decisions are right. Label "a": TP 0, FN 1, F1 = 0;
    label "b": TP 1, F1 = 1; their mean is 1/2; together TP 1, FN 1, F1 = 2/3.

    >>> found = evaluate(np.array([[0.1, 0.2], [0.3, 0.9]]), np.array([[0, 0], [1, 1]]), ["a", "b"], seed=0)
    >>> {score.name: round(score.value, 3) for score in found.scores if score.name != "loss"}
    {'micro_f1': 0.667, 'macro_f1': 0.5, 'subset_accuracy': 0.5, 'hamming_loss': 0.25}
    """
    targets = np.asarray(targets, bool)
    _check(probabilities, targets, labels)
    given = probabilities >= threshold
    counts = np.stack([targets & given, targets, given], axis=-1)
    scores, classes = _f1_scores(counts, labels, seed, level)
    wrong = (targets != given).sum(1)
    sizes = np.full(len(targets), len(labels))
    scores += [
        proportion("subset_accuracy", int((wrong == 0).sum()), len(wrong), level),
        clustered_share("hamming_loss", wrong, sizes, seed=seed, level=level),
        _loss(probabilities, targets, level),
    ]
    return MultilabelScores(scores, classes)


def _f1_scores(counts: np.ndarray, labels: Sequence[str], seed: int, level: float) -> tuple[list[Score], list[ClassScores]]:
    """From hits, support and predictions of each row, bool, shape ``(N, C, 3)``."""
    totals = counts.sum(0)
    draws = resampled_sums(counts.reshape(len(counts), -1), seed=seed).reshape(RESAMPLES, *totals.shape)
    by_label = Rates.of(totals).of_resamples(draws).f1
    together = Rates.of(totals.sum(0)).of_resamples(draws.sum(1)).f1
    classes = [class_scores(name, totals[c], by_label[:, c], level) for c, name in enumerate(labels)]
    micro = f1_score("micro_f1", totals.sum(0), together, level)
    return [micro, macro_f1(classes, by_label, micro.n, level)], classes


def _loss(probabilities: np.ndarray, targets: np.ndarray, level: float) -> Score:
    true = np.where(targets, probabilities, 1 - np.asarray(probabilities, np.float64))
    rows = -np.log(np.clip(true, np.finfo(np.float64).eps, 1.0)).mean(1)
    return Score(name="loss", value=float(rows.mean()), n=len(rows), interval=mean_t(rows, level))


def _check(probabilities: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> None:
    if not targets.size or not probabilities.shape == targets.shape == (len(targets), len(labels)):
        raise ValueError(f"probabilities must be ({len(targets)}, {len(labels)}) with rows and labels, not {probabilities.shape}")
    bad = int((~np.isfinite(probabilities)).any(1).sum())
    if bad:
        raise ModelError("metrics.not_finite", rows=bad, n=len(targets))
