"""What the user wrote for data, as one Arrow table."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from fm_notebook.contracts.specs import DataRef
from fm_notebook.data.files import from_file, looks_like_path
from fm_notebook.data.hub import from_hub
from fm_notebook.data.samples import PREFIX, read_sample
from fm_notebook.data.values import from_value
from fm_notebook.errors import DataError


def read(value: object, *, source: str, field: str, line: int | None = None) -> tuple[pa.Table, DataRef]:
    """The rows that `value` stands for, and where they came from.

    Parameters
    ----------
    value : object
        A pandas or polars frame, ``datasets.Dataset``, Arrow table, list of dicts, dict of lists; or as text
        ``sample:NAME``, the path of a file (see `fm_notebook.data.files`), or a hub id (see `fm_notebook.data.hub`).
    source : str
        The text that the user wrote for it.
    field : str
        Field of the cell, such as ``train``; chooses a hub data set's split and is named in errors.
    line : int, optional
        Line of the cell, for errors.

    Returns
    -------
    tuple of pyarrow.Table and DataRef
        The reference has no fingerprint yet: which columns are used is not known here.

    Raises
    ------
    DataError
        If there is nothing to read, or no row in it.
    """
    match value:
        case str() if value.startswith(PREFIX):
            table, kind = read_sample(value.removeprefix(PREFIX), line=line), "sample"
        case str() if looks_like_path(value):
            table, kind = from_file(Path(value), field=field, line=line), "file"
        case str():
            table, kind = from_hub(value, field=field, line=line), "hub"
        case Path():
            table, kind = from_file(value, field=field, line=line), "file"
        case _:
            table, kind = from_value(value, field=field, line=line), "value"
    if not table.num_rows:
        raise DataError("data.empty", line=line, field=field, source=source)
    return table, DataRef(source=source, kind=kind, rows=table.num_rows)
