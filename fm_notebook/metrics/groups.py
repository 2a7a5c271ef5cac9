r"""Scores of every group of rows, each with the rows it stands on and an interval.

With the true class y, the predicted class ŷ, the probability s of the positive class and the group g; "positive" is one named
label, every other label is negative:

==================  ===============================  ========================================
``selection_rate``  :math:`P(ŷ = + | g)`             all rows of the group
``tpr``, ``fnr``    :math:`P(ŷ = + | y = +, g)`      its positive rows; fnr is 1 - tpr
``fpr``             :math:`P(ŷ = + | y = -, g)`      its negative rows
``ppv``             :math:`P(y = + | ŷ = +, g)`      those predicted positive
``accuracy``        :math:`P(ŷ = y | g)`             all, over all labels
``macro_f1``        mean of the labels' F1           all; labels that the group has or was given
``auc``             see `fm_notebook.metrics.auc`    all; undefined where all are of one class
``ece``             of s, else of the top label      all, see `fm_notebook.metrics.calibration`
==================  ===============================  ========================================

Without a positive label there are ``accuracy``, ``macro_f1`` and ``ece``; see `fm_notebook.metrics.tpr_gaps` for rates by
class. Macro F1 is over the labels present in the group, as scikit-learn and fairlearn have it by default: were it over all, a
group without a rare label would score 0 for it.

Intervals of rates are Wilson's, or, below 30 rows, Clopper and Pearson's, which never cover too little; of AUC
DeLong's; of the ECE that of `fm_notebook.metrics.calibration`; of macro F1 the bootstrap of the group's rows. Rows are not drawn
within true labels: how many there are of each is chance too, and for rare labels fixed numbers covered 85 to 90 %, not 95.

A rate without a denominator is undefined and says why; fairlearn has 0 there. No group is dropped: rows whose group is missing
make a group, and groups under `min_n` rows are marked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fm_notebook.contracts.groups import Group, GroupScores, GroupTable, Reason, Undefined
from fm_notebook.contracts.results import Score
from fm_notebook.errors import DataError
from fm_notebook.metrics.auc import auc_score
from fm_notebook.metrics.calibration import ece, scored
from fm_notebook.metrics.grouping import Grouping
from fm_notebook.metrics.intervals import clopper_pearson, wilson
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.rates import Rates, class_scores, macro_f1
from fm_notebook.metrics.resampling import RESAMPLES

MIN_N = 30
"""Rows below which a group is shown but not compared."""
MIN_POSITIVES = 10
"""Rows of the label or decision that a rate is about, below which it is shown but not compared."""
EXACT_BELOW = 30
"""Rows below which the interval of a rate is Clopper and Pearson's."""


def by_group(
    predictions: Predictions,
    grouping: Grouping,
    *,
    min_n: int = MIN_N,
    min_positives: int = MIN_POSITIVES,
    level: float = 0.95,
    seed: int = 0,
) -> GroupTable:
    """Scores of each group, and over all rows.

    A million rows in fifty groups take about a second.

    Parameters
    ----------
    predictions : Predictions
    grouping : Grouping
        Of the same rows.
    min_n : int
        Rows below which a group is marked `small`.
    min_positives : int
        Positive (for TPR and FNR), negative (FPR) or predicted positive (PPV) rows below which a rate is marked as standing on
        few; for AUC both classes need as many.
    level : float
        Of the intervals.
    seed : int
        Of the bootstrap; every group has the same, so that a group's row does not depend on the others.

    Returns
    -------
    GroupTable

    Raises
    ------
    DataError
        If `grouping` has another number of rows.

    Examples
    --------
    Of "a", two rows are positive and one is found; of "b", both rows are negative and neither is taken for positive.

    >>> from fm_notebook.metrics.grouping import grouping
    >>> given = Predictions.of([1, 1, 0, 0], [1, 0, 0, 0], ["no", "yes"], positive="yes")
    >>> found = by_group(given, grouping("g", ["a", "a", "b", "b"]))
    >>> found["a"].get("tpr").value, found["b"].get("fpr").value, found["b"].get("tpr")
    (0.5, 0.0, None)
    >>> found["b"].undefined[0].name, found["b"].undefined[0].reason, found.n_small
    ('tpr', 'no_positives', 2)
    """
    check_rows(predictions, grouping)
    positive = None if predictions.positive is None else predictions.labels[predictions.positive]
    settled = {"min_n": min_n, "min_positives": min_positives, "level": level, "seed": seed}
    return GroupTable(
        columns=list(grouping.columns),
        labels=list(predictions.labels),
        positive=positive,
        overall=scores_of(predictions, (), **settled),
        groups=[
            scores_of(predictions.take(rows), group, **settled)
            for group, rows in zip(grouping.groups, grouping.rows(), strict=True)
        ],
        **settled,
    )


def check_rows(predictions: Predictions, grouping: Grouping) -> None:
    """Refuse a grouping of other rows."""
    if len(grouping) != len(predictions):
        name = "*".join(grouping.columns)
        raise DataError("groups.lengths", name=name, found=len(grouping), expected=len(predictions))


