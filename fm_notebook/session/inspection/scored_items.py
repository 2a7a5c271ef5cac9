"""A probe's items with what each one scored, on disk: which of them meet some conditions, and all that is known of one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fm_notebook.contracts.probe_reports import ITEMS, ProbeReport
from fm_notebook.contracts.probing import CHOICE, OTHER_PIECES, PIECES, SKIPPED, VALUE
from fm_notebook.contracts.values import Frozen
from fm_notebook.data import stored
from fm_notebook.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STEREOTYPE, OTHER, TIE, SCORED = "stereotype", "other", "tie", "scored"
"""What came of an item; of one that was skipped, the reason after `SKIPPED_BEFORE`. `SCORED` where items do not choose."""
SKIPPED_BEFORE = "skipped:"
COLOURED = frozenset({PIECES, OTHER_PIECES})


class ItemSlice(Frozen):
    """Items that meet every condition given; without any, all items.

    Attributes
    ----------
    axis : str or None
    outcome : str or None
        As in `ScoredItems.outcomes`.
    contains : str
        Part of one of the item's texts, upper and lower case alike.
    """

    axis: str | None = None
    outcome: str | None = None
    contains: str = ""


class ItemOrder(Frozen):
    """In which order items come: by ``item`` (that of the data), ``value``, ``strength`` (the value without its sign), ``axis``.

    Items without a value come last, and equal ones in the order of the data.
    """

    by: Literal["item", "value", "strength", "axis"] = "strength"
    descending: bool = True


@dataclass(frozen=True)
class ScoredItems:
    """The items of one report, `N` of them.

    Attributes
    ----------
    table : pyarrow.Table
        Items and scores side by side, memory-mapped.
    texts : tuple of str
        Columns that the model read.
    """

    table: pa.Table
    texts: tuple[str, ...]

    @classmethod
    def of(cls, report: ProbeReport) -> ScoredItems:
        """Those of `report`.

        Raises
        ------
        RunError
            If they were deleted.
        """
        path = Path(report.folder) / ITEMS
        if not path.is_file():
            raise RunError("probe.items_gone", probe=report.probe, model=report.run or report.model, path=str(path))
        table = stored.load(path)
        written = report.spec.get("items", {}).get("texts", ())
        return cls(table, tuple(name for name in written if name in table.column_names))

    def __len__(self) -> int:
        return self.table.num_rows

    @cached_property
    def values(self) -> np.ndarray:
        """Signed numbers of the items, ``(N,)``; not a number where there is none."""
        if VALUE not in self.table.column_names:
            return np.full(len(self), np.nan)
        return pc.fill_null(self.table[VALUE].cast(pa.float64()), float("nan")).to_numpy()

    @cached_property
    def outcomes(self) -> np.ndarray:
        """What came of each item, ``(N,)`` texts: `STEREOTYPE`, `OTHER`, `TIE`, `SCORED`, or `SKIPPED_BEFORE` and the reason."""
        skipped = self._column(SKIPPED)
        chosen = self._column(CHOICE)
        if CHOICE not in self.table.column_names or not any(each is not None for each in chosen):
            found = [SCORED] * len(self)
        else:
            found = [TIE if each is None else STEREOTYPE if each else OTHER for each in chosen]
        return np.array([f"{SKIPPED_BEFORE}{why}" if why else said for said, why in zip(found, skipped, strict=True)], object)

    @cached_property
    def axes(self) -> np.ndarray:
        """Of each item, ``(N,)`` texts."""
        return np.array([each or "" for each in self._column("axis")], object)

    def counts(self, of: np.ndarray) -> Mapping[str, int]:
        """How many items there are of each of `axes` or `outcomes`, in the order of the data."""
        return Counter(of.tolist())

    def find(self, chosen: ItemSlice, order: ItemOrder) -> np.ndarray:
        """Places of the items that meet the conditions, in that order, int64."""
        mask = np.ones(len(self), bool)
        if chosen.axis is not None:
            mask &= self.axes == chosen.axis
        if chosen.outcome is not None:
            mask &= self.outcomes == chosen.outcome
        if wanted := chosen.contains.strip():
            mask &= self._containing(wanted)
        return self._sorted(np.flatnonzero(mask), order)

    def row(self, place: int) -> dict[str, Any]:
        """All columns of one item."""
        return self.table.slice(place, 1).to_pylist()[0]

    def rows(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """Those columns of several items that are no contributions of tokens, which are long."""
        plain = [name for name in self.table.column_names if name not in COLOURED]
        return self.table.select(plain).take(pa.array(places, pa.int64())).to_pylist()

    def _containing(self, wanted: str) -> np.ndarray:
        found = np.zeros(len(self), bool)
        for name in self.texts:
            matches = pc.call_function("match_substring", [self.table[name]], pc.MatchSubstringOptions(wanted, ignore_case=True))
            found |= pc.fill_null(matches, False).to_numpy()
        return found

    def _sorted(self, places: np.ndarray, order: ItemOrder) -> np.ndarray:
        if order.by == "item":
            return places[::-1] if order.descending else places
        if order.by == "axis":
            names, keys = np.unique(self.axes[places].astype(str), return_inverse=True)
            return places[np.argsort(-keys if order.descending else keys, kind="stable")] if len(names) else places
        keys = self.values[places]
        keys = np.abs(keys) if order.by == "strength" else keys
        return places[np.argsort(-keys if order.descending else keys, kind="stable")]  # what is not a number comes last

    def _column(self, name: str) -> list[Any]:
        return self.table[name].to_pylist() if name in self.table.column_names else [None] * len(self)
