"""Texts that begin alike, in a row where each beginning stands once: of causal models, which read it alike in all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from fm_notebook.engine import families
from fm_notebook.engine.batching import Batch, Budget, to_device
from fm_notebook.engine.packing import pack


def pieces(batch: Batch, budget: Budget, *, padded: bool) -> Iterator[Batch]:
    """`batch` in pieces within `budget`, where a beginning that texts of a piece share counts once."""
    del padded
    ordered = batch.take(_alphabetical(batch))
    own = ordered.lengths - _shared(_table(ordered)).sum(1)
    start, tokens = 0, 0
    for i, (length, new) in enumerate(zip(ordered.lengths.tolist(), own.tolist(), strict=True)):
        tokens += new
        if i > start and (tokens > budget.tokens or i - start >= budget.texts):
            yield ordered.take(np.arange(start, i))
            start, tokens = i, length
    yield ordered.take(np.arange(start, len(ordered)))


def logits(model: Any, batch: Batch) -> tuple[torch.Tensor, np.ndarray]:
    """Logits at the places of a piece that have a target, fp32, shape ``(n, V)``, and in which row of them each place's are."""
    device = next(model.parameters()).device
    where = places(batch)
    plan = pack(batch.lengths, device, where)
    ids = np.full(len(plan.positions), batch.pad_id, np.int64)
    ids[where] = batch.ids
    read, row = np.unique(where[batch.places], return_inverse=True)
    return families.forward_tokens(model, to_device(ids, device), plan, to_device(read, device)).float(), row


def places(batch: Batch) -> np.ndarray:
    """Where each token lies if equal beginnings of neighbouring texts lie at the same places, int64, shape ``(T,)``.

    Examples
    --------
    Texts of the tokens 5 6 7 and 5 6 8:

    >>> from fm_notebook.engine.batching import Batch
    >>> whole = dict(type_ids=None, targets=np.zeros(2), weights=np.ones(2), rows=np.arange(2), level="text", pad_id=0, limit=9)
    >>> places(Batch(ids=np.array([5, 6, 7, 5, 6, 8]), lengths=np.array([3, 3]), **whole)).tolist()
    [0, 1, 2, 0, 1, 3]
    """
    table = _table(batch)
    new = (table >= 0) & ~_shared(table)
    number = np.where(new, np.cumsum(new).reshape(new.shape) - 1, -1)
    return np.maximum.accumulate(number, axis=0)[table >= 0]  # what is not new is what the text above has there


def _table(batch: Batch) -> np.ndarray:
    """The tokens of each text in a row of its own, -1 behind its end."""
    table = np.full((len(batch), int(batch.lengths.max())), -1, np.int64)
    table[np.arange(table.shape[1]) < batch.lengths[:, None]] = batch.ids
    return table


def _shared(table: np.ndarray) -> np.ndarray:
    """Which tokens belong to a beginning that the text above has too."""
    same = np.zeros(table.shape, bool)
    same[1:] = np.logical_and.accumulate((table[1:] == table[:-1]) & (table[1:] >= 0), axis=1)
    return same


def _alphabetical(batch: Batch) -> np.ndarray:
    """The order of the texts' tokens, so that those which begin alike are neighbours."""
    ends = np.cumsum(batch.lengths).tolist()
    letters = batch.ids.astype(">u4")  # bytes whose order is that of the numbers
    keys = [letters[end - n : end].tobytes() for end, n in zip(ends, batch.lengths.tolist(), strict=True)]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
