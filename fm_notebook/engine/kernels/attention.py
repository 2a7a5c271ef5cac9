"""Attention within each text of a packed row, forward and backward by hand: nothing is copied for autograd's sake."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch

from fm_notebook.engine.packing import Pack

DrawMask = Callable[[tuple[int, ...]], torch.Tensor | None]
"""A dropout mask of a shape, to multiply by; None without dropout."""

softmax_backward = torch.ops.aten._softmax_backward_data.default


class Attended(NamedTuple):
    """What the gradient of a group of n texts needs: shapes ``(n heads, L, D)`` and (weights, drop) ``(n heads, L, L)``."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    weights: torch.Tensor
    drop: torch.Tensor | None

    @property
    def dropped(self) -> torch.Tensor:
        """Attention weights after dropout, in the type of the products."""
        return (self.weights if self.drop is None else self.weights * self.drop).to(self.value.dtype)


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, plan: Pack, heads: int, draw: DrawMask
) -> tuple[torch.Tensor, list[Attended]]:
    """Values attended to, shape ``(T, H)``, and what their gradient needs.

    Parameters
    ----------
    query, key, value : Tensor, shape (T, H)
        The query is scaled already. The softmax is in fp32 whatever their type: in bf16 it would be four times slower.
    """
    parts = zip(*(_by_group(x, plan, heads) for x in (query, key, value)), plan.groups, strict=True)
    kept = [_weigh(q, k, v, group.mask, heads, draw) for q, k, v, group in parts]
    return _by_place((torch.bmm(each.dropped, each.value) for each in kept), plan, heads), kept


def gradients(gradient: torch.Tensor, kept: list[Attended], plan: Pack, heads: int) -> tuple[torch.Tensor, ...]:
    """Gradients of query, key and value, each of shape ``(T, H)``, from that of `attend`'s values."""
    found = [_gradients(part, each) for part, each in zip(_by_group(gradient, plan, heads), kept, strict=True)]
    return tuple(_by_place(parts, plan, heads) for parts in zip(*found, strict=True))


def _weigh(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, heads: int, draw: DrawMask
) -> Attended:
    scores = torch.bmm(query, key.transpose(1, 2)).float()
    if mask is not None:
        scores.unflatten(0, (-1, heads)).masked_fill_(mask.logical_not(), -torch.inf)
    weights = torch.softmax(scores, -1)
    return Attended(query, key, value, weights, draw(tuple(weights.shape)))


def _gradients(gradient: torch.Tensor, kept: Attended) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    value = torch.bmm(kept.dropped.transpose(1, 2), gradient)
    weights = torch.bmm(gradient, kept.value.transpose(1, 2)).float()
    if kept.drop is not None:
        weights.mul_(kept.drop)
    scores = softmax_backward(weights, kept.weights, -1, torch.float32).to(gradient.dtype)
    return torch.bmm(scores, kept.key), torch.bmm(scores.transpose(1, 2), kept.query), value


def _by_group(x: torch.Tensor, plan: Pack, heads: int) -> list[torch.Tensor]:
    """Each group's rows of `x`, shape ``(T, H)``, as ``(n heads, L, D)``."""
    parts = x.index_select(0, plan.grouping.gather).split([group.index.numel() for group in plan.groups])
    widths = [group.index.shape[1] for group in plan.groups]
    return [
        part.view(-1, width, heads, x.shape[1] // heads).transpose(1, 2).reshape(-1, width, x.shape[1] // heads)
        for part, width in zip(parts, widths, strict=True)
    ]


def _by_place(parts: Iterable[torch.Tensor], plan: Pack, heads: int) -> torch.Tensor:
    """The inverse of `_by_group`; zero in the tail, where padded places read their gradient."""
    rows = [part.unflatten(0, (-1, heads)).transpose(1, 2).reshape(-1, heads * part.shape[-1]) for part in parts]
    flat = torch.cat(rows).index_select(0, plan.grouping.inverse)
    flat[plan.tokens :] = 0
    return flat
