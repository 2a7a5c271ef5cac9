r"""What changed from one model to another on the same rows, with what pairing buys: the rows' difficulty cancels.

Intervals of differences are the percentile bootstrap: rows are drawn once, and both models scored on them. That of the loss is
Student's t of the rows' differences, that of AUC DeLong's; that of the ECE reaches from the one model's low end less the other's
high end to the reverse, which errs on the wide side.
Where no resample differs, as for models that predict alike, they are plus and minus what Wilson's interval allows a share of
which none of n rows was seen.

P-values are those of `fm_notebook.metrics.paired_tests`, adjusted over all scores and all groups that are not small. Scores on
few rows of the label that they are about are marked and no part of that: of an AUC with five positive rows, the interval held the
truth in 88 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fm_notebook.contracts.groups import Adjustment, Group
from fm_notebook.contracts.pairs import Change, Flips, GroupChanges, PairedComparison
from fm_notebook.contracts.results import Interval
from fm_notebook.errors import DataError
from fm_notebook.metrics.calibration import ece, scored
from fm_notebook.metrics.grouping import Grouping
from fm_notebook.metrics.groups import MIN_N, MIN_POSITIVES, check_rows
from fm_notebook.metrics.intervals import mean_t, percentile, wilson
from fm_notebook.metrics.multiplicity import adjusted
from fm_notebook.metrics.paired_tests import delong_difference, mcnemar, paired_p
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.row_sums import RowSums, blocks_of, resampled, row_losses


def compare(
    first: Predictions,
    second: Predictions,
    grouping: Grouping | None = None,
    *,
    min_n: int = MIN_N,
    min_positives: int = MIN_POSITIVES,
    adjustment: Adjustment = "holm",
    level: float = 0.95,
    seed: int = 0,
) -> PairedComparison:
    """Scores of two models on the same rows, second less first, over all rows and by group.

    Parameters
    ----------
    first, second : Predictions
        Of the same rows, labels and positive label. Scores from probabilities are there if both have them.
    grouping : Grouping, optional
        Of the same rows.
    min_n : int
        Rows below which a group is shown but no part of the adjusted p-values.
    min_positives : int
        Positive (TPR), negative (FPR) or predicted positive (PPV, with either model) rows below which a change is so too; for
        AUC both classes need as many.
    adjustment : {"holm", "benjamini-hochberg"}
    level : float
        Of the intervals.
    seed : int
        Of resampling and randomisation.

    Raises
    ------
    DataError
        If the rows, their true labels, the labels or the positive label differ.

    Examples
    --------
    Of four rows the first has one right, the second three: it mends two and breaks none, so that p = 2 · (1/2)².

    >>> before = Predictions.of([0, 0, 1, 1], [1, 1, 0, 1], ["a", "b"])
    >>> after = Predictions.of([0, 0, 1, 1], [0, 1, 1, 1], ["a", "b"])
    >>> found = compare(before, after).overall
    >>> found.get("accuracy").difference, found.flips.mended, found.flips.broken, found.flips.p_value
    (0.5, 2, 0, 0.5)
    """
    settled = {"min_positives": min_positives, "level": level, "seed": seed}
    parts = [changes(first, second, **settled)]
    if grouping is not None:
        parts += changes_by_group(first, second, grouping, min_n=min_n, **settled)
    overall, *groups = adjusted_together(parts, adjustment)
    return PairedComparison(
        columns=list(grouping.columns) if grouping else [],
        positive=None if first.positive is None else first.labels[first.positive],
        overall=overall,
        groups=groups,
        adjustment=adjustment,
        level=level,
        seed=seed,
    )


def changes(
    first: Predictions, second: Predictions, group: Group = (), *, min_positives: int = MIN_POSITIVES, level: float = 0.95,
    seed: int = 0,
) -> GroupChanges:  # fmt: skip
    """Scores of two models on rows that are all of one `group`, see `compare`; p-values are not adjusted yet."""
    check_same_rows(first, second)
    blocks = blocks_of(len(first), seed=seed)
    sums = [RowSums.of(each, blocks) for each in (first, second)]
    before, after = (each.scores() for each in sums)
    drawn = [each.scores(draws) for each, draws in zip(sums, resampled(sums, seed=seed), strict=True)]
    found = []
    for name in [name for name in before if name in after and np.isfinite(before[name]) and np.isfinite(after[name])]:
        value, n = float(after[name] - before[name]), rows_of(name, first)
        interval = difference_interval(value, drawn[1][name] - drawn[0][name], n, level)
        if name == "loss":
            interval = mean_t(row_losses(second) - row_losses(first), level)
        elif name == "ece":
            interval = _ece_interval(first, second, level, seed)
        elif name == "auc":
            interval = delong_difference(first, second, level) or interval
        test, p = paired_p(name, first, second, seed=seed)
        known = {"first": float(before[name]), "second": float(after[name]), "difference": value}
        few = _stands_on(name, first, second) < min_positives
        found.append(Change(name=name, **known, n=n, interval=interval, p_value=p, test=test, few=few))
    return GroupChanges(group=group, n=len(first), flips=flips(first, second), changes=found)


def changes_by_group(
    first: Predictions, second: Predictions, grouping: Grouping, *, min_n: int = MIN_N, min_positives: int = MIN_POSITIVES,
    level: float = 0.95, seed: int = 0,
) -> list[GroupChanges]:  # fmt: skip
    """`changes` in each group of `grouping`; those under `min_n` rows are marked."""
    check_rows(first, grouping)
    found = []
    for group, rows in zip(grouping.groups, grouping.rows(), strict=True):
        settled = {"min_positives": min_positives, "level": level, "seed": seed}
        each = changes(first.take(rows), second.take(rows), group, **settled)
        found.append(each.model_copy(update={"small": len(rows) < min_n}))
    return found


def adjusted_together(parts: Sequence[GroupChanges], how: Adjustment = "holm") -> list[GroupChanges]:
    """`parts` with p-values adjusted over all of them as one family; those of small groups and on few rows have none."""

    def counts(part: GroupChanges, change: Change) -> bool:
        return not part.small and not change.few and change.p_value is not None

    family = [change.p_value for part in parts for change in part.changes if counts(part, change)]
    values = iter(adjusted(np.array(family), how).tolist())

    def filled(part: GroupChanges) -> GroupChanges:
        changed = [c.model_copy(update={"adjusted_p": next(values)}) if counts(part, c) else c for c in part.changes]
        return part.model_copy(update={"changes": changed})

    return [filled(part) for part in parts]


def flips(first: Predictions, second: Predictions) -> Flips:
    """Rows by which of two models has them right."""
    one, other = first.right, second.right
    mended, broken = int((~one & other).sum()), int((one & ~other).sum())
    return Flips(
        mended=mended,
        broken=broken,
        both_right=int((one & other).sum()),
        both_wrong=int((~one & ~other).sum()),
        p_value=mcnemar(mended, broken),
    )


def check_same_rows(first: Predictions, second: Predictions) -> None:
    """Refuse predictions of other rows, labels or another positive label."""
    if first.labels != second.labels:
        raise DataError("pairs.labels", first=", ".join(first.labels), second=", ".join(second.labels))
    if len(first) != len(second):
        raise DataError("pairs.lengths", first=len(first), second=len(second))
    if strange := int((first.truth != second.truth).sum()):
        raise DataError("pairs.truth", rows=strange, n=len(first))
    if first.positive != second.positive:
        one, other = (None if each.positive is None else each.labels[each.positive] for each in (first, second))
        raise DataError("pairs.positive", first=one, second=other)


def difference_interval(value: float, drawn: np.ndarray, n: int, level: float) -> Interval | None:
    """Percentile interval of a difference; where nothing varies, that of a share of which none of `n` was seen, both ways."""
    drawn = drawn[np.isfinite(drawn)]
    found = percentile(value, drawn, level) if len(drawn) else None
    if found is not None or (unseen := wilson(0, n, level)) is None:
        return found
    ends = max(-1.0, value - unseen.high), min(1.0, value + unseen.high)
    return Interval(low=ends[0], high=ends[1], level=level, method="wilson")


def _ece_interval(first: Predictions, second: Predictions, level: float, seed: int) -> Interval | None:
    """From end to end: an ECE lies at the far end of its interval, and a bootstrap makes it greater than it is."""
    one, other = (ece(*scored(each), level=level, seed=seed).interval for each in (first, second))
    if one is None or other is None:
        return None
    return Interval(low=other.low - one.high, high=other.high - one.low, level=level, method=one.method)


def rows_of(name: str, predictions: Predictions) -> int:
    """Rows that a score stands on: the positive ones for TPR, the negative ones for FPR, else all."""
    positives = int(predictions.is_positive.sum())
    return {"tpr": positives, "fpr": len(predictions) - positives}.get(name, len(predictions))


def _stands_on(name: str, first: Predictions, second: Predictions) -> float:
    """Rows of the label, or of a model's decision, that a score is about; without end for a score that is about all."""
    if first.positive is None:
        return np.inf
    positives = int(first.is_positive.sum())
    negatives = len(first) - positives
    selected = min(int(each.selected.sum()) for each in (first, second))
    return {"tpr": positives, "fpr": negatives, "auc": min(positives, negatives), "ppv": selected}.get(name, np.inf)
