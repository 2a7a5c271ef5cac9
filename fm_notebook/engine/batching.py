"""The examples of a step: gathered, cut into micro-batches, and made tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts.protocols import IGNORED, Level
from fm_notebook.engine.tokens import Tokens

WIDTH_MULTIPLE = 8  # few shapes: oneDNN builds a primitive a shape, tensor cores want multiples of 8
HELD_OUT = -1
"""Stands for the epoch where held-out rows are drawn: always the same."""


@dataclass(frozen=True)
class Batch:
    """B texts of T tokens in all, one after the other, in NumPy.

    Attributes
    ----------
    ids : ndarray of int64, shape (T,)
    lengths : ndarray of int64, shape (B,)
    type_ids : ndarray of int64, shape (T,), or None
    targets : ndarray
        Level ``text``: first dimension B. Level ``token``: shape ``(T,)``, `IGNORED` where nothing is learnt.
    weights : ndarray of float32
        Weight of each target's loss, aligned with `targets`.
    rows : ndarray of int64, shape (B,)
        Row numbers in the user's data.
    level : str
    pad_id, limit : int
        See `Tokens`.
    total : float
        Sum of the weights that count in the *whole* step, of which this may be a part.
    features : ndarray of float32, shape (B, D), or None
        What a frozen backbone says of each text, where that is known: see `fm_notebook.engine.frozen`.
    """

    ids: np.ndarray
    lengths: np.ndarray
    type_ids: np.ndarray | None
    targets: np.ndarray
    weights: np.ndarray
    rows: np.ndarray
    level: Level
    pad_id: int
    limit: int
    total: float = math.nan
    features: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def places(self) -> np.ndarray:
        """Level ``token``: flat places that have a target, shape ``(n,)``; level ``text``: the numbers of the texts."""
        return np.flatnonzero(self.targets != IGNORED) if self.level == "token" else np.arange(len(self))

    @property
    def counts(self) -> np.ndarray:
        """Targets of each text, shape ``(B,)``."""
        if self.level == "text":
            return np.ones(len(self), np.int64)
        before = np.concatenate([[0], np.cumsum(self.targets != IGNORED)])
        ends = np.cumsum(self.lengths)
        return before[ends] - before[ends - self.lengths]

    def whole(self) -> Batch:
        """The batch as all of a step: its weights are the `total`."""
        total = float(self.weights[self.places].sum(dtype=np.float64))
        return replace(self, total=total or 1.0)  # nothing to learn: the loss is 0, not undefined

    def take(self, which: np.ndarray) -> Batch:
        """Some of the texts, in the order of `which`."""
        starts = np.cumsum(self.lengths) - self.lengths
        flat, lengths = spans(starts[which], self.lengths[which])
        by_target = flat if self.level == "token" else which
        return replace(
            self, ids=self.ids[flat], lengths=lengths, type_ids=None if self.type_ids is None else self.type_ids[flat],
            targets=self.targets[by_target], weights=self.weights[by_target], rows=self.rows[which],
            features=None if self.features is None else self.features[which],
        )  # fmt: skip


Draw = Callable[[Batch, int], Batch]
"""Makes ids, targets and weights of a batch for an epoch, where they are not fixed: masking, shifting."""


@dataclass(frozen=True)
class Examples:
    """N tokenised examples.

    Attributes
    ----------
    tokens : Tokens
    targets : ndarray
        Level ``text``: first dimension N. Level ``token``: aligned with ``tokens.ids``, `IGNORED` where nothing is learnt.
    weights : ndarray of float32
        Weight of each target's loss, aligned with `targets`.
    rows : ndarray of int64, shape (N,)
        Row numbers in the user's data.
    level : str
    draw : callable, optional
        What is drawn anew each epoch.
    features : ndarray of float32, shape (N, D), optional
        See `Batch`.
    """

    tokens: Tokens
    targets: np.ndarray
    weights: np.ndarray
    rows: np.ndarray
    level: Level = "text"
    draw: Draw | None = None
    features: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def distinct_rows(self) -> int:
        """Rows of the user's data, of which one may be several examples."""
        return len(np.unique(self.rows))

    def only(self, which: np.ndarray) -> Examples:
        """The examples numbered `which`, in that order."""
        flat, lengths = spans(self.tokens.offsets[which], self.tokens.lengths[which])
        types, by_target = self.tokens.type_ids, flat if self.level == "token" else which
        tokens = replace(
            self.tokens, ids=self.tokens.ids[flat], offsets=np.concatenate([[0], np.cumsum(lengths)]),
            type_ids=None if types is None else types[flat],
        )  # fmt: skip
        return replace(
            self, tokens=tokens, targets=self.targets[by_target], weights=self.weights[by_target], rows=self.rows[which],
            features=None if self.features is None else self.features[which],
        )  # fmt: skip

    def batch(self, which: np.ndarray, epoch: int = HELD_OUT) -> Batch:
        """The examples numbered `which` as they are in `epoch`."""
        flat, lengths = spans(self.tokens.offsets[which], self.tokens.lengths[which])
        types = self.tokens.type_ids
        by_target = flat if self.level == "token" else which
        made = Batch(
            ids=self.tokens.ids[flat].astype(np.int64), lengths=lengths,
            type_ids=None if types is None else types[flat].astype(np.int64), targets=self.targets[by_target],
            weights=self.weights[by_target], rows=self.rows[which], level=self.level, pad_id=self.tokens.pad_id,
            limit=self.tokens.limit, features=None if self.features is None else self.features[which],
        )  # fmt: skip
        return (self.draw(made, epoch) if self.draw else made).whole()


