"""From the user's columns to the canonical ones: ``text``, ``text_pair``, ``label`` and ``row``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fm_notebook.data import labels as classes
from fm_notebook.data.wording import listed, shown
from fm_notebook.errors import DataError, did_you_mean
from fm_notebook.messages import text as message


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows that a task can use.

    Attributes
    ----------
    table : pyarrow.Table
        ``text`` (large string), ``text_pair`` (large string, for pairs), ``label`` (int32, if labelled) and ``row`` (int64, the
        row's number in the user's data, from 0).
    labels : tuple of str
        Names of the classes in the order of their numbers.
    missing_rows : int
        Rows left out because a text or the label is missing.
    """

    table: pa.Table
    labels: tuple[str, ...]
    missing_rows: int


def encode(
    table: pa.Table,
    *,
    text: str,
    text_pair: str | None = None,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    field: str,
    lines: Mapping[str, int] | None = None,
) -> Encoded:
    """The rows of `table` in canonical columns, without those that miss a text or a label.

    A text is missing if it is null or nothing but white space; a label if it is null, NaN or such a text.

    Parameters
    ----------
    table : pyarrow.Table
    text, text_pair, label : str
        The user's columns; no `label` for rows to predict.
    labels : sequence of str, optional
        The classes, where they are known: an evaluation's. Otherwise they are taken from the data, which then must have two.
    field : str
        Field whose data this is, such as ``train``.
    lines : Mapping, optional
        Line of the cell by field, for errors.

    Raises
    ------
    DataError
        If a column is not there or of the wrong kind, nothing is left, or the labels are not what is needed.
    """
    lines = lines or {}
    if not table.num_rows:
        raise DataError("data.empty", line=lines.get(field), field=field, source=field)
    columns = {"text": _texts(table, text, "text", field, lines)}
    if text_pair:
        columns["text_pair"] = _texts(table, text_pair, "text_pair", field, lines)
    present = np.logical_and.reduce([_has_text(column) for column in columns.values()])
    found = None
    if label:
        found = _labels(table, label, labels, field, lines)
        columns["label"] = pa.array(found.codes, pa.int32())
        present &= found.codes >= 0
    names = found.names if found else tuple(labels or ())
    kept = pa.table({**columns, "row": pa.array(np.arange(table.num_rows))}).filter(pa.array(present))
    encoded = Encoded(kept.combine_chunks(), names, table.num_rows - kept.num_rows)
    if not kept.num_rows:
        named = listed([name for name in (text, text_pair, label) if name])
        raise DataError("data.all_missing", line=lines.get(field), field=field, rows=table.num_rows, columns=named)
    return encoded if labels is not None or not label else _with_two_classes(encoded, label, field, lines)


def _labels(table: pa.Table, label: str, labels: Sequence[str] | None, field: str, lines: Mapping[str, int]) -> classes.Labels:
    column = _column(table, label, "label", field, lines)
    line = lines.get("label", lines.get(field))
    if labels is None:
        return classes.number(column, label, field=field, line=line)
    return classes.match(column, label, labels, field=field, line=line)


def _with_two_classes(encoded: Encoded, label: str, field: str, lines: Mapping[str, int]) -> Encoded:
    """A class may have lost all its rows to missing texts: classes are those of the rows that are kept."""
    codes = encoded.table["label"].to_numpy()
    present = np.unique(codes)
    names = tuple(encoded.labels[i] for i in present.tolist())
    if len(present) < 2:
        line = lines.get("label", lines.get(field))
        raise DataError("data.label.one", line=line, field=field, column=shown(label), label=shown(names[0]))
    position = encoded.table.schema.get_field_index("label")
    table = encoded.table.set_column(position, "label", pa.array(np.searchsorted(present, codes), pa.int32()))
    return Encoded(table, names, encoded.missing_rows)


def _column(table: pa.Table, name: str, role: str, field: str, lines: Mapping[str, int]) -> pa.ChunkedArray:
    if name in table.column_names:
        return table[name]
    hint = did_you_mean(name, [shown(known) for known in table.column_names]) or _looks_like(table, role)
    told: dict[str, Any] = {"role": role, "column": shown(name), "known": listed(table.column_names), "hint": hint}
    raise DataError("data.column.unknown", line=lines.get(role, lines.get(field)), field=field, **told)


def _looks_like(table: pa.Table, role: str) -> str:
    """A hint that names the columns which could be meant: text that is mostly different, or few values often repeated."""
    sample = table.slice(0, 1000)
    numbers = {name: len(sample[name].unique()) for name in sample.column_names if _countable(sample[name].type)}
    if role == "label":
        fitting = [name for name, n in numbers.items() if 2 <= n <= max(2, sample.num_rows // 5)]
    else:
        fitting = [name for name, n in numbers.items() if _is_text(_value_type(sample[name].type)) and n > sample.num_rows // 2]
    return message(f"error.data.looks_like.{'label' if role == 'label' else 'text'}", names=listed(fitting, 5)) if fitting else ""


def _texts(table: pa.Table, name: str, role: str, field: str, lines: Mapping[str, int]) -> pa.ChunkedArray:
    column = _column(table, name, role, field, lines)
    kind = _value_type(column.type)
    if _is_text(kind) or pa.types.is_null(kind):
        return column.cast(kind).cast(pa.large_string())  # Arrow has no way straight from a dictionary
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)
    key = "data.text.numbers" if numeric else "data.text.kind"
    told: dict[str, Any] = {"role": role, "column": shown(name), "kind": str(kind), "hint": _looks_like(table, role)}
    raise DataError(key, line=lines.get(role, lines.get(field)), field=field, **told)


def _has_text(column: pa.ChunkedArray) -> np.ndarray:
    trimmed = pc.call_function("utf8_trim_whitespace", [column])
    return pc.call_function("binary_length", [trimmed]).fill_null(0).to_numpy() > 0


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _countable(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
