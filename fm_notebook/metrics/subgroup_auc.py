r"""Jigsaw's AUCs: whether a score ranks rows alike that mention a group and that do not.

A row may mention several groups, or none. With :math:`D_g^\pm` the positive and negative rows that mention g and
:math:`D_{\sim g}^\pm` those that do not,

- ``subgroup_auc``: :math:`AUC(D_g^- \cup D_g^+)`, ranks within the group;
- ``bpsn_auc``: background positive, subgroup negative, :math:`AUC(D_g^- \cup D_{\sim g}^+)`; low where innocent rows that
  mention g score as high as offending ones that do not: false positives at any threshold;
- ``bnsp_auc``: background negative, subgroup positive, :math:`AUC(D_{\sim g}^- \cup D_g^+)`; low where offending rows that
  mention g are missed;
- ``positive_aeg``, ``negative_aeg``: average equality gaps :math:`\frac12 - U / (n_{\sim g} n_g)` over positive, and over
  negative, rows, U counting the pairs in which the row that does *not* mention g scores higher; from -1/2 to 1/2, 0 where the
  scores are spread alike, above 0 where rows that mention g score higher.

Intervals are those of the area under the curve (`fm_notebook.metrics.auc`).

References
----------
Borkan, Dixon, Sorensen, Thain and Vasserman (2019), *Nuanced metrics for measuring unintended bias with real data for text
classification*, WWW companion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fm_notebook.contracts.groups import GroupScores, GroupTable, Undefined
from fm_notebook.contracts.results import Score
from fm_notebook.errors import DataError
from fm_notebook.metrics.auc import auc_of_counts
from fm_notebook.metrics.groups import MIN_N, MIN_POSITIVES
from fm_notebook.metrics.predictions import Predictions

SCORES = ("subgroup_auc", "bpsn_auc", "bnsp_auc", "positive_aeg", "negative_aeg")
POWER = -5.0
"""Of Kaggle's generalised mean: the nearer to minus infinity, the nearer to the worst group."""


def subgroup_aucs(
    predictions: Predictions,
    membership: np.ndarray,
    names: Sequence[str],
    *,
    column: str = "mentions",
    min_n: int = MIN_N,
    min_positives: int = MIN_POSITIVES,
    level: float = 0.95,
) -> GroupTable:
    """The five scores of every group, see the module.

    Parameters
    ----------
    predictions : Predictions
        With probabilities and a positive label.
    membership : numpy.ndarray
        Whether the row mentions the group, bool, shape ``(N, G)``.
    names : sequence of str
        Of the G groups.
    column : str
        What the groups are groups of.
    min_n, min_positives : int
        Rows that mention a group, and rows of each class in a score, below which it is shown but not compared.
    level : float
        Of the intervals.

    Raises
    ------
    DataError
        If there are no probabilities or no positive label, or `membership` has another number of rows or groups.

    Examples
    --------
    Rows that mention "g" score .8 (positive) and .6 (negative), the others .5 and .1: within g the one pair is won; the
    background's positive row loses to g's negative one; g's positive row beats the background's negative one.

    >>> s = np.array([0.8, 0.6, 0.5, 0.1])
    >>> given = Predictions.of([1, 0, 1, 0], [1, 1, 1, 0], ["ok", "toxic"], probabilities=np.c_[1 - s, s], positive="toxic")
    >>> found = subgroup_aucs(given, np.array([[True], [True], [False], [False]]), ["g"])
    >>> {score.name: score.value for score in found["g"].scores}
    {'subgroup_auc': 1.0, 'bpsn_auc': 0.0, 'bnsp_auc': 1.0, 'positive_aeg': 0.5, 'negative_aeg': 0.5}
    """
    scores, positive = predictions.scores, predictions.is_positive
    if scores is None or predictions.positive is None:
        raise DataError("groups.no_scores")
    membership = np.asarray(membership, bool)
    if len(membership) != len(predictions):
        raise DataError("groups.lengths", name=column, found=len(membership), expected=len(predictions))
    if membership.shape[1:] != (len(names),):
        raise ValueError(f"membership must have {len(names)} columns, not the shape {membership.shape}")
    # Rows are ranked once: sorting anew for each score and group took 17 s for a million rows in 20 groups.
    distinct, at = np.unique(scores, return_inverse=True)
    whole = _counts(at, positive, len(distinct))
    overall = auc_of_counts("auc", whole[1], whole[0], level=level)
    return GroupTable(
        columns=[column],
        labels=list(predictions.labels),
        positive=predictions.labels[predictions.positive],
        overall=GroupScores(
            group=(),
            n=len(predictions),
            n_positive=int(positive.sum()),
            scores=[overall] if overall else [],
            undefined=[] if overall else [Undefined(name="auc", reason="one_class", n=len(predictions))],
        ),
        groups=[
            _of_group(name, _Rows.of(at, positive, membership[:, number], whole), min_n, min_positives, level)
            for number, name in enumerate(names)
        ],
        min_n=min_n,
        min_positives=min_positives,
        level=level,
    )