def spans(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All places of the spans that begin at `starts`, one span after the other, and the `lengths` as int64."""
    lengths = np.asarray(lengths, np.int64)
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum())), lengths


@dataclass(frozen=True)
class Budget:
    """How much goes through the model at once: at most `texts` texts and `tokens` tokens (one text always does)."""

    texts: int
    tokens: int

    def halved(self, largest: int) -> Budget:
        """Half of it, where `largest` texts were the most that met."""
        return Budget(max(1, min(self.texts, largest) // 2), max(1, self.tokens // 2))


def micro_batches(batch: Batch, budget: Budget, *, padded: bool) -> Iterator[Batch]:
    """`batch` in pieces within `budget`, longest texts first, so that a piece holds like lengths.

    A step's gradient is a sum, which does not mind the order of its texts.
    """
    order = np.argsort(-batch.lengths, kind="stable")
    for start, stop in _cuts(batch.lengths[order], budget, padded=padded):
        yield batch.take(order[start:stop])


def largest_piece(batch: Batch, budget: Budget, *, padded: bool) -> int:
    """Most texts that meet in one piece."""
    return max(stop - start for start, stop in _cuts(np.sort(batch.lengths)[::-1], budget, padded=padded))


def _cuts(lengths: np.ndarray, budget: Budget, *, padded: bool) -> Iterator[tuple[int, int]]:
    start, tokens = 0, 0
    for i, length in enumerate(lengths.tolist()):
        cost = int(lengths[start]) if padded else length
        if i > start and (i - start >= budget.texts or tokens + cost > budget.tokens):
            yield start, i
            start, tokens, cost = i, 0, length
        tokens += cost
    yield start, len(lengths)


def collate(batch: Batch, device: torch.device) -> dict[str, Any]:
    """Model inputs: ids and mask of shape ``(B, W)``, padded on the right to the longest, rounded up to a multiple of 8.

    One scatter of the flat ids, no Python per example.
    """
    mask = np.arange(padded_width(batch)) < batch.lengths[:, None]
    ids = np.full(mask.shape, batch.pad_id, np.int64)
    ids[mask] = batch.ids
    found = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
    if batch.type_ids is not None:
        found["token_type_ids"] = np.zeros(mask.shape, np.int64)
        found["token_type_ids"][mask] = batch.type_ids
    return {name: to_device(array, device) for name, array in found.items()}


def padded_width(batch: Batch) -> int:
    """Width W of the padded batch, never above what the model takes."""
    longest = int(batch.lengths.max())
    return max(longest, min(-(-longest // WIDTH_MULTIPLE) * WIDTH_MULTIPLE, batch.limit))


def padded_places(batch: Batch) -> np.ndarray:
    """Where the places that have a target lie in the padded batch, as flat indices into ``(B * W,)``."""
    flat, _ = spans(np.arange(len(batch)) * padded_width(batch), batch.lengths)
    return flat[batch.places]


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """`array` as a tensor; to CUDA through pinned memory, without waiting for the copy."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
