"""Rows whose label is likely wrong, told from the model's own probabilities: confident learning.

It holds for probabilities of rows that the model was not trained on; of rows it has learnt by heart it finds few.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fm_notebook.metrics.predictions import Predictions

_SLACK = 1e-6
"""A probability that is its class's threshold but for rounding passes it."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelErrors:
    """What confident learning says of N rows with C classes.

    Attributes
    ----------
    thresholds : numpy.ndarray
        Mean probability of each class over the rows labelled so, shape ``(C,)``; infinite for a class without rows.
    joint : numpy.ndarray
        The confident joint: rows by label (first axis) and by the class that they confidently belong to, shape ``(C, C)``.
    margin : numpy.ndarray
        Normalised margin of each row, from -1 (another class for certain) to 1 (its label for certain), shape ``(N,)``.
    suspects : numpy.ndarray
        Row numbers of the suspects, least margin first.
    """

    thresholds: np.ndarray
    joint: np.ndarray
    margin: np.ndarray
    suspects: np.ndarray


def label_errors(given: Predictions) -> LabelErrors:
    r"""Rows whose label is likely wrong.

    With :math:`X_i` the rows labelled i, each class has as its threshold the mean self-confidence

    .. math:: t_j = \frac{1}{|X_j|} \sum_{x \in X_j} p(j; x)

    A row belongs *confidently* to the likeliest of the classes whose threshold it reaches, :math:`p(j; x) \ge t_j`, and to none
    if it reaches no threshold. Rows that confidently belong to another class than their label i are off the diagonal of the
    confident joint. Those of them whose normalised margin :math:`p(i; x) - \max_{j \ne i} p(j; x)` is negative are suspects, and
    are ranked by it.

    Parameters
    ----------
    given : Predictions
        With probabilities; those of rows that the model was not trained on.

    Raises
    ------
    ValueError
        If there are no probabilities.

    References
    ----------
    Northcutt, Jiang and Chuang (2021), *Confident learning: estimating uncertainty in dataset labels*, JAIR 70, eqs. 1 and 2 and
    section 3.2.

    Examples
    --------
    Thresholds are (.9 + .8 + .1) / 3 = .6 and (.8 + .7 + .3) / 3 = .6. The third row, labelled 0, reaches .9 for class 1 with a
    margin of .1 - .9; the last one, labelled 1, .7 for class 0 with .3 - .7.

    >>> p = np.array([0.9, 0.8, 0.1, 0.2, 0.3, 0.7])
    >>> truth = np.array([0, 0, 0, 1, 1, 1])
    >>> both = np.stack([p, 1 - p], axis=1)
    >>> found = label_errors(Predictions.of(truth, both.argmax(1), ["no", "yes"], probabilities=both))
    >>> found.thresholds.round(3).tolist(), found.joint.tolist()
    ([0.6, 0.6], [[2, 1], [1, 2]])
    >>> found.suspects.tolist(), found.margin[found.suspects].round(3).tolist()
    ([2, 5], [-0.8, -0.4])
    """
    if given.probabilities is None:
        raise ValueError("confident learning needs probabilities")
    chances, truth, n_classes = given.probabilities, given.truth, len(given.labels)
    own = chances[np.arange(len(truth)), truth]
    thresholds = _thresholds(own, truth, n_classes)
    reached = np.where(chances >= thresholds - _SLACK, chances, -1.0)
    belongs, confident = reached.argmax(1), reached.max(1) >= 0
    joint = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(joint, (truth[confident], belongs[confident]), 1)
    margin = own - _best_other(chances, truth)
    suspects = np.flatnonzero(confident & (belongs != truth) & (margin < 0))
    return LabelErrors(thresholds, joint, margin, suspects[np.argsort(margin[suspects], kind="stable")])


def _thresholds(own: np.ndarray, truth: np.ndarray, n_classes: int) -> np.ndarray:
    counts = np.bincount(truth, minlength=n_classes)
    sums = np.bincount(truth, own, minlength=n_classes)
    return np.divide(sums, counts, out=np.full(n_classes, np.inf), where=counts > 0)


def _best_other(chances: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Probability of the likeliest class that is not the label, shape ``(N,)``; 0 where there is no other."""
    others = chances.copy()
    others[np.arange(len(truth)), truth] = 0.0
    return others.max(1)