def final_metric(table: GroupTable) -> float | None:
    r"""Kaggle's summary of Jigsaw's AUCs, :math:`\frac14 AUC + \frac14 \sum_{m} (\frac1G \sum_g m_g^p)^{1/p}` with p = -5.

    Over the groups that are not small and stand on enough rows; None where none does, or an AUC is 0 or undefined over all.

    References
    ----------
    Jigsaw (2019), *Unintended Bias in Toxicity Classification*, kaggle.com.

    Examples
    --------
    With a single group the means are its scores: (.9 + .8 + .7 + .6) / 4.

    >>> one = lambda name, value: Score(name=name, value=value, n=99)
    >>> scores = [one("subgroup_auc", 0.8), one("bpsn_auc", 0.7), one("bnsp_auc", 0.6)]
    >>> found = GroupTable(
    ...     columns=["mentions"], labels=["ok", "toxic"], min_n=30, min_positives=10,
    ...     overall=GroupScores(group=(), n=99, scores=[one("auc", 0.9)]),
    ...     groups=[GroupScores(group=("g",), n=99, scores=scores)],
    ... )
    >>> round(final_metric(found), 4)
    0.75
    """
    overall = table.overall.get("auc")
    found = [[row.get(name) for row in table.groups if row.compares(name)] for name in SCORES[:3]]
    values = [np.array([score.value for score in scores if score]) for scores in found]
    if overall is None or not all(len(of) and of.all() for of in values):
        return None
    return (overall.value + sum(float((of**POWER).mean() ** (1 / POWER)) for of in values)) / 4


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """How many negative (first) and positive rows have each of K distinct scores: rows that mention the group, and the rest."""

    own: np.ndarray
    rest: np.ndarray

    @classmethod
    def of(cls, at: np.ndarray, positive: np.ndarray, member: np.ndarray, whole: np.ndarray) -> _Rows:
        own = _counts(at[member], positive[member], whole.shape[1])
        return cls(own, whole - own)


def _counts(at: np.ndarray, positive: np.ndarray, n_distinct: int) -> np.ndarray:
    """Negative and positive rows at each distinct score, shape ``(2, K)``."""
    return np.bincount(positive * np.int64(n_distinct) + at, minlength=2 * n_distinct).reshape(2, n_distinct)


def _of_group(name: str, rows: _Rows, min_n: int, min_positives: int, level: float) -> GroupScores:
    parts, n = list(_parts(rows, level)), int(rows.own.sum())
    return GroupScores(
        group=(name,),
        n=n,
        n_positive=int(rows.own[1].sum()),
        small=n < min_n,
        scores=[score for _, score in parts if isinstance(score, Score)],
        undefined=[score for _, score in parts if isinstance(score, Undefined)],
        few=[score.name for least, score in parts if isinstance(score, Score) and least < min_positives],
    )


def _parts(rows: _Rows, level: float) -> Iterator[tuple[int, Score | Undefined]]:
    """Each score, and the rows of the rarer of the two kinds that it ranks."""
    ranked = [(rows.own[0], rows.own[1]), (rows.own[0], rows.rest[1]), (rows.rest[0], rows.own[1])]
    ranked += [(rows.rest[1], rows.own[1]), (rows.rest[0], rows.own[0])]
    for name, (below, above) in zip(SCORES, ranked, strict=True):
        found = _area(name, below, above, level)
        if name.endswith("_aeg") and isinstance(found, Score):
            found = _less_half(found)
        yield int(min(below.sum(), above.sum())), found


def _area(name: str, below: np.ndarray, above: np.ndarray, level: float) -> Score | Undefined:
    """How often a score of `above` is the higher one."""
    used = (below > 0) | (above > 0)
    below, above = below[used], above[used]
    found = auc_of_counts(name, above, below, level=level)
    return found or Undefined(name=name, reason="one_class", n=int(below.sum() + above.sum()))


def _less_half(score: Score) -> Score:
    """With U counting the pairs that the rest wins, ½ - U / n n is how often the group wins, less ½."""
    ends = score.interval and score.interval.model_copy(
        update={"low": score.interval.low - 0.5, "high": score.interval.high - 0.5}
    )
    return score.model_copy(update={"value": score.value - 0.5, "interval": ends})
