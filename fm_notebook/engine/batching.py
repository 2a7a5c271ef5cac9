"""Which examples meet in a step, and how they become tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from fm_notebook.engine.tokens import Tokens

WIDTH_MULTIPLE = 8  # few shapes: oneDNN builds a primitive a shape, tensor cores want multiples of 8


@dataclass(frozen=True)
class Examples:
    """N tokenised examples.

    Attributes
    ----------
    tokens : Tokens
    targets : ndarray of int64, shape (N,)
        Class indices; empty where nothing is to be learnt or scored.
    weights : ndarray of float32, shape (N,)
        Weight of each example's loss.
    rows : ndarray of int64, shape (N,)
        Row numbers in the user's data.
    """

    tokens: Tokens
    targets: np.ndarray
    weights: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass
class EpochPlan:
    """The rows of every step: a permutation of all ``n`` examples an epoch, cut into batches; the last one may be smaller.

    A function of seed and epoch alone, drawn by a generator of its own: the same batches for any micro-batch size, on any
    device, and after a resume from any step.
    """

    n: int
    batch_size: int
    seed: int
    _epoch: int = field(default=-1, repr=False)
    _order: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps that show every example once."""
        return math.ceil(self.n / self.batch_size)

    def rows(self, step: int) -> np.ndarray:
        """Indices of the examples of the step after `step` done ones, shape ``(B,)``."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.n)
        return self._order[place * self.batch_size : (place + 1) * self.batch_size]


def micro_batches(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """`rows` in pieces of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def collate(tokens: Tokens, rows: np.ndarray, device: torch.device) -> dict[str, Any]:
    """Model inputs for `rows`: ids and mask of shape ``(B, T)``, padded on the right to the longest, rounded up to 8.

    One gather over the flat ids, no Python per example.
    """
    lengths = tokens.lengths[rows]
    longest = int(lengths.max())
    width = max(longest, min(-(-longest // WIDTH_MULTIPLE) * WIDTH_MULTIPLE, tokens.limit))
    columns = np.arange(width)
    mask = columns < lengths[:, None]
    places = (tokens.offsets[rows][:, None] + columns)[mask]
    ids = np.full(mask.shape, tokens.pad_id, np.int64)
    ids[mask] = tokens.ids[places]
    batch = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
    if tokens.type_ids is not None:
        batch["token_type_ids"] = np.zeros(mask.shape, np.int64)
        batch["token_type_ids"][mask] = tokens.type_ids[places]
    return {name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in batch.items()}
