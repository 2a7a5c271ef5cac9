"""Texts of any length in one row without padding: where each token lies, and attention that stays within a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)

from fm_notebook.engine.batching import to_device
from fm_notebook.engine.kernels import ragged
from fm_notebook.engine.kernels.dropout import drop
from fm_notebook.engine.kernels.gathering import Gather, Scatter

NAME = "fm_packed"  # of the attention function, in transformers' registry
ROW_MULTIPLE = 32  # few shapes: oneDNN builds a primitive for each new one
GROUP_MULTIPLE = 8
WASTE = 0.15  # share of a group's places that may be padding
FEWER_ROWS = 16  # a GPU computes up to a sixteenth in vain, so that rows have few widths (`kernels.graphs` records each once)


@dataclass(frozen=True)
class Group:
    """n texts of like length, padded on the right to L for attention alone.

    Attributes
    ----------
    index : Tensor of int64, shape (n, L)
        Flat place of each token; padded places point to a place of no text.
    mask : Tensor of bool, shape (n, 1, 1, L), or None
        True at tokens; None if nothing is padded.
    """

    index: torch.Tensor
    mask: torch.Tensor | None


@dataclass(frozen=True)
class Grouping:
    """The texts of a row in groups of like length, for attention where no kernel takes ragged rows.

    Attributes
    ----------
    groups : tuple of Group
        Every text is in one of them.
    gather : Tensor of int64, shape (S,)
        `index` of all groups, one after the other.
    inverse : Tensor of int64, shape (T,)
        Where each place is found in `gather`; 0 in the tail.
    """

    groups: tuple[Group, ...]
    gather: torch.Tensor
    inverse: torch.Tensor


@dataclass(frozen=True, eq=False)
class Pack:
    """How the tokens of B texts lie in one row of T places, one text after the other, with a tail of places of no text.

    Attributes
    ----------
    positions : Tensor of int64, shape (T,)
        Place of each token within its text, from 0.
    lengths, starts, ends : Tensor of int64, shape (B,)
        Tokens of each text; flat place of its first and of its last token.
    tokens : int
        Real tokens: places from here on belong to no text. Nothing may read them, then their gradient is zero.
    longest : int
        Most tokens of a text or of the tail.
    boundaries : Tensor of int32, shape (B + 2,)
        0, the end of each text, and T: what kernels for ragged rows call cumulative lengths.
    sizes : ndarray of int64, shape (B,)
        `lengths`, for the host.
    where : ndarray of int64, or None
        Place of each token of all texts, where texts that begin alike share places; None: one text after the other.
    """

    positions: torch.Tensor
    lengths: torch.Tensor
    starts: torch.Tensor
    ends: torch.Tensor
    tokens: int
    longest: int
    boundaries: torch.Tensor
    sizes: np.ndarray
    where: np.ndarray | None = None

    @cached_property
    def grouping(self) -> Grouping:
        """Made when it is asked for: kernels for ragged rows do without; RuntimeError where `sizes` were left out."""
        if not len(self.sizes):
            raise RuntimeError("these texts are for kernels for ragged rows")
        where = np.arange(self.tokens) if self.where is None else self.where
        return _grouping(self.sizes, where, len(self.positions), self.positions.device)

    @property
    def groups(self) -> tuple[Group, ...]:
        """See `Grouping`."""
        return self.grouping.groups


def pack(
    lengths: np.ndarray, device: torch.device | str = "cpu", where: np.ndarray | None = None, *, move: bool = True
) -> Pack:  # fmt: skip
    """Lay texts of `lengths` tokens, shape ``(B,)``, each at least 1, in one row: in their order, or as `where` says.

    Without `move` its tensors stay on the CPU, of the shapes that they have on `device`.
    """
    lengths, device = np.asarray(lengths, np.int64), torch.device(device)
    ends = np.cumsum(lengths)
    starts, lies = ends - lengths, np.arange(ends[-1]) if where is None else where
    tokens = int(lies.max()) + 1
    width = _width(tokens, device)
    positions = np.zeros(width, np.int64)
    positions[lies] = np.arange(len(lies)) - np.repeat(starts, lengths)
    boundaries = np.concatenate([[0], ends, [width]])
    arrays = (positions, lengths, lies[starts], lies[ends - 1], boundaries)
    places, sizes, firsts, lasts, borders = _moved(arrays, device if move else "cpu")
    return Pack(
        positions=places, lengths=sizes, starts=firsts, ends=lasts, tokens=tokens,
        longest=_longest(max(int(lengths.max()), width - tokens), device), boundaries=borders.to(torch.int32), sizes=lengths,
        where=where,
    )  # fmt: skip


def _width(tokens: int, device: torch.device) -> int:
    """Places of a row: room for the tokens and for one place that padding points to, in few widths."""
    multiple = ROW_MULTIPLE if device.type == "cpu" else max(2 * ROW_MULTIPLE, 2 ** (tokens.bit_length() - 1) // FEWER_ROWS)
    return -(-(tokens + 1) // multiple) * multiple


def _longest(length: int, device: torch.device) -> int:
    """On a GPU rounded up: a kernel's grid follows from it, and nothing is computed for blocks that are not there."""
    return length if device.type == "cpu" else 2 ** max(7, (length - 1).bit_length())


