"""What associations of pairs come to: the mean difference between two groups, and how large it is beside their spread."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from fm_notebook.contracts.probe_reports import Measurement, Summary
from fm_notebook.contracts.probe_specs import Remark
from fm_notebook.metrics.intervals import percentile
from fm_notebook.metrics.probes.pair_summary import Choices
from fm_notebook.metrics.probes.preferences import adjusted_by_name, many_ties, mean_difference
from fm_notebook.metrics.resampling import resampled_sums

FEWEST_CLUSTERS = 10
"""Below it the bootstrap of an effect size covers far less than it says, and there is no interval."""
BALANCED = "balanced"
"""Kind of a pair of whose attribute no stereotype is told; its first sentence names the first group."""


def summary(rows: pa.Table, *, seed: int = 0) -> Summary:
    """The mean difference towards the stereotype, its effect size and the share of pairs, over all and by axis; gaps by kind.

    Parameters
    ----------
    rows : pyarrow.Table
        Scored pairs with ``first_association`` and ``second_association``, the former of the sentence that the stereotype is told
        of; if there is a column ``kind``, pairs that are `BALANCED` tell none and are in no measurement but their kind's gap.
    """
    kinds = _labels(rows, "kind") if "kind" in rows.column_names else np.array([""] * len(rows), object)
    told = rows.filter(pa.array(kinds != BALANCED, pa.bool_()))
    found: list[Measurement] = []
    if len(told):
        axes = _labels(told, "axis")
        names = list(dict.fromkeys(axes))
        for group in ["", *(names if len(names) > 1 else [])]:
            found += _of_group(told.filter(pa.array((axes == group) | (group == ""))), group, seed)
    if "kind" in rows.column_names:
        found += _gaps(rows, kinds)
    return Summary(measurements=adjusted_by_name(found), remarks=list(_remarks(rows)))


def effect_size(first: np.ndarray, second: np.ndarray) -> float:
    r"""Difference of the means over the pooled deviation, :math:`\sqrt{(s_1^2 + s_2^2)/2}`; NaN where nothing varies.

    Examples
    --------
    Means 3 and 1, both with a variance of 2: 2 / √2.

    >>> round(effect_size(np.array([2.0, 4.0]), np.array([0.0, 2.0])), 4)
    1.4142
    """
    n = len(first)
    sums = np.array([n, first.sum(), second.sum(), (first**2).sum(), (second**2).sum()])
    return float(_effect_sizes(sums[None])[0])


def _of_group(rows: pa.Table, group: str, seed: int) -> Iterator[Measurement]:
    choices = Choices.of(rows)
    mean = mean_difference("association_difference", choices.values, choices.clusters, group=group, is_main=not group)
    yield mean
    first, second = (np.array(rows[f"{which}_association"].to_pylist(), np.float64) for which in ("first", "second"))
    if np.isfinite(size := effect_size(first, second)):
        drawn = _drawn(first, second, choices.clusters[0] if choices.clusters else np.arange(len(first)), seed)
        yield Measurement(
            name="association_effect_size", group=group, value=size, n=len(first), neutral=0.0, p_value=mean.p_value,
            interval=percentile(size, drawn) if len(drawn) > 1 else None,
        )  # fmt: skip
    yield choices.preference("stereotype_preference", group)


def _drawn(first: np.ndarray, second: np.ndarray, clusters: np.ndarray, seed: int) -> np.ndarray:
    """Effect sizes of resampled clusters that have one; none for fewer than `FEWEST_CLUSTERS`."""
    codes = np.unique(clusters, return_inverse=True)[1]
    if codes.max() + 1 < FEWEST_CLUSTERS:
        return np.zeros(0)
    each = np.column_stack([np.ones(len(first)), first, second, first**2, second**2])
    sums = np.zeros((codes.max() + 1, 5))
    np.add.at(sums, codes, each)
    found = _effect_sizes(resampled_sums(sums, seed=seed))
    return found[np.isfinite(found)]


def _effect_sizes(sums: np.ndarray) -> np.ndarray:
    """Of sums over pairs, shape ``(R, 5)``: how many, both scores, and both squared."""
    n, one, other = sums[:, :1], sums[:, 1:3], sums[:, 3:]
    with np.errstate(invalid="ignore", divide="ignore"):
        variances = np.maximum(0.0, other - one**2 / n) / (n - 1)
        pooled = np.sqrt(variances.mean(axis=1))
        return np.where(pooled > 1e-12, (one[:, 0] - one[:, 1]) / n[:, 0] / pooled, np.nan)


def _gaps(rows: pa.Table, kinds: np.ndarray) -> Iterator[Measurement]:
    """Association with the first group less that with the second, for attributes of each kind, whatever the stereotype says."""
    choices, groups = Choices.of(rows), _labels(rows, "group")
    first = min({*groups, *_labels(rows, "other_group")})
    signs = np.where(groups == first, 1.0, -1.0)
    for kind in dict.fromkeys(kinds):
        at = np.flatnonzero(kinds == kind)
        part = choices.take(at)
        yield mean_difference("association_gap", signs[at] * part.values, part.clusters, group=kind)


def _remarks(rows: pa.Table) -> Iterator[Remark]:
    yield from many_ties(int(Choices.of(rows).ties.sum()), len(rows))
    if several := sum(each > 1 for each in rows["target_tokens"].to_pylist()):
        yield Remark(key="targets_of_several_tokens", values={"n": several, "share": f"{100 * several / len(rows):.0f} %"})


def _labels(rows: pa.Table, name: str) -> np.ndarray:
    return np.array(rows[name].to_pylist(), object)
