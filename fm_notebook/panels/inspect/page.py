"""What the page of the inspection panel is sent: words and rounded numbers, and of the rows those of one page alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fm_notebook import messages
from fm_notebook.data.grouped import PREFIX
from fm_notebook.panels import text
from fm_notebook.session.inspection.inspection import NEIGHBOURS, Inspection

if TYPE_CHECKING:
    from fm_notebook.panels.inspect.inspector import Inspector

LONGEST_CELL = 280
"""Characters of a text in the table."""
LONGEST_TEXT = 20_000
"""Characters of a text in the details."""
MOST_CHANCES = 12
NUMBERS = ("loss", "confidence", "margin", "length")


def word(name: str) -> str:
    """One of the panel's words in the reader's language."""
    return messages.text(f"inspect_panel.{name}")


def heads(inspection: Inspection) -> list[dict[str, Any]]:
    """The table's columns: what each is sorted by (empty: by nothing), its title, and whether it holds numbers."""
    named = [("row", "row", True), ("", "text", False), ("true", "true", False), ("predicted", "predicted", False)]
    found = [{"by": by, "title": word(title), "number": number} for by, title, number in named]
    found += [{"by": name, "title": word(name), "number": True} for name in NUMBERS]
    return found + [{"by": PREFIX + name, "title": name, "number": False} for name in inspection.groups]


def about(inspector: Inspector) -> dict[str, Any]:
    """What does not change while the panel is open: title, labels, groups, columns."""
    inspection, (model, data) = inspector.inspection, inspector.title
    return {
        "title": messages.text("inspect_panel.title", model=model, data=data),
        "labels": list(inspection.labels),
        "groups": [_groups(name, inspection) for name in inspection.groups],
        "heads": heads(inspection),
        "total": len(inspection),
    }


def _groups(name: str, inspection: Inspection) -> dict[str, Any]:
    each = inspection.groups[name]
    rows = zip(each.groups, each.sizes.tolist(), strict=True)
    return {"name": name, "groups": [{"value": value, "title": f"{_group(value)} ({n:,})"} for (value,), n in rows]}


def shown(inspector: Inspector) -> dict[str, Any]:
    """The view with its page of rows."""
    view = inspector.view
    rows = [_row(inspector, place, *each) for place, *each in _of_page(inspector)]
    return {
        "slice": view.chosen.model_dump(), "sort": view.order.model_dump(), "page": view.page, "pages": inspector.pages,
        "size": view.size, "n": len(inspector.found), "rows": rows, "facts": facts(inspector), "notes": notes(inspector),
        "confusion": _matrix(inspector), "selected": len(view.selected), "opened": opened(inspector),
        "near": _name(inspector, view.chosen.near),
    }  # fmt: skip


def confusion(inspector: Inspector) -> np.ndarray:
    """Counts of the slice without its conditions on true and predicted label, so that every cell stays a way on."""
    chosen = inspector.view.chosen
    if chosen.true is None and chosen.predicted is None:
        return inspector.inspection.confusion(inspector.found)
    mask = inspector.inspection.mask(chosen.lifted("true", "predicted"))
    every = np.arange(len(inspector.inspection)) if mask is None else np.flatnonzero(mask)
    return inspector.inspection.confusion(every)


def _matrix(inspector: Inspector) -> dict[str, Any]:
    from fm_notebook.figures.confusion import most_confused

    counts = confusion(inspector)
    classes = most_confused(counts)  # type: ignore[arg-type]
    some = counts[np.ix_(classes, classes)]
    return {"classes": classes, "counts": some.tolist(), "left_out": len(counts) - len(classes)}


def facts(inspector: Inspector) -> list[tuple[str, str]]:
    """Rows, accuracy against that of the rest, mean loss; a score never without its interval."""
    told = inspector.inspection.statistics(inspector.found)
    found = [(word("rows"), f"{told.n:,}")]
    if told.n:
        found.append((word("mean_loss"), text.score(told.mean_loss)))
    if told.n and not inspector.view.chosen.is_by_outcome:
        found.append((word("accuracy"), _with_interval(told.right / told.n, told.accuracy)))
        if told.difference is not None:
            gap = told.right / told.n - told.rest_right / told.rest_n
            found.append((word("rest"), _with_interval(told.rest_right / told.rest_n, told.rest_accuracy)))
            found.append((word("difference"), f"{gap:+.3f} ({_signed(told.difference)})"))
    return found


