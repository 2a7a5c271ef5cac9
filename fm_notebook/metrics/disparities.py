r"""How far groups lie apart, and whether chance alone makes such differences.

Over all groups, the greatest less the least value of a score, and the least over the greatest:

- demographic parity: of :math:`P(ŷ = + | g)` (a ratio below .8 is the four-fifths rule of US employment law);
- equal opportunity: of :math:`P(ŷ = + | y = +, g)`;
- equalised odds: the greater difference, and the lesser ratio, of TPR and FPR;
- predictive parity: of :math:`P(y = + | ŷ = +, g)`.

Differences and ratios equal those of fairlearn's ``demographic_parity_difference`` and so on where no group is left out.

Each has a p-value from permutations (`fm_notebook.metrics.permutations`), and an interval for the two groups that lie farthest
apart, at the level at which the intervals of all pairs hold at once: choosing the greatest of many differences is then paid
for. Differences of two groups at a time (`PairGap`) have Newcombe's interval for rates and the "N - 1" chi-squared test, which
is the permutation test of two groups in the limit; macro F1 and AUC have the MOVER interval and the p-value at which it would
just reach 0. P-values of pairs are adjusted over all pairs and scores. The ECE, which is greater in smaller groups by chance,
has no pairs.

References
----------
Hardt, Price and Srebro (2016), *Equality of opportunity in supervised learning*, NeurIPS.
Newcombe (1998), *Interval estimation for the difference between independent proportions*, Statistics in Medicine 17.
Holm (1979), *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of Statistics 6.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from statistics import NormalDist

import numpy as np

from fm_notebook.contracts.groups import Adjustment, Disparities, Gap, Group, GroupScores, GroupTable, PairGap
from fm_notebook.contracts.results import Interval, Score
from fm_notebook.metrics.calibration import scored
from fm_notebook.metrics.grouping import Grouping
from fm_notebook.metrics.groups import check_rows
from fm_notebook.metrics.intervals import mover, newcombe
from fm_notebook.metrics.multiplicity import adjusted
from fm_notebook.metrics.permutations import (
    Statistic,
    auc_by_group,
    ece_by_group,
    macro_f1_by_group,
    p_value,
    rate_ranges,
    score_ranges,
    two_rates_p,
)
from fm_notebook.metrics.power import rows_needed, smallest_gap
from fm_notebook.metrics.predictions import Predictions

RATES = ("selection_rate", "tpr", "fpr", "ppv", "accuracy")
MEANS = ("macro_f1", "auc", "ece")
NAMES = {"selection_rate": "demographic_parity", "tpr": "equal_opportunity", "ppv": "predictive_parity"}
"""Of gaps that have a name of their own."""
HIGH_IS_WORSE = ("fpr", "ece")


def disparities(
    table: GroupTable,
    predictions: Predictions,
    grouping: Grouping,
    *,
    adjustment: Adjustment = "holm",
    reference: Group | None = None,
) -> Disparities:
    """Gaps between the groups of `table`, over all and two by two.

    Parameters
    ----------
    table : GroupTable
        Of the same rows by the same grouping; its `min_n`, `level` and `seed` hold here too.
    predictions : Predictions
    grouping : Grouping
    adjustment : {"holm", "benjamini-hochberg"}
        Of the p-values of pairs.
    reference : tuple, optional
        A group: then pairs are each other group less this one.

    Returns
    -------
    Disparities
        Groups that are small, or whose value is missing, are in no gap; a score that fewer than two groups can be compared in
        has none. The difference of a pair is the first less the second.

    Examples
    --------
    Of 40 rows of "a" 20 are selected, of 40 of "b" 8.

    >>> from fm_notebook.metrics.grouping import grouping
    >>> from fm_notebook.metrics.groups import by_group
    >>> rows, selected = grouping("g", ["a"] * 40 + ["b"] * 40), [1] * 20 + [0] * 20 + [1] * 8 + [0] * 32
    >>> given = Predictions.of([0, 1] * 40, selected, ["no", "yes"], positive="yes")
    >>> parity = disparities(by_group(given, rows), given, rows)["demographic_parity"]
    >>> round(parity.difference, 4), round(parity.ratio, 4), parity.lowest, parity.p_value < 0.02
    (0.3, 0.4, ('b',), True)
    """
    check_rows(predictions, grouping)
    pairs = _adjusted([pair for name in (*RATES, "macro_f1", "auc") for pair in _pairs(name, table, reference)], adjustment)
    return Disparities(
        columns=table.columns,
        positive=table.positive,
        gaps=[*_rate_gaps(table), *_mean_gaps(table, predictions, grouping)],
        pairs=pairs,
        adjustment=adjustment,
        small=[row.group for row in table.groups if row.small],
        level=table.level,
        seed=table.seed,
    )


def _rate_gaps(table: GroupTable) -> Iterator[Gap]:
    found: dict[str, tuple[Gap, np.ndarray]] = {}
    for number, name in enumerate(RATES):
        rows = _comparable(table, name)
        if len(rows) < 2:
            continue
        hits, n = np.array([_hits(_score(row, name)) for row in rows]).T
        drawn = rate_ranges(hits, n, seed=[table.seed, number])
        found[name] = _gap(name, rows, table, drawn), drawn
    yield from (gap for gap, _ in found.values())
    if "tpr" in found and "fpr" in found:
        yield _equalized_odds(table, *found["tpr"], *found["fpr"])


def _equalized_odds(table: GroupTable, tpr: Gap, tpr_drawn: np.ndarray, fpr: Gap, fpr_drawn: np.ndarray) -> Gap:
    """The worse of the two. Hits of positive and of negative rows are drawn apart, so that the draws may be joined."""
    worse = tpr if tpr.difference >= fpr.difference else fpr
    name = "tpr" if worse is tpr else "fpr"
    high, low = (_score(table[group], name) for group in (worse.highest, worse.lowest))
    compared = sum(math.comb(gap.n_groups, 2) for gap in (tpr, fpr))
    ratios = [gap.ratio for gap in (tpr, fpr) if gap.ratio is not None]
    changed = {
        "name": "equalized_odds",
        "ratio": min(ratios, default=None),
        "interval": newcombe(_hits(high), _hits(low), _simultaneous(table.level, compared)),
        "p_value": p_value(worse.difference, np.maximum(tpr_drawn, fpr_drawn)),
    }
    return worse.model_copy(update=changed)


def _mean_gaps(table: GroupTable, predictions: Predictions, grouping: Grouping) -> Iterator[Gap]:
    """Of scores that are no rates: the rows of all groups that are known and not small are permuted, once for all three."""
    kept = np.flatnonzero([not row.small and None not in row.group for row in table.groups])
    at = {table.groups[code].group: number for number, code in enumerate(kept)}
    inside = _in_order(predictions, grouping, np.isin(grouping.codes, kept))
    codes, some = np.searchsorted(kept, grouping.codes[inside]).astype(np.int16), predictions.take(inside)
    rows = {name: found for name in MEANS if len(found := _comparable(table, name)) > 1}
    statistics = {name: (_statistic(name, some, len(at)), np.array([at[row.group] for row in rows[name]])) for name in rows}
    drawn = score_ranges(statistics, codes, some.truth, seed=table.seed) if rows else {}
    yield from (_gap(name, rows[name], table, drawn[name]) for name in rows)


def _in_order(predictions: Predictions, grouping: Grouping, inside: np.ndarray) -> np.ndarray:
    """Numbers of the rows that are `inside`, in an order that does not depend on theirs, so that no p-value does."""
    keys = [grouping.codes, predictions.predicted, predictions.truth]
    if predictions.probabilities is not None:
        keys = [scored(predictions)[0], *keys]
    order = np.lexsort(keys)
    return order[inside[order]]


def _statistic(name: str, predictions: Predictions, n_groups: int) -> Statistic:
    if name == "macro_f1":
        return macro_f1_by_group(predictions, n_groups)
    if name == "ece":
        return ece_by_group(predictions, n_groups)
    assert predictions.scores is not None, "a group with an AUC has probabilities"
    return auc_by_group(predictions.scores, predictions.is_positive, n_groups)


def _gap(name: str, rows: list[GroupScores], table: GroupTable, drawn: np.ndarray) -> Gap:
    scores = [_score(row, name) for row in rows]
    values = [score.value for score in scores]
    top, bottom = int(np.argmax(values)), int(np.argmin(values))
    high, low = scores[top], scores[bottom]
    compared = {row.group for row in rows}
    level = _simultaneous(table.level, math.comb(len(rows), 2))
    worst = None if name == "selection_rate" else rows[top if name in HIGH_IS_WORSE else bottom].group
    return Gap(
        name=NAMES.get(name, name),
        difference=high.value - low.value,
        ratio=low.value / high.value if high.value else None,
        highest=rows[top].group,
        lowest=rows[bottom].group,
        worst=worst,
        n_groups=len(rows),
        left_out=[row.group for row in table.groups if row.group not in compared],
        interval=None if name == "ece" else _difference(name, high, low, level),
        p_value=p_value(high.value - low.value, drawn),
        permutations=len(drawn),
        detectable=smallest_gap(low.value, low.n, high.n) if name in RATES else None,
    )


def _pairs(name: str, table: GroupTable, reference: Group | None) -> Iterator[PairGap]:
    rows = _comparable(table, name)
    each = combinations(rows, 2)
    if reference is not None:
        base = table[reference]
        each = ((row, base) for row in rows if row is not base and base.compares(name))
    yield from (_pair(name, first, second, table.level) for first, second in each)


def _pair(name: str, first: GroupScores, second: GroupScores, level: float) -> PairGap:
    one, other = _score(first, name), _score(second, name)
    interval = _difference(name, one, other, level)
    is_rate = name in RATES
    p = two_rates_p(_hits(one), _hits(other)) if is_rate else _p_of_interval(one.value - other.value, interval)
    return PairGap(
        name=name,
        first=first.group,
        second=second.group,
        difference=one.value - other.value,
        interval=interval,
        n_first=one.n,
        n_second=other.n,
        p_value=p,
        adjusted_p=p,
        detectable=smallest_gap(other.value, other.n, one.n) if is_rate else None,
        needed_n=rows_needed(one.value, other.value) if is_rate else None,
    )


def _adjusted(pairs: list[PairGap], how: Adjustment) -> list[PairGap]:
    values = adjusted(np.array([pair.p_value for pair in pairs]), how).tolist()
    return [pair.model_copy(update={"adjusted_p": value}) for pair, value in zip(pairs, values, strict=True)]


def _difference(name: str, first: Score, second: Score, level: float) -> Interval | None:
    """Newcombe's for rates; else MOVER, from intervals that are widened to `level` as those of a normal would be."""
    if name in RATES:
        return newcombe(_hits(first), _hits(second), level)
    if first.interval is None or second.interval is None:
        return None
    wider = _z(level) / _z(first.interval.level)
    one, other = (_scaled(score.value, score.interval, wider, level) for score in (first, second) if score.interval)
    return mover(first.value, one, second.value, other)


def _scaled(value: float, interval: Interval, factor: float, level: float) -> Interval:
    low, high = (value + factor * (end - value) for end in (interval.low, interval.high))
    return Interval(low=low, high=high, level=level, method=interval.method)


def _p_of_interval(difference: float, interval: Interval | None) -> float:
    """The two-sided p-value of an interval whose ends are normal deviates: at its level it is .05 where it just reaches 0."""
    if interval is None or not difference:
        return 1.0
    half = difference - interval.low if difference > 0 else interval.high - difference
    return math.erfc(abs(difference) / half * _z(interval.level) / math.sqrt(2)) if half else 0.0


def _comparable(table: GroupTable, name: str) -> list[GroupScores]:
    return [row for row in table.groups if row.compares(name)]


def _score(row: GroupScores, name: str) -> Score:
    found = row.get(name)
    assert found is not None, "rows without the score are not compared"
    return found


def _hits(score: Score) -> tuple[int, int]:
    return round(score.value * score.n), score.n


def _simultaneous(level: float, n_intervals: int) -> float:
    return 1 - (1 - level) / max(1, n_intervals)


def _z(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)
