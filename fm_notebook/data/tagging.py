"""Tags of words: from lists of words, spans of characters or a tag a character, to words in a text and their tags.

The canonical columns are ``text``, ``word_start`` and ``word_end`` (characters of the text, end exclusive) and ``label``, the
numbers of the words' tags.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fm_notebook.data import spans, words
from fm_notebook.data.columns import Place, as_text, check_text, has_text, is_text, value_type
from fm_notebook.data.labels import codes, occurring
from fm_notebook.data.lists import has_whole_list, is_list, lists, ragged
from fm_notebook.data.schemes import OUTSIDE, TagSet, tag_set
from fm_notebook.data.stored import batches_of
from fm_notebook.data.targets import Encoder
from fm_notebook.errors import DataError


def encoder(table: pa.Table, labels: Sequence[str] | None, place: Place) -> Encoder:
    """The encoder of tagged words, by what the columns hold.

    - `text` a list of words, `label` a list of as many tags;
    - `text` a text, `label` a list of spans (``start``, ``end``, ``label``; characters as in Python's slices): words are made
      by `fm_notebook.data.words.split` and cut where a span begins or ends, so that every span is exact;
    - `text` a text, `label` one tag a character or one a word parted by white space, as a list or a text with white space.

    Rows without `label` are cut into words alone. Tags that are numbers go by their names, if they have some.

    Raises
    ------
    DataError
        If the columns hold something else, tags are of no known scheme, or not among `labels` where these are given.
    """
    text = table.schema.field("text").type
    listed = is_list(text)
    if listed and not is_text(value_type(text.value_type)) and not pa.types.is_null(text.value_type):
        raise DataError("data.text.kind", **place.told("text", kind=str(text), hint=""))
    if not listed:
        check_text(table, "text", place)
    if "label" not in table.column_names:
        alike = listed and _only_characters(table)
        return Encoder("tags", tuple(labels or ()), lambda batch: _untagged(batch, listed, alike))
    label = table.schema.field("label").type
    if is_list(label) and pa.types.is_struct(label.value_type) and not listed:
        return _of_spans(table, labels, place)
    if is_text(value_type(label)) or (is_list(label) and not pa.types.is_nested(value_type(label.value_type))):
        return _of_tags(table, labels, place)
    raise DataError("data.tags.kind", **place.told("label", kind=str(label)))


def _of_spans(table: pa.Table, labels: Sequence[str] | None, place: Place) -> Encoder:
    kind = table.schema.field("label").type.value_type
    spans.check_spans(kind, place)
    flat = (ragged(batch["label"]).values.field("label") for batch in batches_of(table))
    types = occurring(flat, kind.field("label").type, place)
    tags = tag_set([OUTSIDE, *(f"{prefix}-{name}" for name in types for prefix in "BI")], labels, place)

    def encode(batch: pa.RecordBatch) -> pa.RecordBatch:
        batch = batch.filter(pa.array(has_text(as_text(batch["text"])) & spans.labelled(batch["label"], types)))
        text = words.characters(as_text(batch["text"]))
        found = spans.spans_of(batch, text, types, place)
        cut = words.split(text, np.concatenate([found.start, found.end]))
        return _canonical(batch, text, cut, spans.word_tags(found, cut, types, tags, place))

    return Encoder("tags", tags.names, encode)


def _of_tags(table: pa.Table, labels: Sequence[str] | None, place: Place) -> Encoder:
    kind = table.schema.field("label").type
    flat = (ragged(_tag_lists(batch["label"])).values for batch in batches_of(table))
    tags = tag_set(occurring(flat, kind.value_type if is_list(kind) else pa.large_string(), place), labels, place)
    if is_list(table.schema.field("text").type):
        alike = _only_characters(table)
        return Encoder("tags", tags.names, lambda batch: _words_given(batch, alike, tags, place))
    by_character = _one_a_character(table, tags, place)
    return Encoder("tags", tags.names, lambda batch: _words_cut(batch, by_character, tags))


def _untagged(batch: pa.RecordBatch, listed: bool, alike: bool) -> pa.RecordBatch:
    if listed:
        batch = batch.filter(pa.array(_has_words(batch)))
        return _joined(batch, alike, None)
    batch = batch.filter(pa.array(has_text(as_text(batch["text"]))))
    text = words.characters(as_text(batch["text"]))
    return _canonical(batch, text, words.split(text), None)


def _words_given(batch: pa.RecordBatch, alike: bool, tags: TagSet, place: Place) -> pa.RecordBatch:
    batch = batch.filter(pa.array(_has_words(batch) & _all_tagged(batch, tags)))
    given, tagged = (ragged(array).lengths for array in (batch["text"], _tag_lists(batch["label"])))
    if len(wrong := np.flatnonzero(given != tagged)):
        raise _uneven(batch, wrong[0], given, tagged, place)
    return _joined(batch, alike, codes(ragged(_tag_lists(batch["label"])).values, tags.numbers))


def _words_cut(batch: pa.RecordBatch, by_character: bool, tags: TagSet) -> pa.RecordBatch:
    batch = batch.filter(pa.array(has_text(as_text(batch["text"])) & _all_tagged(batch, tags)))
    text = words.characters(as_text(batch["text"]))
    cut = words.each_character(text) if by_character else words.by_white_space(text)
    return _canonical(batch, text, cut, codes(ragged(_tag_lists(batch["label"])).values, tags.numbers))


def _one_a_character(table: pa.Table, tags: TagSet, place: Place) -> bool:
    """Whether every row has a tag a character; else every row must have one a word parted by white space."""
    by_character, odd = True, None
    for raw in _numbered(table):
        batch = raw.filter(pa.array(has_text(as_text(raw["text"])) & _all_tagged(raw, tags)))
        text, tagged = words.characters(as_text(batch["text"])), ragged(_tag_lists(batch["label"])).lengths
        parted = words.by_white_space(text).counts
        by_character &= bool((np.diff(text.offsets) == tagged).all())
        if odd is None and len(wrong := np.flatnonzero(parted != tagged)):
            odd = _uneven(batch, wrong[0], parted, tagged, place)
    if odd is not None and not by_character:
        raise odd
    return by_character


def _uneven(batch: pa.RecordBatch, i: int, given: np.ndarray, tagged: np.ndarray, place: Place) -> DataError:
    told = place.told("label", row=batch["row"][int(i)].as_py(), words=int(given[i]), tags=int(tagged[i]))
    return DataError("data.tags.length", **told)


def _numbered(table: pa.Table) -> Iterator[pa.RecordBatch]:
    first = 0
    for batch in batches_of(table):
        yield batch.append_column("row", pa.array(np.arange(first, first + batch.num_rows)))
        first += batch.num_rows


def _tag_lists(label: pa.Array) -> pa.Array:
    """The tags of each row; of a text those between white space."""
    if is_list(label.type):
        return label
    texts = as_text(label)
    trimmed = pc.call_function("utf8_trim_whitespace", [texts])
    present = pa.array(has_text(texts))
    parted = pc.call_function("utf8_split_whitespace", [trimmed])
    return pc.call_function("if_else", [present, parted, pa.scalar(None, parted.type)])


def _all_tagged(batch: pa.RecordBatch, tags: TagSet) -> np.ndarray:
    """Where there is a list of tags, and none of them is blank, shape ``(N,)``."""
    found = _tag_lists(batch["label"])
    parts = ragged(found)
    whole = np.asarray(found.is_valid()).copy()
    whole[parts.rows[codes(parts.values, tags.numbers) < 0]] = False
    return whole


def _has_words(batch: pa.RecordBatch) -> np.ndarray:
    """Where there is a list of words, none of them null and not all of them blank, shape ``(N,)``."""
    parts = ragged(batch["text"])
    rows = parts.rows[has_text(as_text(parts.values))]
    return has_whole_list(batch["text"]) & (np.bincount(rows, minlength=batch.num_rows) > 0)


def _only_characters(table: pa.Table) -> bool:
    """Whether no word is longer than a character: then they are letters of one text, whatever the script."""
    longest = (words.characters(as_text(ragged(batch["text"]).values)).offsets for batch in batches_of(table))
    return all(bool((np.diff(offsets) <= 1).all()) for offsets in longest)


def _joined(batch: pa.RecordBatch, alike: bool, tags: np.ndarray | None) -> pa.RecordBatch:
    """Words put together to a text: with a space between them, but for letters of scripts without spaces."""
    parts = ragged(batch["text"])
    flat = as_text(parts.values)
    last_of_row = np.zeros(len(flat), bool)
    last_of_row[parts.offsets[1:][parts.lengths > 0] - 1] = True
    spaced = ~last_of_row & ~(np.ones(len(flat), bool) if alike else _touching(words.characters(flat)))
    ends = pa.DictionaryArray.from_arrays(pa.array(spaced.astype(np.int8)), pa.array(["", " "], pa.large_string()))
    pieces = pc.call_function("binary_join_element_wise", [flat, ends.cast(pa.large_string()), pa.scalar("", pa.large_string())])
    text = _grouped(pieces, parts.offsets)
    widths = np.diff(words.characters(flat).offsets)
    start = np.cumsum(widths + spaced) - widths - spaced
    placed = words.Words(start, start + widths, parts.lengths)
    offsets = np.append(start, (widths + spaced).sum())[parts.offsets]
    return _rows(batch, text, placed, offsets, tags)


def _touching(text: words.Characters) -> np.ndarray:
    """Where a word and the next belong to a script without spaces, shape ``(W,)``."""
    filled = np.diff(text.offsets) > 0
    first, last = np.zeros(len(filled), bool), np.zeros(len(filled), bool)
    unspaced = words.unspaced(text.codes)
    first[filled], last[filled] = unspaced[text.offsets[:-1][filled]], unspaced[text.offsets[1:][filled] - 1]
    return last & np.append(first[1:], False)


def _grouped(pieces: pa.Array, offsets: np.ndarray) -> pa.Array:
    """Neighbouring texts as one text a group: their bytes stand one after the other already."""
    if not len(pieces):
        return pa.array([""] * (len(offsets) - 1), pa.large_string())
    _, ends, data = pieces.buffers()
    bounds = np.frombuffer(ends, np.int64)[pieces.offset : pieces.offset + len(pieces) + 1][offsets]
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(bounds.tobytes()), data)


def _canonical(batch: pa.RecordBatch, text: words.Characters, cut: words.Words, tags: np.ndarray | None) -> pa.RecordBatch:
    return _rows(batch, as_text(batch["text"]), cut, text.offsets[:-1], tags)


def _rows(batch: pa.RecordBatch, text: pa.Array, cut: words.Words, first: np.ndarray, tags: np.ndarray | None) -> pa.RecordBatch:
    """Canonical rows; `first` is where each text begins among all characters. A text without a word is left out."""
    origin = np.repeat(first[: len(cut.counts)], cut.counts)
    columns = {"text": text, "word_start": lists(cut.start - origin, cut.counts), "word_end": lists(cut.end - origin, cut.counts)}
    if tags is not None:
        columns["label"] = lists(tags, cut.counts)
    return pa.RecordBatch.from_pydict({**columns, "row": batch["row"]}).filter(pa.array(cut.counts > 0))
