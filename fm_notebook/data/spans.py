"""Spans of characters, and the tags that they give to words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fm_notebook.data.columns import Place
from fm_notebook.data.labels import codes
from fm_notebook.data.lists import ragged
from fm_notebook.data.schemes import OUTSIDE, TagSet
from fm_notebook.data.words import Characters, Words
from fm_notebook.errors import DataError

FIELDS = ("start", "end", "label")


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans among all characters of a batch, by where they begin.

    Attributes
    ----------
    start, end : numpy.ndarray
        Places of the first character and after the last, shape ``(S,)``.
    type : numpy.ndarray
        Number of each span's type, shape ``(S,)``.
    rows : numpy.ndarray
        The user's row of each, shape ``(S,)``.
    """

    start: np.ndarray
    end: np.ndarray
    type: np.ndarray
    rows: np.ndarray


def check_spans(kind: pa.StructType, place: Place) -> None:
    """Refuse structs that are no spans.

    Raises
    ------
    DataError
        If ``start``, ``end`` (whole numbers) or ``label`` is missing.
    """
    fields = {field.name: field.type for field in kind}
    numbers = [fields[name] for name in ("start", "end") if name in fields]
    if set(FIELDS) <= set(fields) and all(pa.types.is_integer(each) or pa.types.is_floating(each) for each in numbers):
        return
    raise DataError("data.tags.kind", **place.told("label", kind=str(pa.list_(kind))))


def labelled(lists: pa.Array, types: tuple[str, ...]) -> np.ndarray:
    """Where every span of a list has a label, shape ``(N,)``."""
    parts = ragged(lists)
    found = codes(parts.values.field("label"), {name: i for i, name in enumerate(types)})
    whole = np.asarray(lists.is_valid()).copy()
    whole[parts.rows[found < 0]] = False
    return whole


def spans_of(batch: pa.RecordBatch, text: Characters, types: tuple[str, ...], place: Place) -> Spans:
    """The spans of a batch, all lists of which are `labelled`.

    Raises
    ------
    DataError
        If a span is empty, leaves its text, or two overlap; the row is named.
    """
    parts = ragged(batch["label"])
    lengths, rows = np.diff(text.offsets), parts.rows
    ends = [np.asarray(parts.values.field(name).cast(pa.int64(), safe=False).fill_null(-1)) for name in ("start", "end")]
    numbers = np.asarray(batch["row"])[rows]
    wrong = np.flatnonzero((ends[0] < 0) | (ends[1] <= ends[0]) | (ends[1] > lengths[rows]))
    if len(wrong):
        i = wrong[0]
        told = {"row": int(numbers[i]), "start": int(ends[0][i]), "end": int(ends[1][i]), "length": int(lengths[rows[i]])}
        raise DataError("data.spans.range", **place.told("label", **told))
    start, end = (each + text.offsets[:-1][rows] for each in ends)
    order = np.argsort(start, kind="stable")
    start, end, numbers = start[order], end[order], numbers[order]
    if len(over := np.flatnonzero(start[1:] < np.maximum.accumulate(end)[:-1])):
        raise DataError("data.spans.overlap", **place.told("label", row=int(numbers[over[0] + 1])))
    kinds = codes(parts.values.field("label"), {name: i for i, name in enumerate(types)})
    return Spans(start, end, kinds[order], numbers)


def word_tags(spans: Spans, words: Words, types: tuple[str, ...], tags: TagSet, place: Place) -> np.ndarray:
    """The number of each word's tag, shape ``(W,)``; words must have been cut at the ends of spans.

    Raises
    ------
    DataError
        If a span holds no word, only white space.
    """
    first, last = np.searchsorted(words.start, spans.start), np.searchsorted(words.start, spans.end)
    counts = last - first
    if len(blank := np.flatnonzero(counts == 0)):
        raise DataError("data.spans.blank", **place.told("label", row=int(spans.rows[blank[0]])))
    begin, inside = (np.array([tags.numbers[f"{prefix}-{name}"] for name in types], np.int32) for prefix in "BI")
    found = np.full(len(words.start), tags.numbers[OUTSIDE], np.int32)
    within = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    found[within] = np.repeat(inside[spans.type], counts)
    found[first] = begin[spans.type]
    return found
