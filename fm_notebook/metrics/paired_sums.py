r"""What changed from one model to another in scores that are functions of sums over rows, whatever the task.

Rows are drawn once for both models (percentile bootstrap), or change places between them with a chance of one half (approximate
randomisation). Either is a matrix product of drawn weights with what each row adds. Beyond `fm_notebook.metrics.row_sums.BLOCKS`
rows, random blocks of rows are drawn and exchanged.

References
----------
Efron and Tibshirani (1993), *An Introduction to the Bootstrap*, chapter 8.
Noreen (1989), *Computer-Intensive Methods for Testing Hypotheses*.
Yeh (2000), *More accurate tests for the statistical significance of result differences*, COLING.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fm_notebook.contracts.pairs import Change
from fm_notebook.contracts.scores import Interval
from fm_notebook.metrics.intervals import percentile
from fm_notebook.metrics.paired_tests import RANDOMIZED
from fm_notebook.metrics.pairs import difference_interval
from fm_notebook.metrics.permutations import p_value
from fm_notebook.metrics.resampling import resampled_sums
from fm_notebook.metrics.row_sums import blocks_of

Scores = Callable[[np.ndarray], dict[str, np.ndarray]]
"""From sums, shape ``(..., K)``, to scores by name, shape ``(...)``; NaN where one is undefined."""


def sum_changes(
    first: np.ndarray, second: np.ndarray, scores: Scores, *, unbounded: frozenset[str] = frozenset(), level: float = 0.95,
    seed: int = 0,
) -> list[Change]:  # fmt: skip
    """The change of each score that is defined for both models, second less first.

    Parameters
    ----------
    first, second : numpy.ndarray
        What each row adds to each sum with either model, shape ``(N, K)``.
    scores : Scores
    unbounded : frozenset of str
        Scores that are no shares. Where no resample differs, their interval is the value itself, as Student's of equal values is;
        that of shares is what Wilson allows a share of which none of N was seen.
    level : float
        Of the intervals.
    seed : int
        Of resampling and randomisation.

    Examples
    --------
    Of three rows the first model has one right, the second all: p is (1 + 1) / 4 in the limit.

    >>> found = sum_changes(np.array([[1.0], [0], [0]]), np.ones((3, 1)), lambda sums: {"share": sums[..., 0] / 3})
    >>> round(found[0].difference, 3), round(found[0].p_value, 1)
    (0.667, 0.5)
    """
    n, blocks = len(first), blocks_of(len(first), seed=seed)
    units = [_by_block(each, blocks) for each in (first, second)]
    before, after = (scores(each.sum(0)) for each in units)
    drawn = np.split(resampled_sums(np.concatenate(units, axis=1), seed=seed), 2, axis=1)
    resampled = [scores(each) for each in drawn]
    exchanged = [scores(each) for each in _exchanged(*units, seed=seed)]
    found = []
    for name in [name for name in before if np.isfinite(before[name]) and np.isfinite(after[name])]:
        value = float(after[name] - before[name])
        spread = resampled[1][name] - resampled[0][name]
        chance = exchanged[1][name] - exchanged[0][name]
        found.append(
            Change(
                name=name,
                first=float(before[name]),
                second=float(after[name]),
                difference=value,
                n=n,
                interval=_interval(value, spread, n, level, unbounded=name in unbounded),
                p_value=p_value(abs(value), np.abs(chance[np.isfinite(chance)])),
                test="randomization",
            )
        )
    return found


def _by_block(units: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    if len(units) == int(blocks.max()) + 1:
        return np.asarray(units, np.float64)
    sums = np.zeros((int(blocks.max()) + 1, units.shape[1]))
    np.add.at(sums, blocks, units)
    return sums


def _exchanged(first: np.ndarray, second: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of either model when rows change places between them by chance, shape ``(R, K)``."""
    swaps = np.random.default_rng(seed).random((RANDOMIZED, len(first))) < 0.5
    moved = swaps.astype(np.float64) @ (second - first)
    return first.sum(0) + moved, second.sum(0) - moved


def _interval(value: float, drawn: np.ndarray, n: int, level: float, *, unbounded: bool) -> Interval | None:
    if not unbounded:
        return difference_interval(value, drawn, n, level)
    drawn = drawn[np.isfinite(drawn)]
    found = percentile(value, drawn, level) if len(drawn) else None
    return found or Interval(low=value, high=value, level=level, method="bootstrap")
