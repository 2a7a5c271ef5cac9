"""Arrays from pickles, which could run any code: nothing but NumPy's arrays is built, and all else is refused by name.

Some data sets and vectors are published as ``.pkl``, or as ``.npy`` of objects, which is a pickle after a header.

References
----------
https://docs.python.org/3/library/pickle.html#restricting-globals
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from fm_notebook.data.wording import shown
from fm_notebook.errors import DataError

ALLOWED = frozenset(
    {("numpy", "ndarray"), ("numpy", "dtype")}
    | {(module, "_reconstruct") for module in ("numpy._core.multiarray", "numpy.core.multiarray")}
    | {("_codecs", "encode")}
)
"""All that a pickle may name; lists, dicts, texts and numbers need no name. Other modules are not even imported.

Old pickles write bytes as text and a call of ``encode``; they get one of ours, which knows Latin-1 alone.
"""


def load(path: Path) -> Any:
    """What a ``.pkl``, ``.npy`` or ``.npz`` file holds: arrays, and lists and dicts of them, of numbers and of texts.

    Raises
    ------
    DataError
        If it names anything but `ALLOWED`, or is no such file.
    """
    try:
        with path.open("rb") as file:
            start = file.read(6)
        if start[:4] == b"PK\x03\x04":
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        if start == npy.MAGIC_PREFIX:
            return _array(path)
        return _Restricted(io.BytesIO(path.read_bytes())).load()
    except _Refused as error:
        raise DataError("pickle.refused", path=shown(path.name), named=shown(error)) from None
    except OSError as error:
        raise DataError("pickle.unreadable", path=shown(path.name), reason=error.strerror or str(error)) from error
    except Exception as error:  # a broken pickle raises anything
        raise DataError("pickle.unreadable", path=shown(path.name), reason=shown(error)) from error


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """A pickle names what it may not."""


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise _Refused(f"{module}.{name}")
        if name == "encode":
            return _latin1
        return np._core.multiarray._reconstruct if name == "_reconstruct" else getattr(np, name)  # type: ignore[attr-defined]

    def persistent_load(self, pid: object) -> Any:
        raise _Refused(f"persistent_id={pid}")


def _latin1(text: str, encoding: str = "") -> bytes:
    if encoding != "latin1":
        raise _Refused(f"encoding {encoding}")
    return text.encode("latin1")


def _array(path: Path) -> np.ndarray:
    """The array of an ``.npy`` file; one of objects through the restricted unpickler."""
    with path.open("rb") as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
        if dtype.hasobject:
            found = _Restricted(file).load()
            if not isinstance(found, np.ndarray) or found.shape != shape:
                raise ValueError(f"the header says shape {shape}")
            return found
        file.seek(0)
        return npy.read_array(file, allow_pickle=False)
