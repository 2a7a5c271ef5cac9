"""What tells equal data: a hash of a table, and a hash of each text."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fm_notebook.data.lists import is_list, ragged

Part = bytes | memoryview


def fingerprint(table: pa.Table) -> str:
    """SHA-256 (hex) of the names and values of a table's columns, read chunk by chunk.

    Chunks, slices, metadata and the way of storing do not matter: string, large string, string view and dictionary are one, and
    so are the widths of integers and of floats, and the kinds of lists. The order of columns and rows does. A null differs from
    an empty text.
    """
    whole = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind, digests = "", [hashlib.sha256()]
        for chunk in [pa.array([], column.type), *column.chunks]:
            kind, parts = _parts(chunk)
            digests += [hashlib.sha256() for _ in parts[len(digests) :]]
            for digest, part in zip(digests, parts, strict=True):
                digest.update(part)
        whole.update(json.dumps([name, kind, len(column), [digest.hexdigest() for digest in digests]]).encode())
    return whole.hexdigest()


def text_hashes(texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
    """A 64-bit hash of each text (with its pair), shape ``(N,)``, the same on every machine.

    Texts count as equal after Unicode normalisation (NFC), case folding, and with every run of white space as one space and none
    at the ends. About 3 µs a tweet. Two different texts among a million have equal hashes with a chance of 3e-8.
    """
    whole = map(_normal, texts) if pairs is None else map("\0".join, zip(map(_normal, texts), map(_normal, pairs), strict=True))
    raw = b"".join(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in whole)
    return np.frombuffer(raw, dtype="<u8").astype(np.uint64)


def row_hashes(table: pa.Table) -> np.ndarray:
    """`text_hashes` of the rows of a canonical table: of the text (with its pair), prompt and completion, or the messages."""
    first = next(name for name in ("text", "prompt", "messages") if name in table.column_names)
    second = next((name for name in ("text_pair", "completion") if name in table.column_names), None)
    parts = [np.empty(0, np.uint64)]
    for batch in table.select([first, second] if second else [first]).to_batches(max_chunksize=2**15):
        pairs = batch[second].to_pylist() if second else None
        parts.append(text_hashes(batch[first].to_pylist(), pairs))
    return np.concatenate(parts)


def _normal(text: str) -> str:
    text = text if text.isascii() else unicodedata.normalize("NFC", text)
    return " ".join(text.casefold().split())


def _parts(array: pa.Array) -> tuple[str, list[Part]]:
    """The kind of an array, and bytes that tell its values; those of two arrays one after the other are those of both."""
    array = array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array
    valid = np.asarray(array.is_valid()).astype(np.uint8).tobytes()
    if is_list(array.type):
        lists = ragged(array)
        inner, parts = _parts(lists.values)
        return f"list:{inner}", [valid, lists.lengths.astype("<i8").tobytes(), *parts]
    kind, parts = _numbers(array) or ("text", _text_parts(_as_bytes(array)))
    return kind, [valid, *parts]


def _numbers(array: pa.Array) -> tuple[str, list[Part]] | None:
    """Numbers in one width, None for other values; the largest of uint64 do not fit and are hashed as text."""
    kind = array.type
    if pa.types.is_boolean(kind):
        return "bool", [np.asarray(array.fill_null(False)).astype(np.uint8).tobytes()]
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return "int", [np.asarray(array.cast(pa.int64()).fill_null(0)).astype("<i8").tobytes()]
    if pa.types.is_floating(kind):
        numbers = np.asarray(array.cast(pa.float64()).fill_null(0.0)).astype("<f8")
        return "float", [np.where(np.isnan(numbers), np.nan, numbers).tobytes()]
    return None


def _as_bytes(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_nested(kind):
        array = pa.array([json.dumps(value, default=str, sort_keys=True) for value in array.to_pylist()], pa.large_string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return array.cast(pa.large_binary())
    return array.cast(pa.large_string())


def _text_parts(array: pa.Array) -> list[Part]:
    if not len(array):
        return [b"", b""]
    filled = array.fill_null(b"" if pa.types.is_large_binary(array.type) else "")
    _, offsets, data = filled.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[filled.offset : filled.offset + len(filled) + 1]
    whole = memoryview(data)[ends[0] : ends[-1]] if data is not None else b""
    return [np.diff(ends).astype("<i8").tobytes(), whole]
