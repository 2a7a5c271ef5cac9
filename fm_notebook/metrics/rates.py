r"""Precision, recall and F1 from counts, with their intervals, for whatever is found: entities, labels.

With the numbers found and right (hits), there (support) and given (predicted):

.. math:: P = \frac{hits}{predicted}, \quad R = \frac{hits}{support}, \quad F_1 = \frac{2 hits}{support + predicted}

each 0 by convention where its denominator is 0, as scikit-learn has it under ``zero_division=0``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fm_notebook.contracts.results import ClassScores, Interval, Score
from fm_notebook.metrics.intervals import percentile, wilson


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of one or many sets of counts; all arrays have the same shape ``(..., C)``."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray) -> Rates:
        """From counts in the order hits, support, predicted, shape ``(..., C, 3)``.

        Where a denominator is 0, the rate is 0.

        Examples
        --------
        >>> Rates.of(np.array([[1, 2, 1], [0, 0, 0]])).recall.tolist()
        [0.5, 0.0]
        """
        zero = np.zeros(np.shape(counts)[:-1])
        return cls._of(counts, cls(zero, zero, zero))

    def of_resamples(self, draws: np.ndarray) -> Rates:
        """Those of resamples of the counts that these rates are from, shape ``(R, ..., C, 3)``.

        A resample in which nothing of a rare class is left says nothing about it: where a denominator is 0, the rate is that
        of the data. Were it 0, the lower end for a class of a few rows would be 0 whatever was seen.
        """
        return Rates._of(draws, self)

    @classmethod
    def _of(cls, counts: np.ndarray, otherwise: Rates) -> Rates:
        hits, support, predicted = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
        return cls(
            _ratio(hits, predicted, otherwise.precision),
            _ratio(hits, support, otherwise.recall),
            _ratio(2 * hits, support + predicted, otherwise.f1),
        )


def proportion(name: str, hits: int, n: int, level: float = 0.95) -> Score:
    """``hits / n`` with Wilson's interval; for ``n = 0`` it is 0 and has none."""
    return Score(name=name, value=hits / n if n else 0.0, n=n, interval=wilson(hits, n, level))


def f1_score(name: str, counts: Sequence[int], draws: np.ndarray, level: float = 0.95) -> Score:
    """F1 of `counts` (hits, support, predicted) with the percentile interval of its resamples `draws`, shape ``(R,)``.

    Where no resample differs, the interval is that of Wilson for the share J of hits among all that is there or given,
    carried over by F = 2J / (1 + J), which only grows with J. ``n`` is the number that is there or given.

    Examples
    --------
    Found and right 1, there 2, given 1: P = 1, R = 1/2, F1 = 2/3, over 2 that are either.

    >>> found = f1_score("f1", [1, 2, 1], np.array([0.0, 1.0]))
    >>> round(found.value, 4), found.n
    (0.6667, 2)
    """
    hits, support, predicted = (int(count) for count in counts)
    either = support + predicted - hits
    value = 2 * hits / (support + predicted) if either else 0.0
    interval = percentile(value, draws, level) if either else None
    return Score(name=name, value=value, n=either, interval=interval or _f1_from_wilson(hits, either, level))


def class_scores(label: str, counts: Sequence[int], f1_draws: np.ndarray, level: float = 0.95) -> ClassScores:
    """Precision, recall (Wilson) and F1 (`f1_score`) of one class from `counts` (hits, support, predicted)."""
    hits, support, predicted = (int(count) for count in counts)
    return ClassScores(
        label=label,
        precision=proportion("precision", hits, predicted, level),
        recall=proportion("recall", hits, support, level),
        f1=f1_score("f1", counts, f1_draws, level),
        support=support,
    )


def macro_f1(classes: Sequence[ClassScores], draws: np.ndarray, n: int, level: float = 0.95) -> Score:
    """The plain mean of the F1 of `classes`, with the percentile interval of the F1 of resamples, shape ``(R, C)``.

    Where no resample differs, the interval is the mean of the ends of the classes' own, which errs on the wide side; a class
    of which nothing is known counts as 0, as in the value.
    """
    if not classes or not n:
        return Score(name="macro_f1", value=0.0, n=n)
    value = float(np.mean([one.f1.value for one in classes]))
    interval = percentile(value, draws.mean(-1), level)
    if interval is None:
        ends = np.array([(i.low, i.high) if (i := one.f1.interval) else (0.0, 0.0) for one in classes])
        low, high = ends.mean(0).tolist()
        interval = Interval(low=low, high=high, level=level, method="wilson")
    return Score(name="macro_f1", value=value, n=n, interval=interval)


def _ratio(part: np.ndarray, whole: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.broadcast_to(otherwise, whole.shape).copy(), where=whole > 0)


def _f1_from_wilson(hits: int, either: int, level: float) -> Interval | None:
    share = wilson(hits, either, level)
    if share is None:
        return None
    low, high = (2 * end / (1 + end) for end in (share.low, share.high))
    return Interval(low=low, high=high, level=level, method="wilson")
