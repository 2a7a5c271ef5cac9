"""Columns that tell groups of rows apart, kept beside the canonical ones. A crossing of them is written ``gender*region``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fm_notebook.data.columns import is_text, value_type
from fm_notebook.data.wording import listed, shown
from fm_notebook.errors import DataError, did_you_mean

PREFIX = "by."
"""Stands before the user's name of a group's column, which may be called like a canonical one."""


def columns_of(by: Iterable[str]) -> tuple[str, ...]:
    """The columns that the groupings `by` are made of, each once.

    Examples
    --------
    >>> columns_of(["gender", "gender * region"])
    ('gender', 'region')
    """
    return tuple(dict.fromkeys(name for each in by for name in crossed(each)))


def crossed(grouping: str) -> list[str]:
    """The columns that one grouping crosses."""
    return [name.strip() for name in grouping.split("*")]


def kept(table: pa.Table, names: Sequence[str], field: str, lines: Mapping[str, int] | None = None) -> pa.Table:
    """The columns `names` of the user's `table`, one value a row; missing ones (null, NaN) are null.

    Raises
    ------
    DataError
        If one is not there, or holds lists or the like.
    """
    lines = lines or {}
    line = lines.get("by", lines.get(field))
    found = {}
    for name in names:
        if name not in table.column_names:
            known = listed(table.column_names)
            hint = did_you_mean(name, table.column_names)
            raise DataError("data.group.unknown", line=line, field=field, column=shown(name), known=known, hint=hint)
        column, kind = table[name], value_type(table.schema.field(name).type)
        if pa.types.is_nested(kind):
            raise DataError("data.group.kind", line=line, field=field, column=shown(name), kind=str(kind))
        found[PREFIX + name] = _plain(column.cast(kind))
    return pa.table(found)


def with_groups(rows: pa.RecordBatch, groups: pa.Table) -> pa.RecordBatch:
    """`rows` with the groups of each, found by its ``row``."""
    for name in groups.column_names:
        rows = rows.append_column(name, groups[name].take(rows["row"]).combine_chunks())
    return rows


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(column.type):
        return column.cast(pa.large_string()) if is_text(column.type) else column
    missing = pc.call_function("is_nan", [column]).fill_null(True)
    column = pc.call_function("if_else", [missing, pa.scalar(None, column.type), column])
    whole = pc.call_function("all", [pc.call_function("equal", [column, pc.call_function("round", [column])])]).as_py()
    return column.cast(pa.int64()) if whole else column  # pandas makes 1 and a missing value 1.0 and NaN
