"""Columns of lists as flat values and lengths, so that no row costs Python."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, slots=True)
class Ragged:
    """The values of all lists of an array one after the other, and each list's length, shape ``(N,)``, 0 where it is null."""

    values: pa.Array
    lengths: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """The list that each value stands in, shape ``(len(values),)``."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def offsets(self) -> np.ndarray:
        """Where each list begins among the values, and the end of the last, shape ``(N + 1,)``."""
        return np.concatenate([[0], np.cumsum(self.lengths)])


def ragged(array: pa.Array) -> Ragged:
    """The lists of `array` (of any list type), taken apart."""
    lengths = pc.call_function("list_value_length", [array]).fill_null(0)
    return Ragged(pc.call_function("list_flatten", [array]), np.asarray(lengths).astype(np.int64))


def has_whole_list(array: pa.Array) -> np.ndarray:
    """Where a list is there and none of its values is null, shape ``(N,)``."""
    parts = ragged(array)
    whole = np.asarray(array.is_valid()).copy()
    whole[parts.rows[np.asarray(parts.values.is_null())]] = False
    return whole


def lists(values: np.ndarray | pa.Array, lengths: np.ndarray, missing: pa.Array | None = None) -> pa.Array:
    """Lists of the given lengths, one after the other from `values`, null where `missing`; numbers are stored in 32 bits."""
    flat = values if isinstance(values, pa.Array) else pa.array(np.asarray(values, np.int32))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat, mask=missing)


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
