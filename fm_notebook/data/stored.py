"""Arrow files: written whole or not at all, read by mapping; and tables too large for memory, kept in one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import platformdirs
import pyarrow as pa

LARGE_BYTES = 64 * 2**20
"""Files and tables from this size on are worked on in batches and kept on disk."""
BATCH_ROWS = 2**15


def write(rows: pa.Table | pa.RecordBatchReader, path: Path) -> None:
    """Write an Arrow file that only its owner may read, whole or not at all; a reader's batches are not held in memory.

    Raises
    ------
    OSError
        If the disk is full or the folder is not writable; a file that was there before stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            with pa.ipc.new_file(file, rows.schema) as writer:
                for batch in rows.to_batches() if isinstance(rows, pa.Table) else rows:
                    writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path) -> pa.Table:
    """The table in an Arrow file, mapped into memory: its rows are read when they are used."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def is_large(n_bytes: int) -> bool:
    """Whether something of this size had better not be held in memory."""
    return n_bytes >= LARGE_BYTES


def batches_of(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """The rows of `table` in batches of at most `BATCH_ROWS`, without copies."""
    yield from table.to_batches(max_chunksize=BATCH_ROWS)


def gathered(schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, large: bool) -> pa.Table:
    """The table of `batches`: in memory in one piece, or if `large` in a file that is gone with the table.

    The file lies in the user's cache folder, since ``/tmp`` is memory on many systems; it is unlinked as soon as it is mapped,
    so that no end of the process leaves people's data behind.

    Raises
    ------
    OSError
        If the disk is full.
    """
    if not large:
        return pa.Table.from_batches(batches, schema).combine_chunks()
    folder = platformdirs.user_cache_path("fm_notebook", ensure_exists=True)
    descriptor, name = tempfile.mkstemp(prefix="rows-", suffix=".arrow", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file, pa.ipc.new_file(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return load(Path(name))
    finally:
        with suppress(OSError):
            Path(name).unlink()


def chosen_rows(table: pa.Table, mask: np.ndarray) -> pa.Table:
    """The rows of `table` where `mask`, shape ``(N,)``, is True, in memory or on disk as `table` is large or not."""

    def parts() -> Iterator[pa.RecordBatch]:
        first = 0
        for batch in batches_of(table):
            yield batch.filter(pa.array(mask[first : first + batch.num_rows]))
            first += batch.num_rows

    return gathered(table.schema, parts(), large=is_large(table.nbytes))
