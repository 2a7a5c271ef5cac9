"""What ``%panel inspect`` gives: the rows being looked at, which of them are selected, and views made static."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fm_notebook.contracts.results import Evaluation
from fm_notebook.contracts.specs import EvaluateSpec
from fm_notebook.errors import SpecError, did_you_mean
from fm_notebook.panels.inspect import cards
from fm_notebook.panels.inspect.cards import Card
from fm_notebook.session.inspection.inspection import Inspection
from fm_notebook.session.inspection.slices import Slice, Sort

if TYPE_CHECKING:
    import pandas as pd

SIZES = (25, 50, 100)
"""Rows a page may have."""


@dataclass(frozen=True)
class View:
    """What is looked at.

    Attributes
    ----------
    chosen : Slice
    order : Sort
    page : int
        From 0.
    size : int
        Rows a page, one of `SIZES`.
    selected : frozenset of int
        Places of rows.
    opened : int or None
        Place of the row whose details are shown.
    """

    chosen: Slice = field(default_factory=Slice)
    order: Sort = field(default_factory=Sort)
    page: int = 0
    size: int = SIZES[0]
    selected: frozenset[int] = frozenset()
    opened: int | None = None


class Inspector:
    """The Python side of the inspection panel: it and the page look at the same rows.

    Examples
    --------
    >>> panel.selection  # the rows selected on the page, else all of the slice  # doctest: +SKIP
    >>> panel.look(contains="never", right=False)  # doctest: +SKIP
    >>> panel.freeze("table")  # doctest: +SKIP
    """

    def __init__(self, inspection: Inspection, evaluation: Evaluation | None = None):
        self.inspection = inspection
        self.evaluation = evaluation
        self.view = View()
        self._found: tuple[Any, np.ndarray] | None = None
        self.on_change: list[Any] = []

    @property
    def title(self) -> tuple[str, str]:
        """Names of the run (or model) and of the data."""
        spec = self.inspection.folder.spec
        assert isinstance(spec, EvaluateSpec)
        model = Path(spec.model.source).name if spec.model.kind == "folder" else spec.model.source
        data = Path(spec.data.source).name if spec.data.kind == "file" else spec.data.source
        return Path(spec.run).name if spec.run else model, data

    @property
    def found(self) -> np.ndarray:
        """Places of the slice's rows in their order; found anew when slice, order or notes have changed."""
        view = self.view
        key = (view.chosen.model_dump_json(), view.order, self.inspection.notes.stamp if view.chosen.noted else None)
        if self._found is None or self._found[0] != key:
            self._found = key, self.inspection.find(view.chosen, view.order)
        return self._found[1]

    @property
    def pages(self) -> int:
        """Pages that the slice has, at least one."""
        return max(1, -(-len(self.found) // self.view.size))

    @property
    def on_page(self) -> np.ndarray:
        """Places of the rows on the page that is shown."""
        start = self.view.page * self.view.size
        return self.found[start : start + self.view.size]

    @property
    def selection(self) -> pd.DataFrame:
        """The rows selected on the page, in the table's order; if none is, all rows of the slice. See `Inspection.frame`."""
        return self.inspection.frame(self._selected_or_all())

    def look(self, order: Sort | None = None, *, page: int = 0, size: int | None = None, **conditions: Any) -> Inspector:
        """Look at the rows that meet `conditions`, those of `Slice`, and show them on the page too.

        Raises
        ------
        SpecError
            If a condition, label or group is none that there is.
        """
        unknown = [name for name in conditions if name not in Slice.model_fields]
        if unknown:
            known = list(Slice.model_fields)
            raise SpecError("inspect.condition", name=unknown[0], known=", ".join(known), hint=did_you_mean(unknown[0], known))
        chosen = Slice(**conditions)
        order = order or (Sort(by="similarity") if chosen.near is not None else self.view.order)
        self.show(chosen, order, page=page, size=size or self.view.size)
        for tell in self.on_change:
            tell()
        return self

    def show(self, chosen: Slice, order: Sort, *, page: int, size: int) -> None:
        """Look at this page of this slice; a page beyond the last is the last."""
        before = self.view
        self.view = replace(before, chosen=chosen, order=order, page=0, size=size if size in SIZES else SIZES[0])
        try:
            self.view = replace(self.view, page=min(max(0, page), self.pages - 1))
        except BaseException:
            self.view = before
            raise

    def open(self, place: int | None) -> None:
        """Show the details of one row, or of none."""
        inside = place is not None and 0 <= place < len(self.inspection)
        self.view = replace(self.view, opened=place if inside else None)

    def select(self, places: Iterable[int], *, on: bool) -> None:
        """Select rows, or take them out of the selection."""
        inside = {place for place in places if 0 <= place < len(self.inspection)}
        selected = self.view.selected | inside if on else self.view.selected - inside
        self.view = replace(self.view, selected=frozenset(selected))

    def clear_selection(self) -> None:
        """Select nothing."""
        self.view = replace(self.view, selected=frozenset())

    def freeze(self, what: str = "slice") -> Card:
        """A view as it is now, as a value that a saved notebook keeps.

        Parameters
        ----------
        what : str
            ``slice`` (its conditions and statistics), ``confusion`` (the matrix as a picture), or ``table`` (the page of rows
            that is shown: texts of the data then stand in the notebook).

        Raises
        ------
        SpecError
            If `what` is none of these.
        """
        if what not in cards.MAKERS:
            known = list(cards.MAKERS)
            raise SpecError("inspect.view", name=what, known=", ".join(known), hint=did_you_mean(what, known))
        return cards.MAKERS[what](self)

    def _selected_or_all(self) -> np.ndarray:
        found = self.found
        if not self.view.selected:
            return found
        chosen = np.array(sorted(self.view.selected), np.int64)
        inside = found[np.isin(found, chosen)]
        return np.concatenate([inside, chosen[~np.isin(chosen, inside)]])

    def _repr_html_(self) -> str:
        return cards.twin(self).html

    def __repr__(self) -> str:
        return cards.twin(self).text
