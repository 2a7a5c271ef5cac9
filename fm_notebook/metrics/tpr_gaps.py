r"""True positive rates by class, of a group against all others: the gaps of *Bias in Bios*.

For a group g, a class y and all rows of other groups ~g,

.. math:: Gap_{g,y} = TPR_{g,y} - TPR_{\sim g,y}, \quad Gap_g^{RMS} = \sqrt{\frac1{|Y|} \sum_y Gap_{g,y}^2}

The root mean square is above 0 by chance alone, in resamples too: it is shown with what chance gives and with a p-value from
permutations of the groups of each class's rows, and its interval (bootstrap within group and class) tells how it varies.

Classes with fewer than `min_positives` rows in the group or in the rest are left out, and named; published figures count all.
Rows whose group is missing have no gap, and are in no group's rest.

References
----------
De-Arteaga et al. (2019), *Bias in Bios: a case study of semantic representation bias in a high-stakes setting*, FAccT.
Romanov et al. (2019), *What's in a name? Reducing bias in bios without access to protected attributes*, NAACL (the RMS).
"""

from __future__ import annotations

import numpy as np

from fm_notebook.contracts.groups import Adjustment
from fm_notebook.contracts.results import Score
from fm_notebook.contracts.tpr_gaps import ClassGap, GroupTprGaps, TprGaps
from fm_notebook.metrics.grouping import Grouping
from fm_notebook.metrics.groups import MIN_N, MIN_POSITIVES, check_rows
from fm_notebook.metrics.intervals import newcombe, percentile
from fm_notebook.metrics.multiplicity import adjusted
from fm_notebook.metrics.permutations import DRAWS, p_value, two_rates_p
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.resampling import RESAMPLES

Counts = np.ndarray
"""Hits and rows by class, of the group and of the rest: int, shape ``(2, 2, Y)``, ``[whose, what, class]``."""


def tpr_gaps(
    predictions: Predictions,
    grouping: Grouping,
    *,
    min_n: int = MIN_N,
    min_positives: int = MIN_POSITIVES,
    adjustment: Adjustment = "holm",
    level: float = 0.95,
    seed: int = 0,
) -> TprGaps:
    """Gaps of every group that has `min_n` rows, see the module.

    Examples
    --------
    Class 0: "a" finds 3 of 4, "b" 1 of 4; class 1: both find all. √((.5² + 0²) / 2) = .3536.

    >>> from fm_notebook.metrics.grouping import grouping
    >>> given = Predictions.of([0] * 8 + [1] * 8, [0, 0, 0, 1, 0, 1, 1, 1] + [1] * 8, ["x", "y"])
    >>> found = tpr_gaps(given, grouping("g", (["a"] * 4 + ["b"] * 4) * 2), min_n=1, min_positives=1)
    >>> [gap.difference for gap in found.groups[0].gaps], round(found.groups[0].rms.value, 4)
    ([0.5, 0.0], 0.3536)
    """
    check_rows(predictions, grouping)
    sizes = grouping.sizes
    counts, missing = _counts(predictions, grouping), ~grouping.known
    whole = counts[~missing].sum(0)
    found, small = [], []
    for code, group in enumerate(grouping.groups):
        if missing[code]:
            continue
        if sizes[code] < min_n:
            small.append(group)
            continue
        both = np.stack([counts[code], whole - counts[code]])
        enough = (both[:, 1] >= max(1, min_positives)).all(0)
        labels = np.array(predictions.labels, dtype=object)
        bare = GroupTprGaps(group=group, n=int(sizes[code]), left_out=labels[~enough].tolist())
        found.append(_filled(bare, both[:, :, enough], labels[enough].tolist(), level, seed))
    return TprGaps(
        columns=list(grouping.columns),
        groups=_adjusted(found, adjustment),
        small=small,
        adjustment=adjustment,
        level=level,
        seed=seed,
    )


def _counts(predictions: Predictions, grouping: Grouping) -> np.ndarray:
    """Hits and rows by group and class, shape ``(G, 2, C)``."""
    g, c = len(grouping.groups), len(predictions.labels)
    cells = grouping.codes * np.int64(c) + predictions.truth
    return np.stack(
        [np.bincount(cells[keep], minlength=g * c).reshape(g, c) for keep in (predictions.right, slice(None))], axis=1
    )


def _filled(bare: GroupTprGaps, counts: Counts, labels: list[str], level: float, seed: int) -> GroupTprGaps:
    if not labels:
        return bare
    rng = np.random.default_rng(seed)
    (hits, rows), (rest_hits, rest_rows) = counts
    differences = hits / rows - rest_hits / rest_rows
    value, by_chance = float(_rms(differences)), _by_chance(counts, rng)
    interval = percentile(value, _resampled(counts, rng), level)
    known = {
        "rms": Score(name="tpr_gap_rms", value=value, n=int(rows.sum()), interval=interval),
        "by_chance": float(by_chance.mean()),
        "p_value": p_value(value, by_chance),
        "correlation": _correlation(differences, rows / (rows + rest_rows)),
        "gaps": [_class_gap(label, counts[:, :, y], level) for y, label in enumerate(labels)],
    }
    return bare.model_copy(update=known)


def _class_gap(label: str, counts: np.ndarray, level: float) -> ClassGap:
    (hits, rows), (rest_hits, rest_rows) = counts.tolist()
    p = two_rates_p((hits, rows), (rest_hits, rest_rows))
    return ClassGap(
        label=label,
        difference=hits / rows - rest_hits / rest_rows,
        interval=newcombe((hits, rows), (rest_hits, rest_rows), level),
        n_group=rows,
        n_rest=rest_rows,
        share=rows / (rows + rest_rows),
        p_value=p,
        adjusted_p=p,
    )


def _by_chance(counts: Counts, rng: np.random.Generator) -> np.ndarray:
    """Root mean squares when each class's hits fall on its rows by chance, shape ``(R,)``."""
    (hits, rows), (rest_hits, rest_rows) = counts
    found = hits + rest_hits
    drawn = rng.hypergeometric(found, rows + rest_rows - found, rows, (DRAWS, len(rows)))
    return _rms(drawn / rows - (found - drawn) / rest_rows)


def _resampled(counts: Counts, rng: np.random.Generator) -> np.ndarray:
    hits, rows = counts[:, 0], counts[:, 1]
    rates = rng.binomial(rows, hits / rows, (RESAMPLES, *rows.shape)) / rows
    return _rms(rates[:, 0] - rates[:, 1])


def _rms(differences: np.ndarray) -> np.ndarray:
    return np.sqrt((differences**2).mean(-1))


def _correlation(differences: np.ndarray, shares: np.ndarray) -> float | None:
    if len(differences) < 3 or not differences.std() or not shares.std():
        return None
    return float(np.corrcoef(differences, shares)[0, 1])


def _adjusted(groups: list[GroupTprGaps], how: Adjustment) -> list[GroupTprGaps]:
    values = iter(adjusted(np.array([gap.p_value for each in groups for gap in each.gaps]), how).tolist())
    return [
        each.model_copy(update={"gaps": [gap.model_copy(update={"adjusted_p": next(values)}) for gap in each.gaps]})
        for each in groups
    ]
