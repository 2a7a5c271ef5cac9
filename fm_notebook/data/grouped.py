"""Columns that tell groups of rows apart, kept beside the canonical ones. A crossing of them is written ``gender*region``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from fm_notebook.data.columns import is_text, value_type
from fm_notebook.data.derived_groups import DERIVED, derived, is_derived
from fm_notebook.data.wording import listed, shown
from fm_notebook.errors import DataError, did_you_mean

PREFIX = "by."
"""Stands before the user's name of a group's column, which may be called like a canonical one."""
_TEXTS = ("text", "text_pair", "prompt", "completion")


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


def kept(
    table: pa.Table, names: Sequence[str], field: str, lines: Mapping[str, int] | None = None, *, texts: pa.Table | None = None
) -> pa.Table:
    """The columns `names` of the user's `table`, one value a row; missing ones (null, NaN) are null.

    A name such as ``mentions:gender`` that is no column's is a group made of the `texts`, the columns of the rows by role.

    Raises
    ------
    DataError
        If one is not there, or holds lists or the like.
    """
    lines = lines or {}
    line = lines.get("by", lines.get(field))
    found = {}
    for name in names:
        if name not in table.column_names and is_derived(name):
            found[PREFIX + name] = _derived(name, texts, line)
            continue
        if name not in table.column_names:
            known, argument = listed(table.column_names), name.partition(":")[2]
            hint = did_you_mean(name, [*table.column_names, *(f"{kind}:{argument}" if argument else kind for kind in DERIVED)])
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


def _derived(name: str, texts: pa.Table | None, line: int | None) -> pa.Array:
    rows = pa.table({}) if texts is None else texts
    columns = [_texts(rows, role) for role in rows.column_names if role in _TEXTS]
    try:
        return derived(name, columns or [_no_texts(rows.num_rows)])
    except DataError as error:
        raise DataError(faults=[replace(fault, line=fault.line or line) for fault in error.faults]) from error


def _texts(table: pa.Table, role: str) -> pa.ChunkedArray:
    """The column as large strings; what is no text is missing here, and refused where the column itself is looked at."""
    column, kind = table[role], value_type(table.schema.field(role).type)
    return column.cast(kind).cast(pa.large_string()) if is_text(kind) else _no_texts(len(column))


def _no_texts(n: int) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(n, pa.large_string())])


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(column.type):
        return column.cast(pa.large_string()) if is_text(column.type) else column
    missing = pc.call_function("is_nan", [column]).fill_null(True)
    column = pc.call_function("if_else", [missing, pa.scalar(None, column.type), column])
    whole = pc.call_function("all", [pc.call_function("equal", [column, pc.call_function("round", [column])])]).as_py()
    return column.cast(pa.int64()) if whole else column  # pandas makes 1 and a missing value 1.0 and NaN
