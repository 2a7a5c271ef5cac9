"""What the page of the items panel is sent: words and rounded numbers, and of the items those of one page alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fm_notebook import messages
from fm_notebook.contracts.probe_reports import ProbeReport
from fm_notebook.contracts.probing import VALUE
from fm_notebook.panels import probe_report, text
from fm_notebook.panels.probe_items import opened
from fm_notebook.panels.probe_items.words import column, outcome, word
from fm_notebook.session.inspection.scored_items import ItemOrder, ItemSlice, ScoredItems

SIZES = (25, 50, 100)
LONGEST_CELL = 280
MOST_TEXTS = 2
"""Of an item's texts that the list shows, side by side."""


@dataclass
class View:
    """What is looked at of the items of `report`: all pages of the browser show the same.

    Attributes
    ----------
    opened : int or None
        Place of the item whose details are shown.
    """

    report: ProbeReport
    items: ScoredItems
    chosen: ItemSlice = field(default_factory=ItemSlice)
    order: ItemOrder = field(default_factory=ItemOrder)
    page: int = 0
    size: int = SIZES[0]
    opened: int | None = None
    _found: tuple[Any, np.ndarray] | None = None

    @property
    def found(self) -> np.ndarray:
        """Places of the slice's items in their order; found anew when slice or order have changed."""
        key = (self.chosen, self.order)
        if self._found is None or self._found[0] != key:
            self._found = key, self.items.find(*key)
        return self._found[1]

    @property
    def pages(self) -> int:
        """Pages that the slice has, at least one."""
        return max(1, -(-len(self.found) // self.size))

    def look(self, chosen: ItemSlice, order: ItemOrder, page: int, size: int) -> None:
        """Look at this page of this slice; a page beyond the last is the last."""
        self.chosen, self.order, self.size = chosen, order, size if size in SIZES else SIZES[0]
        self.page = min(max(0, page), self.pages - 1)

    def open(self, place: int | None) -> None:
        """Show the details of one item, or of none."""
        self.opened = place if place is not None and 0 <= place < len(self.items) else None


def about(view: View) -> dict[str, Any]:
    """What does not change while the panel is open: title, axes, outcomes, columns; no item."""
    items, report = view.items, view.report
    outcomes = items.counts(items.outcomes)
    variant = f" ({report.variant})" if report.variant else ""
    return {
        "title": messages.text("probe_report.title", probe=report.probe + variant, model=report.run or report.model),
        "total": len(items), "sizes": list(SIZES),
        "axes": [{"value": name, "title": f"{name or word('no_axis')} ({n:,})"} for name, n in items.counts(items.axes).items()],
        "outcomes": [{"value": name, "title": f"{outcome(name, report.probe)} ({n:,})"} for name, n in sorted(outcomes.items())],
        "heads": _heads(view), "hint": _hint(view),
    }  # fmt: skip


def shown(view: View) -> dict[str, Any]:
    """The view with its page of items."""
    start = view.page * view.size
    places = view.found[start : start + view.size].tolist()
    rows = [_row(view, place, row) for place, row in zip(places, view.items.rows(places), strict=True)]
    return {
        "slice": view.chosen.model_dump(), "sort": view.order.model_dump(), "page": view.page, "pages": view.pages,
        "size": view.size, "n": len(view.found), "rows": rows, "opened": details(view),
    }  # fmt: skip


def details(view: View) -> dict[str, Any] | None:
    """All that is known of the item that is open."""
    if view.opened is None:
        return None
    row, place = view.items.row(view.opened), view.opened
    said = outcome(view.items.outcomes[place], view.report.probe)
    return {
        "at": place, "title": word("item_title", item=f"{place + 1:,}"), "id": str(row["id"]),
        "badges": [said, *([view.items.axes[place]] if view.items.axes[place] else [])],
        "value": opened.signed(row.get(VALUE)), "value_title": column(VALUE),
        "texts": opened.texts(row, view.items.texts), "coloured": opened.coloured(row, view.items.texts),
        "facts": opened.facts(row, view.items.texts),
    }  # fmt: skip


def _heads(view: View) -> list[dict[str, Any]]:
    """The table's columns: what each is sorted by (empty: by nothing), its title, and whether it holds numbers."""
    texts = [{"by": "", "title": column(name), "number": False, "text": True} for name in view.items.texts[:MOST_TEXTS]]
    found = [{"by": "item", "title": word("item"), "number": True}, *texts]
    found.append({"by": "axis", "title": column("axis"), "number": False})
    found.append({"by": "", "title": column("outcome"), "number": False})
    numbers = [("value", column(VALUE)), ("strength", word("strength"))]
    return [*found, *({"by": by, "title": title, "number": True} for by, title in numbers)]


def _row(view: View, place: int, row: dict[str, Any]) -> dict[str, Any]:
    texts = [_cut(str(row[name] or "")) for name in view.items.texts[:MOST_TEXTS]]
    value = row.get(VALUE)
    strength = "–" if value is None or np.isnan(value) else text.score(abs(value))
    said = outcome(view.items.outcomes[place], view.report.probe)
    return {"at": place, "cells": [f"{place + 1:,}", *texts, view.items.axes[place], said, opened.signed(value), strength]}


def _hint(view: View) -> str:
    """What an item's number is, where the catalogue says it; and that a single item shows nothing."""
    key = f"probe_items.{view.report.probe}.value"
    own = messages.text(key) if messages.has(key) else word("value_means")
    return f"{own} {word('single')}"


def _cut(whole: str) -> str:
    return whole if len(whole) <= LONGEST_CELL else whole[: LONGEST_CELL - 1] + "…"


def twin(view: View) -> tuple[str, list[str]]:
    """What a saved notebook keeps of the panel: title, and the headline of the report; no item."""
    title = word("twin", title=about(view)["title"], n=f"{len(view.items):,}")
    return title, probe_report.headline(view.report)