def scores_of(
    predictions: Predictions, group: Group, *, min_n: int, min_positives: int, level: float = 0.95, seed: int = 0
) -> GroupScores:
    """Scores of rows that are all of one `group`, see `by_group`."""
    parts = [*_rates(predictions, level), *_means(predictions, level, seed)]
    scores = [part for part in parts if isinstance(part, Score)]
    few = [score.name for score in scores if score.name in ("tpr", "fnr", "fpr", "ppv") and score.n < min_positives]
    positives = int(predictions.is_positive.sum())
    if min(positives, len(predictions) - positives) < min_positives and any(score.name == "auc" for score in scores):
        few.append("auc")
    return GroupScores(
        group=group,
        n=len(predictions),
        n_positive=None if predictions.positive is None else positives,
        small=len(predictions) < min_n,
        scores=scores,
        undefined=[part for part in parts if isinstance(part, Undefined)],
        few=few,
    )


def rate(name: str, hits: int, n: int, level: float = 0.95) -> Score:
    """``hits / n``, n at least 1, with Wilson's interval, or below `EXACT_BELOW` rows Clopper and Pearson's.

    Examples
    --------
    >>> rate("tpr", 1, 4).interval.method, rate("tpr", 10, 40).interval.method
    ('clopper-pearson', 'wilson')
    """
    interval = clopper_pearson if n < EXACT_BELOW else wilson
    return Score(name=name, value=hits / n, n=n, interval=interval(hits, n, level))


def present_macro_f1(truth: np.ndarray, predicted: np.ndarray, *, level: float = 0.95, seed: int = 0) -> Score:
    """Macro F1 over the labels that rows have or were given, with a bootstrap interval.

    Rows of the same true and predicted label are exchangeable, so a resample is a multinomial draw of cells: its cost does not
    grow with the rows.

    Parameters
    ----------
    truth, predicted : numpy.ndarray
        Class numbers, shape ``(N,)``, N at least 1.
    level : float
        Of the interval.
    seed : int
        Of the bootstrap.

    Examples
    --------
    F1 is 2/3 for either label.

    >>> round(present_macro_f1(np.array([0, 0, 5]), np.array([0, 5, 5])).value, 4)
    0.6667
    """
    present, both = np.unique([truth, predicted], return_inverse=True)
    true, given = both.reshape(2, -1)
    k = len(present)
    matrix = np.bincount(true * k + given, minlength=k * k).reshape(k, k)
    counts = np.stack([np.diagonal(matrix), matrix.sum(1), matrix.sum(0)], axis=1)
    draws = _f1_draws(matrix, counts, np.random.default_rng(seed))
    classes = [class_scores(str(c), counts[c], draws[:, c], level) for c in range(k)]
    return macro_f1(classes, draws, len(truth), level)


def _f1_draws(matrix: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """F1 of each label in resamples of the rows, shape ``(R, K)``."""
    true, given = np.nonzero(matrix)
    drawn = rng.multinomial(matrix.sum(), matrix[true, given] / matrix.sum(), RESAMPLES)
    of_true, of_given = np.eye(len(matrix))[true], np.eye(len(matrix))[given]
    sums = [drawn[:, true == given] @ of_true[true == given], drawn @ of_true, drawn @ of_given]
    return Rates.of(counts).of_resamples(np.stack(sums, axis=-1)).f1


def _rates(predictions: Predictions, level: float) -> Iterator[Score | Undefined]:
    if predictions.positive is None:
        return
    true, given = predictions.is_positive, predictions.selected
    yield rate("selection_rate", int(given.sum()), len(given), level)
    yield _of("tpr", given[true], "no_positives", level)
    yield _of("fpr", given[~true], "no_negatives", level)
    yield _of("fnr", ~given[true], "no_positives", level)
    yield _of("ppv", true[given], "none_selected", level)


def _of(name: str, hits: np.ndarray, reason: Reason, level: float) -> Score | Undefined:
    return rate(name, int(hits.sum()), len(hits), level) if len(hits) else Undefined(name=name, reason=reason)


def _means(predictions: Predictions, level: float, seed: int) -> Iterator[Score | Undefined]:
    n = len(predictions)
    yield rate("accuracy", int(predictions.right.sum()), n, level)
    yield present_macro_f1(predictions.truth, predictions.predicted, level=level, seed=seed)
    if predictions.positive is not None:
        yield _auc(predictions, level)
    if predictions.probabilities is None:
        yield Undefined(name="ece", reason="no_probabilities", n=n)
        return
    yield ece(*scored(predictions), level=level, seed=seed)


def _auc(predictions: Predictions, level: float) -> Score | Undefined:
    if predictions.scores is None:
        return Undefined(name="auc", reason="no_probabilities", n=len(predictions))
    found = auc_score("auc", predictions.scores, predictions.is_positive, level=level)
    return found or Undefined(name="auc", reason="one_class", n=len(predictions))
