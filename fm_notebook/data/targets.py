"""Targets of whole texts: a class, a set of classes, or a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fm_notebook.data.columns import Place, as_text, check_text, has_text, value_type
from fm_notebook.data.labels import Classes, codes, occurring
from fm_notebook.data.lists import has_whole_list, is_list, lists, ragged
from fm_notebook.data.reading import Kind
from fm_notebook.data.stored import batches_of
from fm_notebook.data.wording import shown
from fm_notebook.errors import DataError

_FLAGS = {"0", "1", "False", "True"}


@dataclass(frozen=True, slots=True)
class Encoder:
    """How batches of rows become canonical.

    Attributes
    ----------
    kind : str
        What the reading came to, such as ``regression``.
    labels : tuple of str
        Names of the outputs in their order.
    encode : Callable
        From a batch with columns by role and ``row`` to the canonical one, without rows in which something is missing.
    """

    kind: Kind
    labels: tuple[str, ...]
    encode: Callable[[pa.RecordBatch], pa.RecordBatch]


def encoder(table: pa.Table, kind: Kind, labels: Sequence[str] | None, place: Place) -> Encoder:
    """The encoder of texts (or pairs) with their targets, or of texts alone where there is no column ``label``.

    Raises
    ------
    DataError
        If the labels are not what `kind` needs, or not among `labels` where these are given.
    """
    for role in ("text", "text_pair"):
        if role in table.column_names:
            check_text(table, role, place)
    if "label" not in table.column_names:
        return Encoder(kind, tuple(labels or ()), _with_texts)
    kind = _resolved(table["label"], kind, place)
    if kind == "regression":
        names = tuple(labels) if labels is not None and len(labels) == 1 else (place.columns["label"],)
        return Encoder(kind, names, _with_number)
    several = kind == "multi-label"
    found = _classes(table, several, place)
    classes = Classes(found if labels is None else labels)
    classes.check(found, place)
    if labels is None:
        _enough(found, several, place)
    if several and found and set(found) <= _FLAGS:
        _refuse_flags(table["label"], place)
    return Encoder(kind, classes.names, lambda batch: (_with_classes if several else _with_class)(batch, classes))


def _resolved(column: pa.ChunkedArray, kind: Kind, place: Place) -> Kind:
    """What ``auto`` means for this column; any other kind is checked against it."""
    told = place.told("label", kind=str(column.type))
    if b"mixed" in (place.table.schema.field(place.columns["label"]).metadata or {}):
        raise DataError("data.label.mixed", **told)
    if is_list(column.type):
        if kind not in {"auto", "multi-label"}:
            raise DataError("data.label.lists", **told)
        return "multi-label"
    if kind == "multi-label":
        raise DataError("data.label.not_lists", **told)
    numeric = _is_number(value_type(column.type))
    if kind == "regression" and not numeric:
        raise DataError("data.label.not_numbers", **told)
    if kind == "auto":
        return "regression" if _has_fractions(column) else "single-label"
    return kind


def _is_number(kind: pa.DataType) -> bool:
    return any(
        fits(kind) for fits in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    )  # fmt: skip


def _has_fractions(column: pa.ChunkedArray) -> bool:
    if pa.types.is_decimal(value_type(column.type)):
        return True
    if not pa.types.is_floating(value_type(column.type)):
        return False
    numbers = (_numbers(chunk) for chunk in column.chunks)
    return any(bool((each[np.isfinite(each)] % 1 != 0).any()) for each in numbers)


def _numbers(array: pa.Array) -> np.ndarray:
    """The numbers of an array as float64, NaN where there is none, shape ``(N,)``."""
    plain = array.cast(value_type(array.type))
    plain = plain.cast(pa.int8()) if pa.types.is_boolean(plain.type) else plain
    return np.asarray(plain.cast(pa.float64(), safe=False).fill_null(np.nan))


def _classes(table: pa.Table, several: bool, place: Place) -> tuple[str, ...]:
    """The classes of rows that have a text: a class may lose all its rows to missing texts."""
    kind = table.schema.field("label").type

    def arrays() -> Iterator[pa.Array]:
        for batch in batches_of(table):
            present = _texts_there(batch)
            if several:
                present &= has_whole_list(batch["label"])
            label = batch["label"].filter(pa.array(present))
            yield ragged(label).values if several else label

    return occurring(arrays(), kind.value_type if several else kind, place)


def _enough(found: Sequence[str], several: bool, place: Place) -> None:
    """A classifier needs two classes, a tagger of texts one; with none at all every row is missing, which is told later."""
    if len(found) == 1 and not several:
        raise DataError("data.label.one", **place.told("label", label=shown(found[0])))


def _refuse_flags(column: pa.ChunkedArray, place: Place) -> None:
    """Three or more values of which all are 0 or 1 are no classes, but tell which of several classes there are."""
    if any(ragged(chunk).lengths.max(initial=0) > 2 for chunk in column.chunks):
        raise DataError("data.label.multi_hot", **place.told("label"))


def _texts_there(batch: pa.RecordBatch) -> np.ndarray:
    roles = [role for role in ("text", "text_pair") if role in batch.schema.names]
    return np.logical_and.reduce([has_text(as_text(batch[role])) for role in roles])


def _with_texts(batch: pa.RecordBatch) -> pa.RecordBatch:
    return _canonical(batch, _texts_there(batch))


def _with_class(batch: pa.RecordBatch, classes: Classes) -> pa.RecordBatch:
    found = codes(batch["label"], classes.numbers)
    return _canonical(batch, _texts_there(batch) & (found >= 0), pa.array(found))


def _with_number(batch: pa.RecordBatch) -> pa.RecordBatch:
    numbers = _numbers(batch["label"])
    return _canonical(batch, _texts_there(batch) & np.isfinite(numbers), pa.array(numbers))


def _with_classes(batch: pa.RecordBatch, classes: Classes) -> pa.RecordBatch:
    """A list is missing if it is null or a value in it is; an empty one says that no class fits."""
    parts = ragged(batch["label"])
    found, rows, width = codes(parts.values, classes.numbers), parts.rows, max(len(classes.names), 1)
    whole = np.asarray(batch["label"].is_valid()).copy()
    whole[rows[found < 0]] = False
    rows, ordered = np.divmod(np.unique(rows * width + np.maximum(found, 0)), width)  # each class once a row, in order
    kept = lists(ordered, np.bincount(rows, minlength=batch.num_rows))
    return _canonical(batch, _texts_there(batch) & whole, kept)


def _canonical(batch: pa.RecordBatch, present: np.ndarray, label: pa.Array | None = None) -> pa.RecordBatch:
    columns = {role: as_text(batch[role]) for role in ("text", "text_pair") if role in batch.schema.names}
    if label is not None:
        columns["label"] = label
    return pa.RecordBatch.from_pydict({**columns, "row": batch["row"]}).filter(pa.array(present))
