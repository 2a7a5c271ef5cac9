"""Rows that are already in memory: frames, datasets, lists and dicts."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from fm_notebook.data.lists import is_list, lists, ragged
from fm_notebook.data.wording import listed
from fm_notebook.errors import DataError


def from_value(value: Any, *, field: str, line: int | None = None) -> pa.Table:
    """The rows of a pandas, polars or Arrow table, a ``datasets.Dataset``, a list of dicts or a dict of lists.

    pandas and datasets are recognised without being imported: who has such a value has imported them. An index is dropped.
    Columns of mixed types become text.

    Raises
    ------
    DataError
        If `value` is none of these, or its columns differ in length or have equal names.
    """
    if _is(value, "pandas", "DataFrame"):
        table = _from_columns([str(name) for name in value.columns], (value.iloc[:, i] for i in range(value.shape[1])))
    elif _is(value, "datasets", "Dataset"):
        table = _from_dataset(value)
    elif _is(value, "datasets", "DatasetDict"):
        raise DataError("data.splits", line=line, field=field, splits=listed(list(value)), first=next(iter(value), "train"))
    elif isinstance(value, pa.Table):
        table = value
    elif _is(value, "pandas", "Series"):
        raise DataError("data.series", line=line, field=field)
    elif isinstance(value, Mapping) and value and all(_is_column(column) for column in value.values()):
        table = _from_mapping(value, field, line)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and all(isinstance(row, Mapping) for row in value):
        table = from_rows(value)
    else:
        table = _from_capsule(value, field, line)
    return unique_names(table, field, line)


def from_rows(rows: Sequence[Mapping[Any, Any]]) -> pa.Table:
    """A table of dicts whose keys may differ; a key that a row lacks is missing there. Columns stand in the order first met."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    return _from_columns([str(name) for name in names], ([row.get(name) for row in rows] for name in names))


def unique_names(table: pa.Table, field: str, line: int | None = None) -> pa.Table:
    """`table`, unless two of its columns have one name.

    Raises
    ------
    DataError
        If they have.
    """
    names = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError("data.same_names", line=line, field=field, names=listed(twice))
    return table


def with_label_names(table: pa.Table, names: Mapping[str, Sequence[str]]) -> pa.Table:
    """`table` with the class numbers of some columns replaced by their names, in that order (a dictionary type).

    A negative number means that there is no label: the convention of ``datasets`` for test sets.
    """
    for column, labels in names.items():
        position = table.schema.get_field_index(column)
        if position < 0:
            continue
        kind, dictionary = table.schema.types[position], pa.array(list(labels), pa.string())
        if pa.types.is_integer(kind):
            chunks = [_named(chunk, dictionary) for chunk in table.column(position).chunks]
        elif is_list(kind) and pa.types.is_integer(kind.value_type):
            parts = [(chunk, ragged(chunk)) for chunk in table.column(position).chunks]
            chunks = [lists(_named(part.values, dictionary), part.lengths, chunk.is_null()) for chunk, part in parts]
        else:
            continue
        table = table.set_column(position, column, pa.chunked_array(chunks))
    return table


def _named(codes: pa.Array, names: pa.Array) -> pa.Array:
    numbers = codes.fill_null(-1).to_numpy(zero_copy_only=False)
    indices = pa.array(numbers, pa.int32(), mask=(numbers < 0) | (numbers >= len(names)))
    return pa.DictionaryArray.from_arrays(indices, names)


def _is(value: object, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(value, kind)


def _is_column(value: object) -> bool:
    return isinstance(value, (list, tuple, pa.Array, pa.ChunkedArray)) or getattr(value, "ndim", None) == 1


def _from_columns(names: Sequence[str], columns: Iterable[Any]) -> pa.Table:
    found = [_array(name, column) for name, column in zip(names, columns, strict=True)]
    return pa.Table.from_arrays([array for _, array in found], schema=pa.schema([field for field, _ in found]))


def _array(name: str, column: Any) -> tuple[pa.Field, pa.Array | pa.ChunkedArray]:
    """A column as an array; of mixed types as text, marked where only some values are lists."""
    column = _with_named_bins(column)
    try:
        array = pa.array(column, from_pandas=True)
        return pa.field(name, array.type), array
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        values = list(column)
    mixed = {"mixed": "lists"} if any(_is_column(value) for value in values) else None
    texts = pa.array([None if _is_missing(value) else str(value) for value in values], pa.large_string())
    return pa.field(name, texts.type, metadata=mixed), texts


def _with_named_bins(column: Any) -> Any:
    """Intervals, such as ``pandas.cut`` makes, by their text: Arrow takes them for pairs of numbers."""
    categories = getattr(getattr(column, "dtype", None), "categories", None)
    if categories is not None and str(categories.dtype).startswith("interval"):
        return column.cat.rename_categories(categories.astype(str)) if hasattr(column, "cat") else column.astype(str)
    return column


def _is_missing(value: object) -> bool:
    return value is None or type(value).__name__ in {"NAType", "NaTType"} or (isinstance(value, float) and math.isnan(value))


def _from_mapping(columns: Mapping[Any, Any], field: str, line: int | None) -> pa.Table:
    lengths = {str(name): len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = listed([f"{name} ({length})" for name, length in lengths.items()])
        raise DataError("data.lengths", line=line, field=field, lengths=told)
    return _from_columns(list(lengths), columns.values())


def _from_dataset(dataset: Any) -> pa.Table:
    # The Arrow view honours selected and shuffled rows; flatten_indices() would write a copy to a cache of its own.
    table = dataset.with_format("arrow")[:]
    inner = {name: getattr(feature, "feature", feature) for name, feature in dataset.features.items()}  # of a list its values
    return with_label_names(table, {name: each.names for name, each in inner.items() if _is(each, "datasets", "ClassLabel")})


def _from_capsule(value: Any, field: str, line: int | None) -> pa.Table:
    try:
        if hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__"):
            return pa.table(value)
        if hasattr(value, "to_arrow"):
            return pa.table(value.to_arrow())
    except (pa.ArrowException, TypeError, ValueError):
        pass  # a series, or a lazy frame: told below by its type
    raise DataError("data.kind", line=line, field=field, kind=type(value).__name__)
