"""What tells equal data: a hash of a table, and a hash of each text."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def fingerprint(table: pa.Table) -> str:
    """SHA-256 (hex) of the names and values of a table's columns.

    Chunks, slices, metadata and the way of storing do not matter: string, large string, string view and dictionary are one, and
    so are the widths of integers and of floats. The order of columns and rows does. A null differs from an empty text.
    """
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind, values, valid = _canonical(column)
        _add(digest, f"{name}\0{kind}\0{len(column)}".encode())
        _add(digest, np.packbits(valid).tobytes())
        for part in values:
            _add(digest, part)
    return digest.hexdigest()


def text_hashes(texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
    """A 64-bit hash of each text (with its pair), shape ``(N,)``, the same on every machine.

    Texts count as equal after Unicode normalisation (NFC), case folding, and with every run of white space as one space and none
    at the ends. About 3 µs a tweet. Two different texts among a million have equal hashes with a chance of 3e-8.
    """
    whole = map(_normal, texts) if pairs is None else map("\0".join, zip(map(_normal, texts), map(_normal, pairs), strict=True))
    raw = b"".join(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in whole)
    return np.frombuffer(raw, dtype="<u8").astype(np.uint64)


def row_hashes(table: pa.Table) -> np.ndarray:
    """`text_hashes` of the rows of a canonical table (see `fm_notebook.data.columns`)."""
    pairs = table["text_pair"].to_pylist() if "text_pair" in table.column_names else None
    return text_hashes(table["text"].to_pylist(), pairs)


def _normal(text: str) -> str:
    text = text if text.isascii() else unicodedata.normalize("NFC", text)
    return " ".join(text.casefold().split())


def _add(digest: hashlib._Hash, part: bytes | memoryview) -> None:
    digest.update(len(part).to_bytes(8, "little"))  # so that no two lists of parts run into the same bytes
    digest.update(part)


def _canonical(column: pa.ChunkedArray) -> tuple[str, list[bytes | memoryview], np.ndarray]:
    array = _plain(column)
    valid = np.asarray(array.is_valid())
    if pa.types.is_boolean(array.type):
        return "bool", [np.asarray(array.fill_null(False)).astype(np.uint8).tobytes()], valid
    if _is_whole_number(array.type):
        return "int", [np.asarray(array.cast(pa.int64()).fill_null(0)).astype("<i8").tobytes()], valid
    if pa.types.is_floating(array.type):
        numbers = np.asarray(array.cast(pa.float64()).fill_null(0.0)).astype("<f8")
        return "float", [np.where(np.isnan(numbers), np.nan, numbers).tobytes()], valid
    return "text", _text_parts(array), valid


def _is_whole_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) and kind != pa.uint64()  # the largest of uint64 do not fit; they are hashed as text


def _plain(column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_nested(column.type):
        values = [json.dumps(value, default=str, sort_keys=True) for value in column.to_pylist()]
        column = pa.chunked_array([pa.array(values, pa.large_string())])
    array = column.combine_chunks()
    array = pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
    kind = array.type
    if pa.types.is_boolean(kind) or pa.types.is_floating(kind) or _is_whole_number(kind):
        return array
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return array.cast(pa.large_binary())
    return array.cast(pa.large_string())


def _text_parts(array: pa.Array) -> list[bytes | memoryview]:
    if not len(array):
        return []
    filled = array.fill_null(b"" if pa.types.is_large_binary(array.type) else "")
    _, offsets, data = filled.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[filled.offset : filled.offset + len(filled) + 1]
    whole = memoryview(data)[ends[0] : ends[-1]] if data is not None else b""
    return [np.diff(ends).astype("<i8").tobytes(), whole]