def _grouping(lengths: np.ndarray, where: np.ndarray, width: int, device: torch.device) -> Grouping:
    tokens = int(where.max()) + 1
    blocks = [(texts, _columns(lengths, where, texts, wide, tokens)) for texts, wide in _like_lengths(lengths)]
    gather = np.concatenate([block.ravel() for _, block in blocks])
    inverse = np.zeros(width, np.int64)
    real = np.flatnonzero(gather < tokens)
    inverse[gather[real]] = real
    gathered, back = _moved((gather, inverse), device)
    return Grouping(_groups(gathered, blocks, tokens), gathered, back)


def _like_lengths(lengths: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """Texts, longest first, cut where a wider group would hold too much padding; each with its rounded width."""
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    pieces, start = [], 0
    while start < len(order):
        rest = ordered[start:]
        width = -(-int(rest[0]) // GROUP_MULTIPLE) * GROUP_MULTIPLE
        filled = np.cumsum(rest) / (width * np.arange(1, len(rest) + 1))  # falls: the texts get shorter
        count = max(int((filled >= 1 - WASTE).sum()), int((rest > width - GROUP_MULTIPLE).sum()))
        pieces.append((order[start : start + count], width))
        start += count
    return pieces


def _columns(lengths: np.ndarray, where: np.ndarray, texts: np.ndarray, width: int, nowhere: int) -> np.ndarray:
    starts, columns = np.cumsum(lengths) - lengths, np.arange(width)
    tokens = np.minimum(starts[texts, None] + columns, len(where) - 1)
    return np.where(columns < lengths[texts, None], where[tokens], nowhere)


def _moved(arrays: Sequence[np.ndarray], device: torch.device | str) -> tuple[torch.Tensor, ...]:
    """One transfer for all: on a GPU each has its own cost."""
    return to_device(np.concatenate(arrays), torch.device(device)).split([len(array) for array in arrays])


def _groups(gather: torch.Tensor, blocks: list[tuple[np.ndarray, np.ndarray]], tokens: int) -> tuple[Group, ...]:
    borders = np.cumsum([0, *(block.size for _, block in blocks)])
    groups = []
    for (start, end), (_, block) in zip(pairwise(borders.tolist()), blocks, strict=True):
        index = gather[start:end].view(block.shape)
        groups.append(Group(index, (index < tokens)[:, None, None, :] if (block >= tokens).any() else None))
    return tuple(groups)


@dataclass(frozen=True)
class Rule:
    """What a layer asks of attention; `window`: tokens this far apart or farther do not see each other."""

    module: torch.nn.Module
    scale: float
    causal: bool
    window: int | None
    dropout: float


def packed_attention(  # noqa: PLR0913  (the signature is transformers')
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor | None, dropout: float = 0.0, scaling: float | None = None,
    *, is_causal: bool | None = None, sliding_window: int | None = None, plan: Pack | None = None, **kwargs: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Attention of each text in the row to itself, for transformers' ``AttentionInterface``.

    Parameters
    ----------
    query, key, value : Tensor, shape (1, heads, T, D)
        Keys and values may have fewer heads.
    plan : Pack
        Reaches every layer as a keyword argument of the model's forward, and so the second forward of gradient checkpointing.

    Returns
    -------
    tuple
        What was attended to, shape (1, T, heads, D), and None for the weights.

    Raises
    ------
    NotImplementedError
        If the call is not for a packed row, or asks for what this cannot do.
    """
    if plan is None or attention_mask is not None or any(kwargs.get(name) is not None for name in _BEYOND):
        raise NotImplementedError(f"{NAME} is for packed rows (plan=), without mask, bias, softcap, sinks or cache")
    causal = bool(getattr(module, "is_causal", False) if is_causal is None else is_causal)
    rule = Rule(module, query.shape[-1] ** -0.5 if scaling is None else scaling, causal, sliding_window, dropout)
    q, k, v = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))  # (T, heads, D)
    kernel = None if plan.where is not None else ragged.kernel(query, sliding_window, dropout)  # those know no shared places
    return (kernel or _grouped)(q, k, v, plan, rule)[None], None


_BEYOND = ("position_bias", "softcap", "s_aux", "cache")


def _grouped(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, plan: Pack, rule: Rule) -> torch.Tensor:
    """Gather the groups, attend within each, put the results back; shapes ``(T, heads, D)``."""
    sizes = [group.index.numel() for group in plan.groups]
    gathered = [Gather.apply(x, plan).split(sizes) for x in (q, k, v)]
    attended = []
    for *parts, group in zip(*gathered, plan.groups, strict=True):
        q_, k_, v_ = (x.unflatten(0, group.index.shape).transpose(1, 2) for x in parts)  # (n, heads, L, D)
        result = _attend(q_, ragged.as_many_heads(k_, q_), ragged.as_many_heads(v_, q_), _visible(group, rule), rule)
        attended.append(result.transpose(1, 2).flatten(0, 1))
    return Scatter.apply(torch.cat(attended), plan)


def _visible(group: Group, rule: Rule) -> torch.Tensor | None:
    """Which keys a query sees, broadcast to ``(n, 1, L, L)``; None: all, or all before it where attention is causal.

    Padding is on the right, so order alone keeps it out of causal attention.
    """
    width = group.index.shape[1]
    if rule.window is None or width <= rule.window:
        return None if rule.causal else group.mask
    places = torch.arange(width, device=group.index.device)
    distance = places[:, None] - places
    if rule.causal:
        return (distance >= 0) & (distance < rule.window)
    near = distance.abs() < rule.window
    if group.mask is None:
        return near
    # A padded query may be far from every token: it sees itself, or its softmax would be of nothing.
    return (near & group.mask) | (distance == 0)


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, visible: torch.Tensor | None, rule: Rule) -> torch.Tensor:
    by_order = rule.causal and visible is None
    if rule.dropout == 0 or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, visible, rule.dropout, by_order, scale=rule.scale)
    # On CPU dropout drives SDPA to its slow path, whose softmax in bf16 takes four times that in fp32.
    scores = ((q * rule.scale) @ k.transpose(-1, -2)).float()
    if by_order:
        visible = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if visible is not None:  # adding needs no work in the backward pass, unlike masked_fill
        scores += torch.where(visible, 0.0, -torch.inf)
    return drop(scores.softmax(-1).to(v.dtype), rule.dropout, rule.module) @ v
