"""One long array, made piece by piece, that leaves memory for a file when it grows large."""

from __future__ import annotations

import tempfile
from typing import IO

import numpy as np
import platformdirs

from fm_notebook.data import stored


class Spool:
    """Takes pieces of shape ``(n,)``; `array` is one after the other.

    The file lies in the user's cache folder, as ``/tmp`` is memory on many systems, and has no name, so that no end of the
    process leaves it behind.
    """

    def __init__(self, dtype: type[np.generic]):
        self._dtype, self._bytes = np.dtype(dtype), 0
        self._pieces: list[np.ndarray] = []
        self._file: IO[bytes] | None = None

    def add(self, piece: np.ndarray) -> None:
        """Put `piece` at the end.

        Raises
        ------
        OSError
            If the disk is full.
        """
        self._pieces.append(np.ascontiguousarray(piece, self._dtype))
        self._bytes += self._pieces[-1].nbytes
        if self._file is None and stored.is_large(self._bytes):
            self._file = tempfile.TemporaryFile(dir=platformdirs.user_cache_path("fm_notebook", ensure_exists=True))  # noqa: SIM115
        if self._file is not None:
            for each in self._pieces:
                self._file.write(each.data)
            self._pieces.clear()

    def array(self) -> np.ndarray:
        """All pieces, shape ``(N,)``: in memory, or mapped and read-only. Nothing can be added after."""
        if self._file is None:
            return np.concatenate([np.zeros(0, self._dtype), *self._pieces])
        with self._file as file:
            file.flush()
            return np.asarray(np.memmap(file, self._dtype, mode="r"))
