"""A measured value: never without ``n``, and with its interval where one is defined."""

from __future__ import annotations

from fm_notebook.contracts.values import Frozen


class Interval(Frozen):
    """A confidence interval ``[low, high]`` at `level` (0 to 1), by `method` (``wilson``, ``bootstrap``)."""

    low: float
    high: float
    level: float = 0.95
    method: str


class Score(Frozen):
    """A metric's `value` over `n` items with its interval, if one is defined."""

    name: str
    value: float
    n: int
    interval: Interval | None = None


class ClassScores(Frozen):
    """Precision, recall and F1 of one class; `support` is the number of rows that have it."""

    label: str
    precision: Score
    recall: Score
    f1: Score
    support: int
