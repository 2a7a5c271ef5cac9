"""The columns of the rows that an expression or a word means, as far as they can be told without reading the rows.

Completion asks at every key: nothing is imported, computed or called here. A frame is looked at as it is.
"""

from __future__ import annotations

import ast
import csv
import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from fm_notebook.data import samples

Columns = dict[str, bool]
"""Whether there is text in a column, by the column's name."""
_HEAD_BYTES = 1 << 16
_TEXTS = frozenset({"string", "large_string", "string_view", "utf8", "categorical", "enum"})
_FIXED: dict[str, Columns] = {
    ".txt": {"text": True},
    **{ending: {"words": False, "tags": False} for ending in (".conll", ".bio", ".iob", ".iob2", ".bmes")},
}
_MISSING = object()


def of_source(source: str, namespace: Mapping[str, Any]) -> Columns:
    """The columns of what `source`, a Python expression, gives; empty if that cannot be told.

    Choosing rows leaves the columns as they are, so that ``reviews[reviews.year < 2024].head(10)`` has those of ``reviews``.
    """
    try:
        node: ast.expr = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return {}
    if isinstance(node, ast.Constant):
        return of_value(node.value)
    chosen: list[str] | None = None
    while (value := _named(node, namespace)) is _MISSING:
        if isinstance(node, ast.Subscript):
            chosen = chosen or _texts(node.slice)
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func.value
        elif isinstance(node, ast.Attribute):
            node = node.value
        else:
            return {}
    columns = of_value(value)
    return {name: text for name, text in columns.items() if name in chosen} if chosen else columns


def of_word(word: str, namespace: Mapping[str, Any]) -> Columns:
    """The columns of what a word of a magic's line means: a variable, a dotted name, a path or a sample."""
    return of_source(word, namespace) if word.replace(".", "").isidentifier() and _is_known(word, namespace) else of_value(word)


def of_value(value: object) -> Columns:
    """The columns of a frame, dataset, Arrow table, list of dicts, dict of lists, path or sample; empty for anything else."""
    if isinstance(value, str | Path):
        return _of_text(str(value))
    with suppress(Exception):  # the user's own object: whatever its attributes raise, completing goes on
        if isinstance(value, Mapping):
            return {str(name): _is_text(column) for name, column in value.items()}
        if isinstance(value, Sequence):
            return {str(name): isinstance(cell, str) for name, cell in value[0].items()}
        return _of_table(value)
    return {}


def is_table(value: object) -> bool:
    """Whether `value` looks like a frame, a dataset or an Arrow table, or a list of dicts."""
    kind = type(value)
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], dict)
    return any(hasattr(kind, name) for name in ("column_names", "columns")) and hasattr(kind, "__len__")


def _of_table(value: Any) -> Columns:
    if hasattr(value, "features"):  # datasets
        return {name: str(getattr(feature, "dtype", "")) in _TEXTS for name, feature in value.features.items()}
    if hasattr(value, "column_names"):  # Arrow
        return {name: str(kind) in _TEXTS for name, kind in zip(value.schema.names, value.schema.types, strict=True)}
    return {str(name): _holds_text(kind) for name, kind in zip(value.columns, value.dtypes, strict=True)}


def _holds_text(dtype: Any) -> bool:
    """Whether a column of a pandas or polars frame may hold text: pandas marks text, categories and mixtures as objects."""
    kind = getattr(dtype, "kind", None)
    return kind == "O" if kind is not None else str(dtype).partition("(")[0].lower() in _TEXTS


def _is_text(column: Any) -> bool:
    return bool(len(column)) and isinstance(column[0], str)


def _is_known(word: str, namespace: Mapping[str, Any]) -> bool:
    return word.partition(".")[0] in namespace


def _named(node: ast.expr, namespace: Mapping[str, Any]) -> object:
    """What a name, a dotted name or ``splits["train"]`` means, if it has columns; nothing of the user's is called."""
    if isinstance(node, ast.Name):
        return namespace.get(node.id, _MISSING)
    if not isinstance(node, ast.Attribute | ast.Subscript) or (owner := _named(node.value, namespace)) is _MISSING:
        return _MISSING
    value: object = _MISSING
    with suppress(Exception):
        if isinstance(node, ast.Attribute):
            value = vars(owner).get(node.attr, _MISSING)
        elif isinstance(owner, dict) and isinstance(node.slice, ast.Constant):
            value = owner.get(node.slice.value, _MISSING)
    return value if value is not _MISSING and of_value(value) else _MISSING


def _texts(node: ast.expr) -> list[str] | None:
    """The texts of a list such as ``["review", "label"]``."""
    if not isinstance(node, ast.List):
        return None
    return [each.value for each in node.elts if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def _of_text(text: str) -> Columns:
    if text.startswith(samples.PREFIX):
        return {name: name == "text" for name in samples.COLUMNS.get(text.removeprefix(samples.PREFIX), ())}
    try:
        path = Path(text).expanduser()
        status = path.stat()
        return _of_file(path, status.st_size, status.st_mtime_ns) if path.is_file() else {}
    except (OSError, EOFError, RuntimeError, ValueError, csv.Error, zlib.error):  # no such file, no such user, no path, no gzip
        return {}


@lru_cache(maxsize=64)
def _of_file(path: Path, _size: int, _mtime_ns: int) -> Columns:
    """The columns that the head of a file names, in the formats of `fm_notebook.data.files` but for JSON and Parquet.

    Size and time are the cache's key.
    """
    ending = next((each for each in path.suffixes[::-1] if each.lower() != ".gz"), "").lower()
    if ending in _FIXED:
        return _FIXED[ending]
    if ending not in {".csv", ".tsv", ".jsonl"}:
        return {}
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        lines = file.read(_HEAD_BYTES).decode("utf-8-sig", errors="replace").splitlines()
    if ending == ".jsonl":
        return _of_json(lines)
    rows = csv.reader(lines[:20]) if ending == ".csv" else (line.split("\t") for line in lines[:2])
    header, *others = [row for row in rows if row] or [[]]
    first = others[0] if others else []
    return {name: place >= len(first) or not _is_number(first[place]) for place, name in enumerate(header)}


def _of_json(lines: list[str]) -> Columns:
    with suppress(ValueError, AttributeError, IndexError):
        return {str(name): isinstance(value, str) for name, value in json.loads(lines[0]).items()}
    return {}


def _is_number(text: str) -> bool:
    try:
        return text.strip() != "" and bool(float(text) + 1)
    except ValueError:
        return False
