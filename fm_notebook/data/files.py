"""Rows in files: CSV, TSV, JSON lines, JSON, plain text, CoNLL and Parquet, all but the last also gzipped.

Files are read with Arrow: ``datasets.load_dataset`` would leave a copy of people's data in a cache outside the run's folder.
Large ones (`fm_notebook.data.stored.LARGE_BYTES`) are not held in memory, but for JSON and CoNLL.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet

from fm_notebook.data import conll
from fm_notebook.data.delimited import csv_on_disk, csv_table
from fm_notebook.data.stored import BATCH_ROWS, gathered, is_large
from fm_notebook.data.values import from_rows, unique_names, with_label_names
from fm_notebook.data.wording import listed
from fm_notebook.errors import DataError, did_you_mean

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".txt", *conll.ENDINGS, ".parquet")
SUFFIXES = (*FORMATS, *(suffix + ".gz" for suffix in FORMATS[:-1]))


def looks_like_path(text: str) -> bool:
    """Whether `text` is meant as a path rather than as a hub id: by its ending, its beginning, or because it is there."""
    if text.lower().endswith(SUFFIXES) or text.startswith(("/", "./", "../", "~", ".\\", "..\\")) or "\\" in text:
        return True
    return _exists(Path(text))


def from_file(path: Path, *, field: str, line: int | None = None) -> pa.Table:
    """The rows of a file, by its ending.

    CSV has RFC 4180 quoting, TSV has none; in both the words ``null`` and ``NA`` are text and only an empty field of a column of
    numbers is missing. In plain text (``.txt``) every line is a row of the one column ``text``, also a blank one, which is
    missing; CoNLL (see `fm_notebook.data.conll`) has the columns ``words`` and ``tags``. Text is UTF-8, with or without a byte
    order mark.

    Raises
    ------
    DataError
        If the file is not there, of another kind, not UTF-8, or broken (the faulty row is named).
    """
    path = path.expanduser()
    ending = _ending(path, field, line)
    faults: dict[str, Any] = {"field": field, "path": str(path)}
    try:
        table = _read(path, ending, faults, line)
    except UnicodeDecodeError as error:
        raise DataError("data.file.encoding", line=line, position=error.start, **faults) from None
    except (pa.ArrowException, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError("data.file.broken", line=line, format=ending[1:], **faults) from error
    except OSError as error:
        raise DataError("data.file.unreadable", line=line, reason=error.strerror or type(error).__name__, **faults) from error
    return unique_names(table, field, line)


def _read(path: Path, ending: str, faults: Mapping[str, Any], line: int | None) -> pa.Table:
    large = is_large(path.stat().st_size)
    if ending == ".parquet":
        return _parquet(path, large)
    if ending == ".txt":
        with io.TextIOWrapper(_opened(path), encoding="utf-8-sig", newline="\n") as file:
            return gathered(pa.schema({"text": pa.large_string()}), _lines(file), large=large)
    if ending in {".csv", ".tsv"} and large:
        return csv_on_disk(lambda: _opened(path), tabs=ending == ".tsv", faults=faults, line=line)
    with _opened(path) as file:
        return _from_text(file.read().decode("utf-8-sig"), ending, faults, line)


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _lines(file: io.TextIOWrapper) -> Iterator[pa.RecordBatch]:
    while lines := list(islice(file, BATCH_ROWS)):
        yield pa.RecordBatch.from_pydict({"text": pa.array([line.rstrip("\r\n") for line in lines], pa.large_string())})


def _from_text(text: str, ending: str, faults: Mapping[str, Any], line: int | None) -> pa.Table:
    if not text.strip():
        return pa.table({})
    if ending in {".csv", ".tsv"}:
        return csv_table(text.encode(), tabs=ending == ".tsv", faults=faults, line=line)
    if ending in conll.ENDINGS:
        return conll.conll_table(text.split("\n"), faults=faults, line=line)
    if ending == ".json":
        try:
            return _from_json(json.loads(text), faults, line)
        except json.JSONDecodeError:
            pass  # many publish JSON lines under the name .json
    return _json_lines(text, faults, line)


def _from_json(value: object, faults: Mapping[str, Any], line: int | None) -> pa.Table:
    rows = [value] if isinstance(value, dict) and not any(isinstance(v, (list, dict)) for v in value.values()) else value
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return from_rows(rows)
    if isinstance(rows, dict) and all(isinstance(v, list) for v in rows.values()) and len(set(map(len, rows.values()))) == 1:
        return from_rows([dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)])
    raise DataError("data.file.json", line=line, **faults)


def _json_lines(text: str, faults: Mapping[str, Any], line: int | None) -> pa.Table:
    rows = []
    for number, row in enumerate(text.split("\n"), start=1):  # not splitlines(), which also splits at U+2028
        if not row.strip():
            continue
        try:
            value = json.loads(row)
        except json.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise DataError("data.file.json_line", line=line, row=number, **faults)
        rows.append(value)
    return from_rows(rows)


def _parquet(path: Path, large: bool) -> pa.Table:
    with pyarrow.parquet.ParquetFile(path) as file:  # read_table() would make columns of folders named key=value
        batches = file.iter_batches(batch_size=BATCH_ROWS)
        table = gathered(file.schema_arrow, batches, large=True) if large else file.read()
    return with_label_names(table, _label_names(table.schema.metadata or {}))


def _label_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """The class names that ``datasets`` writes into a file's schema, of lists those of their values."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        inner = {name: feature.get("feature", feature) for name, feature in features.items() if isinstance(feature, dict)}
        return {name: each["names"] for name, each in inner.items() if each.get("_type") == "ClassLabel"}
    except (ValueError, AttributeError, KeyError):
        return {}


def _ending(path: Path, field: str, line: int | None) -> str:
    faults: dict[str, Any] = {"field": field, "path": str(path), "formats": " ".join(SUFFIXES)}
    if not _exists(path):
        raise DataError("data.file.absent", line=line, hint=did_you_mean(path.name, _beside(path)), **faults)
    if path.is_dir():
        raise DataError("data.file.folder", line=line, files=listed(_beside(path / "x")) or "–", **faults)
    ending = next((s for s in SUFFIXES if path.name.lower().endswith(s)), "")
    if not ending:
        raise DataError("data.file.format", line=line, **faults)
    return ending.removesuffix(".gz")


def _beside(path: Path) -> list[str]:
    try:
        return sorted(p.name for p in path.parent.iterdir() if p.name.lower().endswith(SUFFIXES))
    except OSError:
        return []


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a name, or a null byte
        return False
