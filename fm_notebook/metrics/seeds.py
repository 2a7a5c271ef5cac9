r"""Two ways of training on the same rows, each with several seeds: whether the difference would outlast other seeds.

The hierarchical bootstrap draws seeds, then rows, the same rows for every model. With S seeds a drawn mean varies by
:math:`\sqrt{(S - 1)/S}` of what it should, which for three seeds would make intervals a fifth too narrow: deviations of drawn
means from the mean over all seeds are stretched by :math:`\sqrt{S / (S - 1)}` (Rao and Wu 1988). Still, three seeds tell little
of the spread of seeds; five or more are better.

References
----------
Davison and Hinkley (1997), *Bootstrap Methods and their Application*, section 3.8.
Rao and Wu (1988), *Resampling inference with complex survey data*, JASA 83.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fm_notebook.contracts.groups import Group
from fm_notebook.contracts.pairs import Change, GroupChanges, PairedComparison
from fm_notebook.metrics.grouping import Grouping
from fm_notebook.metrics.groups import MIN_N, check_rows
from fm_notebook.metrics.pairs import check_same_rows, difference_interval, rows_of
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.row_sums import RowSums, blocks_of, resampled

LEAST_SEEDS = 3
"""Seeds of each side from which on they are drawn too; of fewer, the interval is that of these very models."""


def compare_seeds(
    first: Sequence[Predictions],
    second: Sequence[Predictions],
    grouping: Grouping | None = None,
    *,
    min_n: int = MIN_N,
    level: float = 0.95,
    seed: int = 0,
) -> PairedComparison:
    """Mean scores of two sets of models on the same rows, second less first, with intervals over seeds and rows.

    Parameters
    ----------
    first, second : sequence of Predictions
        One for each seed, at least one; all of the same rows.
    grouping : Grouping, optional
        Of the same rows.
    min_n : int
        Rows below which a group is marked small.
    level : float
        Of the intervals.
    seed : int
        Of the bootstrap.

    Returns
    -------
    PairedComparison
        Without flips and p-values; `seeds_resampled` tells whether seeds were drawn.

    Raises
    ------
    DataError
        If the rows, their true labels, the labels or the positive label differ.

    Examples
    --------
    The first has one and two of four rows right, the second three and four: means .375 and .875.

    >>> of = lambda *given: Predictions.of([0, 0, 1, 1], given, ["a", "b"])
    >>> found = compare_seeds([of(1, 1, 0, 1), of(0, 1, 0, 1)], [of(0, 1, 1, 1), of(0, 0, 1, 1)])
    >>> found.overall.get("accuracy").difference, found.seeds_resampled
    (0.5, False)
    """
    for each in (*first, *second):
        check_same_rows(first[0], each)
    drawn = min(len(first), len(second)) >= LEAST_SEEDS
    parts: list[tuple[Group, np.ndarray]] = [((), np.arange(len(first[0])))]
    if grouping is not None:
        check_rows(first[0], grouping)
        parts += zip(grouping.groups, grouping.rows(), strict=True)
    sides = first, second
    overall, *groups = [
        GroupChanges(
            group=group,
            n=len(rows),
            small=bool(group) and len(rows) < min_n,
            changes=_changes([[each.take(rows) for each in side] for side in sides], drawn, level, seed),
        )
        for group, rows in parts
    ]
    positive = first[0].positive
    return PairedComparison(
        columns=list(grouping.columns) if grouping else [],
        positive=None if positive is None else first[0].labels[positive],
        overall=overall,
        groups=groups,
        first_seeds=len(first),
        second_seeds=len(second),
        seeds_resampled=drawn,
        level=level,
        seed=seed,
    )


def _changes(sides: list[list[Predictions]], draw_seeds: bool, level: float, seed: int) -> list[Change]:
    whole = sides[0][0]
    blocks, rng = blocks_of(len(whole), seed=seed), np.random.default_rng(seed)
    sums = [[RowSums.of(each, blocks) for each in side] for side in sides]
    draws = resampled([each for side in sums for each in side], seed=seed)
    of_side = draws[: len(sides[0])], draws[len(sides[0]) :]
    values = [[each.scores() for each in side] for side in sums]
    resamples = [[each.scores(d) for each, d in zip(side, own, strict=True)] for side, own in zip(sums, of_side, strict=True)]
    chosen = [_weights(len(side), len(draws[0]), draw_seeds, rng) for side in sides]
    changes = []
    for name in values[0][0]:
        everywhere = [each[name] for side in values for each in side if name in each]
        if len(everywhere) < len(draws) or not np.isfinite(everywhere).all():
            continue
        one, other = (float(np.mean([each[name] for each in side])) for side in values)
        before, after = (
            (np.stack([each[name] for each in side], axis=1) * weights).sum(1)
            for side, weights in zip(resamples, chosen, strict=True)
        )
        n = rows_of(name, whole)
        # Resamples of an ECE are greater than it is, and not alike for two models: see `fm_notebook.metrics.calibration`.
        interval = None if name == "ece" else difference_interval(other - one, after - before, n, level)
        changes.append(Change(name=name, first=one, second=other, difference=other - one, n=n, interval=interval))
    return changes


def _weights(n_seeds: int, size: int, draw: bool, rng: np.random.Generator) -> np.ndarray:
    """Weight of each seed in each resample, shape ``(size, S)``; the rows sum to 1."""
    even = np.full((size, n_seeds), 1 / n_seeds)
    if not draw:
        return even
    drawn = rng.multinomial(n_seeds, even[0], size) / n_seeds
    return even + np.sqrt(n_seeds / (n_seeds - 1)) * (drawn - even)
