"""Views of the inspection made static: they name their slice, and hold texts of the data only where that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.figures import confusion
from fm_notebook.panels import evaluation, markup
from fm_notebook.panels.inspect import page
from fm_notebook.panels.runs.table import columns, words_table
from fm_notebook.session.inspection.slices import Slice

if TYPE_CHECKING:
    import numpy as np

    from fm_notebook.panels.inspect.inspector import Inspector

MOST_CELLS = 200


@dataclass(frozen=True)
class Card:
    """A static view in HTML and in plain text."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def of_slice(inspector: Inspector) -> Card:
    """What the slice is, and how right the model is on it against the rest."""
    facts, notes = page.facts(inspector), page.notes(inspector)
    html = _head(inspector) + markup.pairs(facts) + markup.bullets(notes)
    lines = [*_lines(inspector), *(f"  {name}: {value}" for name, value in facts), *(f"  {note}" for note in notes)]
    return Card(html, "\n".join(lines))


def of_confusion(inspector: Inspector) -> Card:
    """The confusion matrix of the slice, without its own conditions on true and predicted label."""
    inspection = inspector.inspection
    counts = page.confusion(inspector)
    found = confusion.confusion(counts.tolist(), inspection.labels)
    told = words_table(*_cells(counts, inspection.labels))
    html = _head(inspector, without=("true", "predicted")) + (markup.image(found) or markup.paragraph(page.word("no_rows")))
    rows = [
        ["", *inspection.labels],
        *([label, *map(str, row)] for label, row in zip(inspection.labels, counts.tolist(), strict=True)),
    ]
    lines = [*_lines(inspector, without=("true", "predicted")), columns(rows) if len(rows) <= confusion.MOST_CLASSES else ""]
    return Card(html + markup.details(page.word("as_table"), told), "\n".join(lines))


def of_table(inspector: Inspector) -> Card:
    """The page of rows that is shown, texts included."""
    heads = [each["title"] for each in page.heads(inspector.inspection)]
    rows = [page.plain_cells(inspector, place) for place in inspector.on_page.tolist()]
    shown = _shown(inspector)
    html = _head(inspector) + words_table(heads, rows, shown)
    return Card(html, "\n".join([*_lines(inspector), shown, columns([heads, *rows]) if rows else ""]))


def twin(inspector: Inspector) -> Card:
    """What a saved notebook keeps of the panel: what was looked at, its numbers, the confusion matrix; no row of the data."""
    first, second = of_slice(inspector), of_confusion(inspector)
    notices = evaluation.notices(inspector.evaluation) if inspector.evaluation else []
    picture = second.html.removeprefix(_head(inspector, without=("true", "predicted")))
    return Card(first.html + markup.bullets(notices) + picture, "\n".join([first.text, *notices]))


MAKERS: Mapping[str, Callable[[Inspector], Card]] = {"slice": of_slice, "confusion": of_confusion, "table": of_table}


def conditions(chosen: Slice, rows_of: Callable[[int], str]) -> list[str]:
    """The conditions of a slice in words, `rows_of` giving the name of a place."""
    say = messages.text
    found = [say("inspect_panel.condition.true", label=chosen.true)] if chosen.true is not None else []
    found += [say("inspect_panel.condition.predicted", label=chosen.predicted)] if chosen.predicted is not None else []
    found += [page.word("right" if chosen.right else "wrong")] if chosen.right is not None else []
    found += [say("inspect_panel.condition.contains", text=chosen.contains.strip())] if chosen.contains.strip() else []
    found += [f"{name} = {page.word('missing') if value is None else value}" for name, value in chosen.groups.items()]
    if chosen.shortest is not None:
        found.append(say("inspect_panel.condition.shortest", n=f"{chosen.shortest:,}"))
    if chosen.longest is not None:
        found.append(say("inspect_panel.condition.longest", n=f"{chosen.longest:,}"))
    found += [page.word("suspects")] if chosen.suspects else []
    found += [page.word("noted")] if chosen.noted else []
    found += [say("inspect_panel.condition.near", row=rows_of(chosen.near))] if chosen.near is not None else []
    return found


def described(inspector: Inspector, without: tuple[str, ...] = ()) -> str:
    """The slice on one line."""
    rows = inspector.inspection.rows
    found = conditions(inspector.view.chosen.lifted(*without), lambda place: str(rows[place]))
    return " · ".join(found) or page.word("all_rows")


def _shown(inspector: Inspector) -> str:
    start, n = inspector.view.page * inspector.view.size, len(inspector.found)
    shown = f"{min(start + 1, n):,}–{start + len(inspector.on_page):,}"
    return messages.text("inspect_panel.shown", shown=shown, n=f"{n:,}")


def _title(inspector: Inspector) -> str:
    model, data = inspector.title
    return messages.text("inspect_panel.title", model=model, data=data)


def _head(inspector: Inspector, without: tuple[str, ...] = ()) -> str:
    return markup.paragraph(described(inspector, without), strong=_title(inspector))


def _lines(inspector: Inspector, without: tuple[str, ...] = ()) -> list[str]:
    return [f"{_title(inspector)} · {described(inspector, without)}"]


def _cells(counts: np.ndarray, labels: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The cells that have rows, most rows first, as a table for those who cannot see the picture."""
    cells = sorted(
        ((int(counts[i, j]), int(i), int(j)) for i, j in zip(*counts.nonzero(), strict=True)), key=lambda cell: -cell[0]
    )
    heads = [page.word(name) for name in ("true", "predicted", "rows")]
    return heads, [[labels[i], labels[j], f"{n:,}"] for n, i, j in cells[:MOST_CELLS]]
