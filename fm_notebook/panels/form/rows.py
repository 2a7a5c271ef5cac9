"""A look at the rows that a form names: whether its columns are there, a few of them, and how often each label stands in them.

What is shown of rows goes to the page that asked and is kept nowhere.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.errors import Fault, FMError
from fm_notebook.magics import tables
from fm_notebook.session.given import Assigned, Fields
from fm_notebook.tasks import tasks

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = ("train", "eval")
SHOWN_ROWS, SHOWN_LABELS, HEAD = 5, 12, 200
_MOST_COLUMNS, _MOST_LETTERS = 20, 160


@dataclass(frozen=True)
class Preview:
    """A few rows, and the balance of labels.

    Attributes
    ----------
    rows : int
        Number of all rows.
    columns : list of str
    cells : list of list of str
        The first rows, each value cut to be read at a glance.
    balance : list of (label, count, share)
        The most frequent labels, share from 0 to 1 of all labels; empty if there is no such column.
    others : int
        Number of labels that are not shown.
    """

    field: str
    source: str
    rows: int
    columns: list[str]
    cells: list[list[str]]
    balance: list[tuple[str, int, float]]
    others: int

    def to_json(self) -> dict[str, object]:
        """For the page."""
        return asdict(self)


def faults(spec: FinetuneSpec, given: Fields, sources: Mapping[str, str], namespace: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with the rows that can be told from their head: kinds of values, and columns that are not there.

    In the words of the cell. Files and hub ids are not read; of expressions that are not evaluated yet only columns are known.
    """
    lines = {name: each.line for name, each in given.items() if each.line is not None}
    found: list[Fault] = []
    for field in ROWS:
        if field in given and given[field].value is not None:
            try:
                table = _head(given[field], field) or _empty(tables.of_source(sources.get(field, ""), namespace))
                _check_columns(table, spec, field, lines)
            except FMError as error:
                found += error.faults
    return found


def preview(given: Assigned, field: str, label: str) -> Preview:
    """The first rows of `given`, and how often each value of the column `label` stands in all of them.

    Raises
    ------
    FMError
        If it cannot be read as rows.
    """
    from fm_notebook.data.sources import read

    head = _head(given, field)
    if head is None:  # a file or a sample is read whole, once for this look
        head, _ = read(given.value, source=given.reference, field=field, line=given.line)
        column, rows = (head[label].to_pylist() if label in head.column_names else []), head.num_rows
    else:
        column, rows = _column(given.value, label), len(given.value)
    shown = head.slice(0, SHOWN_ROWS).select(head.column_names[:_MOST_COLUMNS])
    cells = [[_short(value) for value in row.values()] for row in shown.to_pylist()]
    counts = Counter(_labels(column))
    top = [(_short(name), n, n / counts.total()) for name, n in counts.most_common(SHOWN_LABELS)]
    return Preview(field, given.reference, rows, list(shown.column_names), cells, top, len(counts) - len(top))


def _head(given: Assigned, field: str) -> pa.Table | None:
    """The first rows of what lives in the notebook; None for what has to be read first.

    Raises
    ------
    FMError
        If it is neither.
    """
    from fm_notebook.data.values import from_value

    value = given.value
    if isinstance(value, str) or hasattr(value, "__fspath__"):
        return None
    head: Any = value
    if isinstance(value, Sequence):
        head = value[:HEAD]
    elif hasattr(value, "select") and hasattr(value, "features"):  # datasets
        head = value.select(range(min(HEAD, len(value))))
    elif hasattr(value, "slice"):  # Arrow, polars
        head = value.slice(0, HEAD)
    elif hasattr(value, "head"):
        head = value.head(HEAD)
    return from_value(head, field=field, line=given.line)


def _empty(columns: Iterable[str]) -> pa.Table | None:
    """One row without values, of these columns; None if there are none."""
    import pyarrow as pa

    names = list(columns)
    return pa.table({name: pa.nulls(1) for name in names}) if names else None


def _check_columns(table: pa.Table | None, spec: FinetuneSpec, field: str, lines: Mapping[str, int]) -> None:
    from fm_notebook.data.columns import chosen

    if table is not None:
        chosen(table, tasks[spec.task].reading(spec).among(table.column_names), field, lines)


def _column(value: Any, label: str) -> Iterable[Any]:
    """All values of one column, without copying the others; nothing if it is not there."""
    with suppress(Exception):  # the user's own object
        if isinstance(value, Mapping):
            return value[label]
        if isinstance(value, Sequence):
            return [row.get(label) for row in value]
        if hasattr(value, "features"):
            return value.select_columns([label]).with_format(None)[:][label] if label in value.features else []
        if "pandas" in sys.modules and isinstance(value, sys.modules["pandas"].DataFrame):
            return value[label].dropna().tolist() if label in value.columns else []
        return value[label].to_list() if hasattr(value[label], "to_list") else value[label].to_pylist()
    return []


def _labels(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from (str(each) for each in value)
        elif value is not None:
            yield str(value)


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"
