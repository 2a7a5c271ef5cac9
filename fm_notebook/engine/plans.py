"""Which examples meet in which step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fm_notebook.engine.batching import Examples

MEGA_BATCHES = 50
"""Batches within which `LengthGroupedPlan` sorts, as in transformers."""


class Plan(Protocol):
    """Which examples meet in which step: the seam for other samplers.

    A function of the step alone, so that a resume needs no state.
    """

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps that show every example once."""
        ...

    def rows(self, step: int) -> np.ndarray:
        """Indices of the examples of the step after `step` done ones, shape ``(B,)``."""
        ...


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
            self._epoch, self._order = epoch, self._permutation(np.random.default_rng([self.seed, epoch]))
        return self._order[place * self.batch_size : (place + 1) * self.batch_size]

    def _permutation(self, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(self.n)


@dataclass
class LengthGroupedPlan(EpochPlan):
    """As `EpochPlan`, but texts of like length meet: sorted within `MEGA_BATCHES` batches, whose order is then drawn.

    Less padding and fewer shapes; batches are less random, so it is not the default.
    """

    lengths: np.ndarray = field(kw_only=True, repr=False)

    def _permutation(self, rng: np.random.Generator) -> np.ndarray:
        order, mega = rng.permutation(self.n), self.batch_size * MEGA_BATCHES
        pieces = [order[start : start + mega] for start in range(0, self.n, mega)]
        sorted_ = np.concatenate([piece[np.argsort(-self.lengths[piece], kind="stable")] for piece in pieces])
        batches = [sorted_[start : start + self.batch_size] for start in range(0, self.n, self.batch_size)]
        full = [batches[i] for i in rng.permutation(self.n // self.batch_size)]
        return np.concatenate([*full, *batches[self.n // self.batch_size :]])  # the smaller one stays last


def plan_of(examples: Examples, batching: str, batch_size: int, seed: int) -> Plan:
    """The plan called `batching`: ``random`` or ``length-grouped``."""
    if batching == "length-grouped":
        return LengthGroupedPlan(len(examples), batch_size, seed, lengths=examples.tokens.lengths)
    return EpochPlan(len(examples), batch_size, seed)
