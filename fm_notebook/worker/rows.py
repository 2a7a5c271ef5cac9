"""What is written back about the rows of a job."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from fm_notebook.jobs import atomic


def write_predictions(path: Path, rows: np.ndarray, predictions: pa.Table) -> None:
    """Write what was predicted, with the column ``row`` (row numbers in the user's data) in front."""
    columns = [pa.array(rows, pa.int64()), *predictions.columns]
    table = pa.Table.from_arrays(columns, names=["row", *predictions.column_names])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    atomic.write(path, sink.getvalue().to_pybytes())
