"""Rows in files: CSV, TSV, JSON lines, JSON and Parquet, the first four also gzipped.

Files are read straight into memory with Arrow: ``datasets.load_dataset`` would leave a copy of people's data in a cache outside
the run's folder.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fm_notebook.data.values import from_rows, unique_names, with_label_names
from fm_notebook.data.wording import listed
from fm_notebook.errors import DataError, did_you_mean

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
SUFFIXES = (*FORMATS, *(suffix + ".gz" for suffix in FORMATS[:-1]))


def looks_like_path(text: str) -> bool:
    """Whether `text` is meant as a path rather than as a hub id: by its ending, its beginning, or because it is there."""
    if text.lower().endswith(SUFFIXES) or text.startswith(("/", "./", "../", "~", ".\\", "..\\")) or "\\" in text:
        return True
    return _exists(Path(text))


def from_file(path: Path, *, field: str, line: int | None = None) -> pa.Table:
    """The rows of a file, by its ending.

    CSV has RFC 4180 quoting, TSV has none; in both the words ``null`` and ``NA`` are text and only an empty field of a column of
    numbers is missing. Text is UTF-8, with or without a byte order mark.

    Raises
    ------
    DataError
        If the file is not there, of another kind, not UTF-8, or broken (the faulty row is named).
    """
    path = path.expanduser()
    ending = _ending(path, field, line)
    faults: dict[str, Any] = {"field": field, "path": str(path)}
    try:
        if ending == ".parquet":
            table = _parquet(path)
        else:
            data = gzip.decompress(path.read_bytes()) if path.name.lower().endswith(".gz") else path.read_bytes()
            table = _from_text(data.decode("utf-8-sig"), ending, faults, line)
    except UnicodeDecodeError as error:
        raise DataError("data.file.encoding", line=line, position=error.start, **faults) from None
    except (pa.ArrowException, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError("data.file.broken", line=line, format=ending[1:], **faults) from error
    except OSError as error:
        raise DataError("data.file.unreadable", line=line, reason=error.strerror or type(error).__name__, **faults) from error
    return unique_names(table, field, line)


def csv_table(data: bytes, *, tabs: bool = False, faults: Mapping[str, Any] | None = None, line: int | None = None) -> pa.Table:
    """The rows of UTF-8 `data` in CSV, or TSV without quoting; `faults` are the values of its error messages.

    Raises
    ------
    DataError
        If a row has more or fewer fields than the header.
    """
    bad: list[pyarrow.csv.InvalidRow] = []

    def remember(row: pyarrow.csv.InvalidRow) -> str:
        bad.append(row)
        return "error"

    try:
        # Without threads, as otherwise a bad row has no number.
        return pyarrow.csv.read_csv(
            pa.BufferReader(data),
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter="\t" if tabs else ",",
                quote_char=False if tabs else '"',
                newlines_in_values=not tabs,
                invalid_row_handler=remember,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                null_values=[""], true_values=[], false_values=[], strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        if not bad:
            raise
    row = bad[0]  # Arrow's own message shows the row: data does not belong in a saved traceback.
    told: dict[str, Any] = {"row": row.number, "expected": row.expected_columns, "actual": row.actual_columns}
    raise DataError("data.file.row", line=line, **(faults or {}), **told)


def _from_text(text: str, ending: str, faults: Mapping[str, Any], line: int | None) -> pa.Table:
    if not text.strip():
        return pa.table({})
    if ending in {".csv", ".tsv"}:
        return csv_table(text.encode(), tabs=ending == ".tsv", faults=faults, line=line)
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


def _parquet(path: Path) -> pa.Table:
    with pyarrow.parquet.ParquetFile(path) as file:  # read_table() would make columns of folders named key=value
        table = file.read()
    return with_label_names(table, _label_names(table.schema.metadata or {}))


def _label_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """The class names that ``datasets`` writes into a file's schema."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        return {name: f["names"] for name, f in features.items() if isinstance(f, dict) and f.get("_type") == "ClassLabel"}
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
