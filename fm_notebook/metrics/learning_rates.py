"""What rules of thumb read from a learning-rate range test.

The loss of each step is a mini-batch's, so it is smoothed first: an exponential moving average with decay `DECAY`, divided by the
weight it has seen, so that the first values are not drawn to 0. The rules are fastai's, which smooths with 0.98: its average lags
behind by half of a sweep of 100 steps, which moves every suggestion up.

References
----------
Smith (2017), *Cyclical learning rates for training neural networks*, WACV, section 3.3, for the test.
Howard and Gugger (2020), *Fastai: a layered API for deep learning*, Information 11, for the rules; ``valley`` is by ESRI.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

DECAY = 0.9
DIVERGED = 4.0
"""The sweep ends when the smoothed loss is so many times its lowest."""
LEAD, TAIL = 0.1, 5
"""Left out by the rules, as in fastai: this share of the steps at the start, where the average is young, and the last steps."""
FEWEST = 5


def smooth(losses: Sequence[float], decay: float = DECAY) -> list[float]:
    """The bias-corrected exponential moving average after each loss.

    Examples
    --------
    With a decay of 1/2 the second value is (1/4 · 1 + 1/2 · 4) / (3/4) = 3.

    >>> smooth([1.0, 4.0], 0.5)
    [1.0, 3.0]
    """
    mean, found = 0.0, []
    for i, loss in enumerate(losses, 1):
        mean = decay * mean + (1 - decay) * loss
        found.append(mean / (1 - decay**i))
    return found


def has_diverged(smoothed: Sequence[float]) -> bool:
    """Whether the newest value is no number, or too far above the lowest."""
    return bool(smoothed) and not smoothed[-1] <= DIVERGED * min(smoothed)


def suggestions(learning_rates: Sequence[float], smoothed: Sequence[float]) -> dict[str, float]:
    """Learning rates by rule, from a curve of which the young start and the last steps are left out.

    Parameters
    ----------
    learning_rates, smoothed : sequence of N float
        Growing by the same factor each step; and `smooth` of the losses.

    Returns
    -------
    dict
        ``steepest``, ``valley`` and ``minimum_tenth``; empty if fewer than `FEWEST` points are left or the loss never falls.
    """
    start = int(len(smoothed) * LEAD)
    rates, losses = (np.asarray(each[start : len(each) - TAIL], np.float64) for each in (learning_rates, smoothed))
    finite = int(np.argmin(np.isfinite(losses))) if not np.isfinite(losses).all() else len(losses)
    rates, losses = rates[:finite], losses[:finite]
    if len(losses) < FEWEST or losses.min() >= losses[0]:
        return {}
    return {"steepest": steepest(rates, losses), "valley": valley(rates, losses), "minimum_tenth": minimum_tenth(rates, losses)}


def steepest(learning_rates: np.ndarray, losses: np.ndarray) -> float:
    """Where the loss falls fastest by the logarithm of the learning rate.

    Examples
    --------
    >>> steepest(np.array([1e-3, 1e-2, 1e-1, 1.0]), np.array([3.0, 2.9, 1.0, 0.9]))
    0.01
    """
    return float(learning_rates[int(np.argmin(np.diff(losses) / np.diff(np.log(learning_rates))))])


def valley(learning_rates: np.ndarray, losses: np.ndarray) -> float:
    """In the longest falling subsequence of the losses, counted back from its end: halfway through its second third.

    Examples
    --------
    Nine values, each lower than the last: thirds are 8/3 steps long, and 2 + 1 steps from the start comes the fourth value.

    >>> valley(np.arange(1.0, 10.0), np.arange(9.0, 0.0, -1.0))
    4.0
    """
    longest = np.ones(len(losses), np.int64)
    for i in range(1, len(losses)):
        longest[i] = 1 + max(longest[:i][losses[:i] > losses[i]], default=0)
    end = int(longest.argmax())
    start = max(0, end - int(longest[end]))
    third = (end - start) / 3
    return float(learning_rates[start + int(third) + int(third / 2)])


def minimum_tenth(learning_rates: np.ndarray, losses: np.ndarray) -> float:
    """A tenth of the learning rate where the loss is lowest.

    Examples
    --------
    >>> minimum_tenth(np.array([1e-3, 1e-2, 1e-1]), np.array([2.0, 1.0, 3.0]))
    0.001
    """
    return float(learning_rates[int(np.argmin(losses))]) / 10


def sweep(lowest: float, highest: float, steps: int) -> list[float]:
    """`steps` learning rates from `lowest` to `highest`, each the same factor above the one before.

    Examples
    --------
    >>> [round(rate, 6) for rate in sweep(1e-3, 1e-1, 3)]
    [0.001, 0.01, 0.1]
    """
    factor = math.log(highest / lowest) / max(1, steps - 1)
    return [lowest * math.exp(factor * step) for step in range(steps)]
