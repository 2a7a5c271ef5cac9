"""From the user's rows to the canonical ones, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fm_notebook.data import language, tagging, targets
from fm_notebook.data.columns import Place, chosen
from fm_notebook.data.grouped import kept, with_groups
from fm_notebook.data.reading import Kind, Reading
from fm_notebook.data.stored import batches_of, gathered, is_large
from fm_notebook.data.targets import Encoder
from fm_notebook.data.wording import listed
from fm_notebook.errors import DataError


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows that a task can use.

    Attributes
    ----------
    table : pyarrow.Table
        The canonical columns of the kind (see `fm_notebook.data.reading.Reading`; texts are large strings), ``row`` (int64), the
        row's number in the user's data, from 0, and for each of the reading's groups ``by.<column>``. On
        disk if the user's table is large.
    labels : tuple of str
        Names of the outputs in the order of their numbers: classes, tags, or for regression the column.
    missing_rows : int
        Rows left out because a text or the label is missing.
    kind : str
        What ``auto`` or ``generation`` came to.
    """

    table: pa.Table
    labels: tuple[str, ...]
    missing_rows: int
    kind: Kind


def encode(
    table: pa.Table,
    reading: Reading,
    *,
    labels: Sequence[str] | None = None,
    order: Sequence[str] | None = None,
    field: str,
    lines: Mapping[str, int] | None = None,
) -> Encoded:
    """The rows of `table` in canonical columns, without those that miss something.

    A text is missing if it is null or nothing but white space; a class if it is null, NaN or such a text; a number if it is not
    finite; a list if it is null or one of its values is; a text to tag if it has no word.

    Parameters
    ----------
    table : pyarrow.Table
    reading : Reading
    labels : sequence of str, optional
        The classes, where they are known: an evaluation's. Otherwise they are taken from the data.
    order : sequence of str, optional
        The order of the classes, if the data have just these.
    field : str
        Field whose data this is, such as ``train``.
    lines : Mapping, optional
        Line of the cell by field, for errors.

    Raises
    ------
    DataError
        If a column is not there or of the wrong kind, nothing is left, or the labels are not what is needed.
    """
    picked, place = chosen(table, reading := reading.among(table.column_names), field, lines)
    groups = kept(table, reading.groups, field, lines, texts=picked)
    encoder = _encoder(picked, reading.kind, labels, place)
    if order is not None and encoder.labels != tuple(order) and set(encoder.labels) == set(order):
        encoder = _encoder(picked, reading.kind, order, place)

    def batches() -> Iterator[pa.RecordBatch]:
        first = 0
        for batch in batches_of(picked):
            rows = encoder.encode(batch.append_column("row", pa.array(np.arange(first, first + batch.num_rows))))
            yield with_groups(rows, groups)
            first += batch.num_rows

    found = gathered(_schema(encoder, picked, groups), batches(), large=is_large(picked.nbytes))
    if not found.num_rows:
        named = listed(list(place.columns.values()))
        raise DataError("data.all_missing", line=place.line(), field=field, rows=table.num_rows, columns=named)
    return Encoded(found, encoder.labels, table.num_rows - found.num_rows, encoder.kind)


def _encoder(picked: pa.Table, kind: Kind, labels: Sequence[str] | None, place: Place) -> Encoder:
    match kind:
        case "tags":
            return tagging.encoder(picked, labels, place)
        case "text" | "completion" | "chat":
            return language.encoder(picked, kind, place)
        case _:
            return targets.encoder(picked, kind, labels, place)


def _schema(encoder: Encoder, picked: pa.Table, groups: pa.Table) -> pa.Schema:
    """What no rows become tells what all do."""
    none = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in picked.schema], schema=picked.schema)
    return with_groups(encoder.encode(none.append_column("row", pa.array([], pa.int64()))), groups).schema
