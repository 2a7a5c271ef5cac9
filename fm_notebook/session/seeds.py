"""Runs that differ by their seed alone, taken together in a comparison, to see whether a difference would outlast other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fm_notebook.contracts.comparisons import OverSeeds
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.metrics.grouping import Grouping
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.seeds import compare_seeds
from fm_notebook.session.differences import differences

_NO_MATTER = frozenset({"seed", "base"})
"""Fields that two runs of one way of training may set differently; where a spec was copied from is no part of it."""


class Entry(NamedTuple):
    """One of the runs: its name, its spec (None for a model that is no run), and what it said of the rows."""

    name: str
    spec: FinetuneSpec | None
    predictions: Predictions


def over_seeds(entries: Sequence[Entry], groupings: Sequence[Grouping], *, seed: int = 0) -> list[OverSeeds]:
    """Each other way of training against that of the first entry; empty where no way has several seeds."""
    ways = _ways(entries)
    if len(ways) < 2 or max(map(len, ways)) < 2:
        return []
    first = ways[0]
    return [
        OverSeeds(
            first=[each.name for each in first],
            second=[each.name for each in other],
            over_all=compare_seeds(_said(first), _said(other), seed=seed),
            by=[compare_seeds(_said(first), _said(other), grouping, seed=seed) for grouping in groupings],
        )
        for other in ways[1:]
    ]


def _ways(entries: Sequence[Entry]) -> list[list[Entry]]:
    found: list[list[Entry]] = []
    for entry in entries:
        same = next((way for way in found if _differ_by_seed(way[0].spec, entry.spec)), None)
        if same is None:
            found.append([entry])
        else:
            same.append(entry)
    return found


def _differ_by_seed(one: FinetuneSpec | None, other: FinetuneSpec | None) -> bool:
    if one is None or other is None or one.seed == other.seed:
        return False
    return all(each.field in _NO_MATTER for each in differences(one, other))


def _said(way: Sequence[Entry]) -> list[Predictions]:
    return [each.predictions for each in way]
