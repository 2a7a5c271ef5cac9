"""CSV and TSV: small files at once, large ones block by block into an Arrow file on disk."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NoReturn, Protocol

import pyarrow as pa
import pyarrow.csv

from fm_notebook.data.stored import gathered
from fm_notebook.errors import DataError

BLOCK_BYTES = 2**24
_FAULTY_COLUMN = re.compile(r"In CSV column #(\d+):.* conversion error to (\w+)")
_NOT_UTF8 = "invalid UTF8"


class Open(Protocol):
    """Opens a file of bytes anew, at its beginning."""

    def __call__(self) -> BinaryIO: ...  # noqa: D102


def csv_table(data: bytes, *, tabs: bool = False, faults: Mapping[str, Any] | None = None, line: int | None = None) -> pa.Table:
    """The rows of UTF-8 `data` in CSV, or TSV without quoting; `faults` are the values of its error messages.

    Raises
    ------
    DataError
        If a row has more or fewer fields than the header.
    """
    with _parsing(tabs, faults, line) as parsing:
        # Without threads, as otherwise a bad row has no number.
        read = pyarrow.csv.ReadOptions(use_threads=False)
        options = {"read_options": read, "parse_options": parsing, "convert_options": _converting({})}
        return pyarrow.csv.read_csv(pa.BufferReader(data), **options)


def csv_on_disk(open_file: Open, *, tabs: bool, faults: Mapping[str, Any], line: int | None = None) -> pa.Table:
    """The rows of a large file, mapped from an Arrow file; a column has the type that all its values have.

    Types are guessed from the first block. Where a later value is of another, reading begins again with a wider type: whole
    numbers, then fractions, then text.

    Raises
    ------
    DataError
        If a row has more or fewer fields than the header.
    UnicodeDecodeError
        If the file is not UTF-8.
    """
    types: dict[str, pa.DataType] = {}
    while True:
        with open_file() as file, _parsing(tabs, faults, line) as parsing:
            read = pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES)
            options = {"read_options": read, "parse_options": parsing, "convert_options": _converting(types)}
            reader = pyarrow.csv.open_csv(file, **options)
            if any(pa.types.is_binary(kind) for kind in reader.schema.types):
                raise_not_utf8(open_file)
            try:
                return gathered(reader.schema, reader, large=True)
            except pa.ArrowInvalid as error:
                if _NOT_UTF8 in str(error):
                    raise_not_utf8(open_file)
                if not (match := _FAULTY_COLUMN.search(str(error))):
                    raise
                field = reader.schema.field(int(match[1]))
                types[field.name] = _wider(field.type)


def raise_not_utf8(open_file: Open) -> NoReturn:
    """Read a file until the byte that is no UTF-8.

    Raises
    ------
    UnicodeDecodeError
        At that byte of the file.
    """
    decoder, first = codecs.getincrementaldecoder("utf-8")(), 0
    with open_file() as file:
        while block := file.read(BLOCK_BYTES):
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                place = first - held + error.start
                raise UnicodeDecodeError(error.encoding, error.object, place, place + 1, error.reason) from None
            first += len(block)
    decoder.decode(b"", final=True)
    raise ValueError("the file is UTF-8 throughout")


@contextmanager
def _parsing(tabs: bool, faults: Mapping[str, Any] | None, line: int | None) -> Iterator[pyarrow.csv.ParseOptions]:
    """Options by which a row with a wrong number of fields becomes the user's fault: Arrow's own message shows the row."""
    bad: list[pyarrow.csv.InvalidRow] = []

    def remember(row: pyarrow.csv.InvalidRow) -> str:
        bad.append(row)
        return "error"

    try:
        yield pyarrow.csv.ParseOptions(
            delimiter="\t" if tabs else ",",
            quote_char=False if tabs else '"',
            newlines_in_values=not tabs,
            invalid_row_handler=remember,
        )
    except pa.ArrowInvalid:
        if not bad:
            raise
        told: dict[str, Any] = {"row": bad[0].number, "expected": bad[0].expected_columns, "actual": bad[0].actual_columns}
        raise DataError("data.file.row", line=line, **(faults or {}), **told) from None


def _converting(types: Mapping[str, pa.DataType]) -> pyarrow.csv.ConvertOptions:
    return pyarrow.csv.ConvertOptions(
        column_types=types, null_values=[""], true_values=[], false_values=[], strings_can_be_null=False
    )


def _wider(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_null(kind):
        return pa.int64()
    return pa.float64() if pa.types.is_integer(kind) else pa.string()
