"""Two models' answers to the same items of a probe: what changed, by how much, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from fm_notebook.contracts.probe_changes import ModelChanges, ProbeChange
from fm_notebook.contracts.probing import CHOICE, SKIPPED, VALUE
from fm_notebook.metrics.intervals import percentile
from fm_notebook.metrics.multiplicity import holm
from fm_notebook.metrics.paired_tests import mcnemar
from fm_notebook.metrics.permutations import p_value
from fm_notebook.metrics.resampling import resampled_sums

DRAWS = 1999


def changes(first: pa.Table, second: pa.Table, name: str, *, seed: int = 0) -> ModelChanges:
    """What changed from `first` to `second`, the scored items of one probe with either model.

    Parameters
    ----------
    first, second : pyarrow.Table
        Items with their scores, see `fm_notebook.contracts.probing`; those scored with both are compared, by ``id``.
    name : str
        Of the second model.
    seed : int
        Of resampling and of the test by signs.
    """
    one, two, unpaired = _paired(first, second)
    found: list[ProbeChange] = []
    axes = np.asarray(one["axis"].to_pylist(), object)
    names = list(dict.fromkeys(axes))
    for group in ["", *(names if len(names) > 1 else [])]:
        rows = np.flatnonzero((axes == group) | (group == ""))
        found += _of_rows(one.take(pa.array(rows)), two.take(pa.array(rows)), group, seed) if len(rows) else []
    return ModelChanges(name=name, changes=found, unpaired=unpaired)


def adjusted_together(found: Sequence[ModelChanges]) -> list[ModelChanges]:
    """The same with p-values adjusted by Holm, all of them one family."""
    family = iter(holm(np.array([c.p_value for each in found for c in each.changes])).tolist())
    return [
        each.model_copy(update={"changes": [c.model_copy(update={"adjusted_p": next(family)}) for c in each.changes]})
        for each in found
    ]


def _paired(first: pa.Table, second: pa.Table) -> tuple[pa.Table, pa.Table, int]:
    """The rows scored in both, in one order, and how many are not."""
    whole = [
        table.filter(pa.array([each is None for each in table[SKIPPED].to_pylist()], pa.bool_())) for table in (first, second)
    ]
    places = [{each: i for i, each in enumerate(table["id"].to_pylist())} for table in whole]
    both = [each for each in places[0] if each in places[1]]
    one, two = (
        table.take(pa.array([place[each] for each in both], pa.int64())) for table, place in zip(whole, places, strict=True)
    )
    return one, two, len(set(first["id"].to_pylist()) | set(second["id"].to_pylist())) - len(both)


def _of_rows(one: pa.Table, two: pa.Table, group: str, seed: int) -> Iterator[ProbeChange]:
    clusters = np.unique(np.asarray(_clusters(one), object).astype(str), return_inverse=True)[1]
    if CHOICE in one.column_names:
        before, after = (_flags(table) for table in (one, two))
        up, down = int((~before & after).sum()), int((before & ~after).sum())
        p = mcnemar(up, down) if clusters.max() + 1 == len(clusters) else None  # it takes items for independent
        yield _change("choices", group, 100.0 * before, 100.0 * after, clusters, seed, p=p, flips=(up, down))
    before, after = (table[VALUE].to_numpy().astype(np.float64) for table in (one, two))
    yield _change("values", group, before, after, clusters, seed)


def _clusters(rows: pa.Table) -> list[object]:
    """What each item depends on with others: its cluster, else its template, else nothing."""
    return rows[next(name for name in ("cluster", "template", "id") if name in rows.column_names)].to_pylist()


def _flags(rows: pa.Table) -> np.ndarray:
    return np.array([bool(each) for each in rows[CHOICE].to_pylist()], bool)


def _change(
    what: str, group: str, before: np.ndarray, after: np.ndarray, clusters: np.ndarray, seed: int, *,
    p: float | None = None, flips: tuple[int, int] | None = None,
) -> ProbeChange:  # fmt: skip
    difference = after - before
    sums, sizes = np.bincount(clusters, difference), np.bincount(clusters)
    mean = float(difference.mean())
    resampled = resampled_sums(np.column_stack([sums, sizes]), seed=seed)
    return ProbeChange(
        what=what, group=group, n=len(before), first=float(before.mean()), second=float(after.mean()), difference=mean,  # type: ignore[arg-type]
        interval=percentile(mean, resampled[:, 0] / resampled[:, 1]) if len(sums) > 1 else None,
        p_value=_by_signs(sums, seed) if p is None else p, up=flips[0] if flips else None, down=flips[1] if flips else None,
    )  # fmt: skip


def _by_signs(sums: np.ndarray, seed: int) -> float:
    """Of no change: the clusters' differences have either sign with a chance of one half."""
    moved = sums[sums != 0]
    if not len(moved):
        return 1.0
    rng = np.random.default_rng(seed)
    drawn = np.array([np.abs((2 * rng.integers(0, 2, len(moved)) - 1) @ moved) for _ in range(DRAWS)])
    return p_value(float(abs(moved.sum())), drawn)
