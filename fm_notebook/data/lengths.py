"""Groups of rows by the length of their texts, in characters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fm_notebook import messages
from fm_notebook.errors import DataError

BINS, MOST_BINS = 4, 20


def by_length(texts: Sequence[pa.ChunkedArray], bins: str = "") -> pa.Array:
    """Each row's length as one of so many ranges that hold about as many rows each; quartiles unless `bins` says otherwise.

    Characters, not words or tokens: Chinese has no spaces, and a tokenizer is known to the worker only. Of pairs of texts the
    sum. Equal lengths are in one range, so that fewer come out where many are equal.

    Parameters
    ----------
    texts : sequence of pyarrow.ChunkedArray
        Large strings, shape ``(N,)`` each.
    bins : str
        A number from 2 to 20.

    Raises
    ------
    DataError
        If `bins` is no such number.

    Examples
    --------
    >>> by_length([pa.chunked_array([["a", "bb", "cccc", "dddddd"]])], "2").to_pylist()
    ['1 – 3 characters', '1 – 3 characters', '4 – 6 characters', '4 – 6 characters']
    """
    if bins and not (bins.isdecimal() and 2 <= int(bins) <= MOST_BINS):
        raise DataError("groups.length_bins", bins=bins, most=MOST_BINS)
    total = sum(np.asarray(pc.call_function("utf8_length", [each]).cast(pa.float64()).fill_null(np.nan)) for each in texts)
    lengths = np.asarray(total, np.float64)
    there = np.isfinite(lengths)
    if not there.any():
        return pa.nulls(len(lengths), pa.large_string())
    edges = np.unique(np.floor(np.quantile(lengths[there], np.linspace(0, 1, int(bins or BINS) + 1)))).astype(np.int64)
    names = [_range(low if at == 0 else low + 1, high) for at, (low, high) in enumerate(pairwise(edges.tolist()))]
    names = names or [_range(int(edges[0]), int(edges[0]))]
    at = np.minimum(np.searchsorted(edges[1:-1], lengths, side="left"), len(names) - 1)
    return pa.array(names, pa.large_string()).take(pa.array(at, mask=~there))


def _range(low: int, high: int) -> str:
    return messages.text("groups.length", low=low, high=high)
