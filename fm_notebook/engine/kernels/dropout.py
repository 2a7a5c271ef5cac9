"""Dropout masks out of a pool drawn once: on CPU, drawing a mask takes fifty times as long as multiplying by it."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch.nn import functional as F  # noqa: N812  (its name everywhere)

from fm_notebook.engine.kernels.replacing import Undo, in_reverse, replace_forward

POOL = 1 << 22  # 16 MB in fp32; one mask of MiniLM takes 0.2 M for 16 sentences
ATTRIBUTE = "mask_pool"  # on every module of a model: an attention function gets the module and a rate


class MaskPool:
    """Bernoulli masks of any shape: stretches of one long row of draws, each from a place drawn at random.

    The row is a function of seed and rate alone. The places come from torch's own generator, so whatever restores that (a
    resume, a step repeated, gradient checkpointing) repeats every mask: a pool has no state to save.

    Parameters
    ----------
    seed : int
        The run's.
    size : int
        Draws in the row. A stretch is at most a quarter of it, so a mask of up to that many draws repeats none; two masks of
        n draws share some of them, at other places, with a probability of about ``2 n / size``.
    """

    def __init__(self, seed: int, size: int = POOL):
        self._seed, self._size, self._stretch = seed, size, size // 4
        self._rows: dict[tuple[float, torch.dtype], torch.Tensor] = {}

    def mask(self, shape: tuple[int, ...], rate: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """A mask to multiply by: 0 with probability `rate`, else ``1 / (1 - rate)``. Only read it: it may be the pool's."""
        row, count = self._row(rate, dtype), math.prod(shape)
        lengths = [min(self._stretch, count - start) for start in range(0, count, self._stretch)]
        places = torch.randint(self._size - self._stretch + 1, (len(lengths),)).tolist()
        parts = [row[place : place + length] for place, length in zip(places, lengths, strict=True)]
        return (parts[0] if len(parts) == 1 else torch.cat([row[:0], *parts])).view(shape)

    def _row(self, rate: float, dtype: torch.dtype) -> torch.Tensor:
        if (rate, dtype) not in self._rows:
            kept = torch.empty(self._size).bernoulli_(1 - rate, generator=torch.Generator().manual_seed(self._seed))
            self._rows[rate, dtype] = kept.mul_(1 / (1 - rate)).to(dtype)
        return self._rows[rate, dtype]


def drop(x: torch.Tensor, rate: float, module: torch.nn.Module) -> torch.Tensor:
    """`x` with dropout, from the pool that `enable` gave `module`; without one, or not on CPU, torch's own."""
    pool = getattr(module, ATTRIBUTE, None)
    if pool is None or x.device.type != "cpu" or not 0 < rate < 1:
        return F.dropout(x, rate)
    return x * pool.mask(tuple(x.shape), rate, x.dtype)


def enable(model: torch.nn.Module, pool: MaskPool) -> Undo:
    """Take all of `model`'s dropout on CPU from `pool`; gives the function that undoes it.

    Attention functions take part if they call `drop`.
    """
    modules = list(model.modules())
    for module in modules:
        setattr(module, ATTRIBUTE, pool)
    undos = [replace_forward(each, partial(_forward, each)) for each in modules if type(each) is torch.nn.Dropout]

    def unmark() -> None:
        for module in modules:
            delattr(module, ATTRIBUTE)

    return in_reverse([unmark, *undos])


def _forward(module: torch.nn.Dropout, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  (torch's name for it)
    return drop(input, module.p, module) if module.training else input
