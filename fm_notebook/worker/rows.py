"""The rows of a job's Arrow files, and what is written back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from fm_notebook.jobs import atomic


@dataclass(frozen=True)
class Rows:
    """N texts (or pairs), their class indices (-1 where there is no label column) and row numbers in the user's data."""

    texts: Sequence[str]
    pairs: Sequence[str] | None
    targets: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)


def read_rows(path: Path) -> Rows:
    """The rows of an Arrow file in the canonical columns ``text``, ``text_pair``, ``label`` and ``row``."""
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
        pairs = table["text_pair"].to_pylist() if "text_pair" in table.column_names else None
        return Rows(table["text"].to_pylist(), pairs, _numbers(table, "label", -1), _numbers(table, "row", None))


def write_predictions(path: Path, rows: np.ndarray, probabilities: np.ndarray) -> None:
    """Write class probabilities, shape ``(N, C)``, as columns ``row`` and ``probabilities`` (list of C float32)."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * probabilities.shape[1]
    lists = pa.ListArray.from_arrays(offsets, pa.array(probabilities.astype(np.float32).ravel()))
    table = pa.table({"row": pa.array(rows, pa.int64()), "probabilities": lists})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    atomic.write(path, sink.getvalue().to_pybytes())


def _numbers(table: pa.Table, column: str, missing: int | None) -> np.ndarray:
    if column in table.column_names:
        return table[column].to_numpy().astype(np.int64)
    return np.arange(table.num_rows) if missing is None else np.full(table.num_rows, missing, np.int64)
