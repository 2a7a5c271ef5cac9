"""Groups whose values the user gave beside the rows, such as ``frame.age < 30``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from fm_notebook.data.values import from_value
from fm_notebook.errors import DataError


def with_given(table: pa.Table, given: Mapping[str, Any], data: object, line: int | None = None) -> pa.Table:
    """`table` with a column for each of `given`, in place of one of that name.

    Parameters
    ----------
    table : pyarrow.Table
        The user's rows, N of them.
    given : mapping
        By name, one value for each row: a Series, an array or a list, shape ``(N,)``. A pandas Series whose index is not that
        of the frame is aligned by index, as pandas would.
    data : object
        What the table was read from.
    line : int, optional
        Line of the cell, for errors.

    Raises
    ------
    DataError
        If there are more values or fewer, or an index does not fit.
    """
    for name, values in given.items():
        column = from_value({name: _aligned(name, values, data, line)}, field="by", line=line)
        if column.num_rows != table.num_rows:
            raise DataError("groups.lengths", line=line, name=name, found=column.num_rows, expected=table.num_rows)
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.append_column(column.schema.field(0), column[0])
    return table


def _aligned(name: str, values: Any, data: Any, line: int | None) -> Any:
    """A Series of a whole frame picked for the rows of a part of it: by position every row would get another's value."""
    theirs, own = getattr(data, "index", None), getattr(values, "index", None)
    if not (hasattr(values, "reindex") and hasattr(data, "columns")) or own is None or own.equals(theirs):
        return values
    if not own.is_unique or not theirs.isin(own).all():  # pyright: ignore[reportOptionalMemberAccess]
        key = "groups.index" if len(values) == len(data) else "groups.lengths"
        raise DataError(key, line=line, name=name, found=len(values), expected=len(data))
    return values.reindex(theirs)
