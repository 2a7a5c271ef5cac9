"""The user's columns by their roles, and the texts in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fm_notebook.data.reading import Reading
from fm_notebook.data.wording import listed, shown
from fm_notebook.errors import DataError, did_you_mean
from fm_notebook.messages import text as message


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows come from, for errors: the `field`, the user's `columns` by role, `lines` by field, and the user's `table`."""

    field: str
    columns: Mapping[str, str]
    lines: Mapping[str, int]
    table: pa.Table

    def line(self, role: str = "") -> int | None:
        """Line of the cell that named the column, or else the rows."""
        return self.lines.get(role, self.lines.get(self.field))

    def told(self, role: str, **values: object) -> dict[str, Any]:
        """What an error about a column names: line, field, role and column, and `values`."""
        return {"line": self.line(role), "field": self.field, "role": role, "column": shown(self.columns[role]), **values}


def chosen(table: pa.Table, reading: Reading, field: str, lines: Mapping[str, int] | None = None) -> tuple[pa.Table, Place]:
    """The columns that `reading` asks for, named by their roles; dictionaries are one throughout.

    Raises
    ------
    DataError
        If a column is not there, or the table is empty.
    """
    place = Place(field, reading.columns, lines or {}, table)
    if not table.num_rows:
        raise DataError("data.empty", line=place.line(), field=field, source=field)
    for role, name in place.columns.items():
        if name not in table.column_names:
            raise _unknown(table, name, role, place)
    columns = {role: _without_views(table[name]) for role, name in place.columns.items()}
    return pa.table(columns).unify_dictionaries(), place


def check_text(table: pa.Table, role: str, place: Place) -> None:
    """Refuse a column that holds no text.

    Raises
    ------
    DataError
        If its type is another.
    """
    kind = value_type(table.schema.field(role).type)
    if is_text(kind) or pa.types.is_null(kind):
        return
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)
    key = "data.text.numbers" if numeric else "data.text.kind"
    raise DataError(key, **place.told(role, kind=str(kind), hint=_looks_like(place.table, "text")))


def as_text(array: pa.Array) -> pa.Array:
    """Text of any storage as large string."""
    return array.cast(value_type(array.type)).cast(pa.large_string())  # Arrow has no way straight from a dictionary


def has_text(array: pa.Array) -> np.ndarray:
    """Where `array` (large string) is not null and more than white space, shape ``(N,)``."""
    trimmed = pc.call_function("utf8_trim_whitespace", [array])
    return np.asarray(pc.call_function("binary_length", [trimmed]).fill_null(0)) > 0


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values of a dictionary, or the type itself."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _without_views(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text views as text: Arrow can neither filter nor split them."""
    kind = column.type
    if pa.types.is_string_view(kind):
        return column.cast(pa.large_string())
    if pa.types.is_list(kind) and pa.types.is_string_view(kind.value_type):
        return column.cast(pa.list_(pa.large_string()))
    if pa.types.is_large_list(kind) and pa.types.is_string_view(kind.value_type):
        return column.cast(pa.large_list(pa.large_string()))
    return column


def _unknown(table: pa.Table, name: str, role: str, place: Place) -> DataError:
    hint = did_you_mean(name, [shown(known) for known in table.column_names]) or _looks_like(table, role)
    return DataError("data.column.unknown", **place.told(role, known=listed(table.column_names), hint=hint))


def _looks_like(table: pa.Table, role: str) -> str:
    """A hint that names the columns which could be meant: text that is mostly different, or few values often repeated."""
    sample = table.slice(0, 1000)
    numbers = {name: len(sample[name].unique()) for name in sample.column_names if _countable(sample[name].type)}
    if role == "label":
        fitting = [name for name, n in numbers.items() if 2 <= n <= max(2, sample.num_rows // 5)]
    else:
        fitting = [name for name, n in numbers.items() if is_text(value_type(sample[name].type)) and n > sample.num_rows // 2]
    return message(f"error.data.looks_like.{'label' if role == 'label' else 'text'}", names=listed(fitting, 5)) if fitting else ""


def _countable(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
