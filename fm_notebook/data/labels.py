"""Class labels: which there are, in which order, and the number of each row's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fm_notebook.data.wording import listed, shown
from fm_notebook.errors import DataError, did_you_mean

MOST_LABELS = 1000
NUMBERED = re.compile(r"(?:LABEL_)?(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Labels:
    """`names` of the classes in order, and the number of each row's class, shape ``(N,)``, -1 where it has none."""

    names: tuple[str, ...]
    codes: np.ndarray


def number(column: pa.ChunkedArray, name: str, *, field: str, line: int | None = None) -> Labels:
    """Classes in the order of the data's own categories, else of numbers, else of text; only those that occur.

    Null, NaN and empty text are no label. Whole floats are integers: pandas makes them of integers with gaps.

    Raises
    ------
    DataError
        If labels are measurements, nested, or more than `MOST_LABELS`.
    """
    values, codes = _distinct(column, name, field, line)
    if not pa.types.is_dictionary(column.type):
        order = sorted(range(len(values)), key=values.__getitem__)
        values, codes = [values[i] for i in order], _renumber(codes, order)
    if len(values) > MOST_LABELS:
        raise DataError("data.label.many", line=line, field=field, column=shown(name), count=len(values), most=MOST_LABELS)
    return _merged([str(value) for value in values], codes)


def match(column: pa.ChunkedArray, name: str, labels: Sequence[str], *, field: str, line: int | None = None) -> Labels:
    """Classes by the names in `labels`; where those are only numbered (``LABEL_0`` or ``0``), also by number.

    Raises
    ------
    DataError
        If the data holds a label that is not among them.
    """
    values, codes = _distinct(column, name, field, line)
    known = {**_numbers(labels), **{label: i for i, label in enumerate(labels)}}
    names = [str(value) for value in values]
    found = np.array([known.get(name, -1) for name in names] + [-1], dtype=np.int64)
    if unseen := [name for name, code in zip(names, found[:-1], strict=True) if code < 0]:
        hint = did_you_mean(unseen[0], [shown(label) for label in labels])
        raise DataError("data.label.unseen", line=line, field=field, labels=listed(unseen, 10), known=listed(labels), hint=hint)
    return Labels(tuple(labels), found[codes])


def _numbers(labels: Sequence[str]) -> dict[str, int]:
    """``{"LABEL_0": 0, "0": 0, …}`` for labels that are nothing but numbered in order."""
    found = [NUMBERED.fullmatch(label) for label in labels]
    if [int(m[1]) if m else -1 for m in found] != list(range(len(labels))):
        return {}
    return {form.format(i): i for i in range(len(labels)) for form in ("{}", "LABEL_{}")}


def _distinct(column: pa.ChunkedArray, name: str, field: str, line: int | None) -> tuple[list, np.ndarray]:
    """The values that occur (in the order of the categories, if any) and the position of each row's among them, -1 for none."""
    _check_kind(column.type, name, field, line)
    if pa.types.is_dictionary(column.type):
        encoded = column.unify_dictionaries().combine_chunks()
    else:
        encoded = column.combine_chunks().dictionary_encode()
    encoded = pa.concat_arrays(encoded.chunks) if isinstance(encoded, pa.ChunkedArray) else encoded
    values = _values(encoded.dictionary, name, field, line)
    codes = np.asarray(encoded.indices.cast(pa.int64()).fill_null(-1))
    absent = np.array([value is None for value in values] + [True])
    codes = np.where(absent[codes], -1, codes)
    present = np.unique(codes[codes >= 0]).tolist()
    return [values[i] for i in present], _renumber(codes, present)


def _values(dictionary: pa.Array, name: str, field: str, line: int | None) -> list:
    kind = dictionary.type
    values = dictionary.to_pylist()
    if pa.types.is_floating(kind):
        values = [None if value is None or np.isnan(value) else value for value in values]
        if all(value is None or float(value).is_integer() for value in values):
            return [None if value is None else int(value) for value in values]
        raise DataError("data.label.continuous", line=line, field=field, column=shown(name))
    return [None if isinstance(value, str) and not value.strip() else value for value in values]


def _check_kind(kind: pa.DataType, name: str, field: str, line: int | None) -> None:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    words = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    if not any(fits(kind) for fits in (*numbers, *words)):
        raise DataError("data.label.kind", line=line, field=field, column=shown(name), kind=str(kind))


def _renumber(codes: np.ndarray, order: Sequence[int]) -> np.ndarray:
    place = np.full(max(int(codes.max(initial=-1)), max(order, default=-1)) + 2, -1, dtype=np.int64)
    place[list(order)] = np.arange(len(order))
    return place[codes]  # code -1 reads the last place, which is -1


def _merged(names: Sequence[str], codes: np.ndarray) -> Labels:
    """Two categories may have one name: they are one class."""
    unique = list(dict.fromkeys(names))
    place = np.array([unique.index(name) for name in names] + [-1], dtype=np.int64)
    return Labels(tuple(unique), place[codes])