def notes(inspector: Inspector) -> list[str]:
    """What must be known to read the numbers."""
    chosen, evaluation = inspector.view.chosen, inspector.evaluation
    found = [word("by_outcome")] if chosen.is_by_outcome else []
    if chosen.suspects:
        found.append(word("suspects_note"))
        if evaluation is not None and evaluation.trained_rows:
            found.append(messages.text("inspect_panel.suspects_trained", rows=f"{evaluation.trained_rows:,}"))
    if chosen.near is not None:
        found.append(messages.text("inspect_panel.near_note", n=NEIGHBOURS))
    if not found and len(inspector.found) < len(inspector.inspection):
        found.append(word("explored"))
    return found


def opened(inspector: Inspector) -> dict[str, Any] | None:
    """All that is known of the row that is open."""
    place = inspector.view.opened
    if place is None:
        return None
    inspection = inspector.inspection
    chances = inspection.probabilities[place]
    truth, said = int(inspection.given.truth[place]), int(inspection.given.predicted[place])
    likeliest = np.argsort(-chances, kind="stable")[:MOST_CHANCES].tolist()
    likeliest += [] if truth in likeliest else [truth]
    numbers = [(word(name), _cell(inspection, name, place)) for name in NUMBERS]
    groups = [(name, _group(inspection.group_of(name, np.array([place]))[0])) for name in inspection.groups]
    return {
        "at": place, "title": messages.text("inspect_panel.row_title", row=f"{inspection.rows[place]}"),
        "texts": [each[:LONGEST_TEXT] for each in inspection.text_at(place)],
        "true": inspection.labels[truth], "predicted": inspection.labels[said], "right": truth == said,
        "chances": [{"label": inspection.labels[i], "value": float(chances[i]), "text": text.score(float(chances[i])),
                     "true": i == truth, "predicted": i == said} for i in likeliest],
        "facts": [*numbers, *groups], "note": inspection.notes.of(inspection.hashes_of(np.array([place]))[0]),
        "suspect": place in _suspects(inspection, [place]),
    }  # fmt: skip


def plain_cells(inspector: Inspector, place: int) -> list[str]:
    """A row of the table as text, in the order of `heads`."""
    inspection = inspector.inspection
    labels = [inspection.labels[int(each[place])] for each in (inspection.given.truth, inspection.given.predicted)]
    groups = [_group(inspection.group_of(name, np.array([place]))[0]) for name in inspection.groups]
    return [_name(inspector, place), _brief(inspection, place), *labels,
            *(_cell(inspection, name, place) for name in NUMBERS), *groups]  # fmt: skip


def _of_page(inspector: Inspector) -> list[tuple[int, bool, bool]]:
    """Places of the page with whether each has a note and is a suspect."""
    inspection, places = inspector.inspection, inspector.on_page
    suspects = _suspects(inspection, places.tolist())
    hashes = inspection.hashes_of(places)
    return [
        (place, bool(inspection.notes.of(key)), place in suspects) for place, key in zip(places.tolist(), hashes, strict=True)
    ]


def _suspects(inspection: Inspection, places: list[int]) -> set[int]:
    return set(np.intersect1d(inspection.label_errors.suspects, places).tolist())


def _row(inspector: Inspector, place: int, noted: bool, suspect: bool) -> dict[str, Any]:
    inspection = inspector.inspection
    return {
        "at": place, "cells": plain_cells(inspector, place), "noted": noted, "suspect": suspect,
        "right": bool(inspection.given.right[place]), "selected": place in inspector.view.selected,
    }  # fmt: skip


def _brief(inspection: Inspection, place: int) -> str:
    whole = " ¶ ".join(inspection.text_at(place))
    return whole if len(whole) <= LONGEST_CELL else whole[: LONGEST_CELL - 1] + "…"


def _cell(inspection: Inspection, name: str, place: int) -> str:
    match name:
        case "length":
            return f"{int(inspection.length[place]):,}"
        case "margin":
            return f"{inspection.label_errors.margin[place]:+.3f}".replace("-", "−")
    return text.score(float(getattr(inspection, name)[place]))


def _name(inspector: Inspector, place: int | None) -> str:
    return "" if place is None else str(inspector.inspection.rows[place])


def _group(value: str | None) -> str:
    return word("missing") if value is None else value


def _with_interval(value: float, interval: Any) -> str:
    return f"{text.score(value)} ({text.interval(interval)})"


def _signed(interval: Any) -> str:
    return f"{interval.low:+.3f} – {interval.high:+.3f}".replace("-", "−")
