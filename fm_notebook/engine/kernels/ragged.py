"""Attention over a row of texts by CUDA's kernels for ragged rows: one launch a layer, with dropout, where groups take dozens."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from fm_notebook.engine.packing import Pack, Rule

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, "Pack", "Rule"], torch.Tensor]


def kernel(query: torch.Tensor, window: int | None = None, dropout: float = 0.0) -> Attend | None:
    """A kernel of CUDA's for texts of any length in one row, one launch a layer; None where there is none.

    Flash attention from 8.0 (Ampere) on for half precision, else the memory-efficient one, which knows no window, and whose
    dropout is the same in all heads and texts of a ragged row (torch 2.11).
    """
    if query.device.type != "cuda" or torch.version.hip:
        return None
    dtype, size = _multiplied_in(query), query.shape[-1]
    half = dtype in (torch.float16, torch.bfloat16)
    if half and size % 8 == 0 and size <= 256 and torch.cuda.get_device_capability(query.device) >= (8, 0) and _flash():
        return _by_flash
    fits = window is None and dropout == 0 and size % (8 if half else 4) == 0 and dtype in (torch.float16, torch.float32)
    return _by_efficient if fits and _efficient() else None


def _multiplied_in(query: torch.Tensor) -> torch.dtype:
    """Autocast knows nothing of these kernels; rotary positions come in fp32."""
    return torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else query.dtype


@lru_cache(1)
def _flash() -> Any:
    """What `torch.nn.attention.varlen` and scaled_dot_product_attention call; the former knows no dropout."""
    return _operator("_flash_attention_forward", "dropout_p is_causal return_debug_mask scale window_size_left window_size_right")


@lru_cache(1)
def _efficient() -> Any:
    return _operator(
        "_efficient_attention_forward", "cu_seqlens_q max_seqlen_q dropout_p custom_mask_type compute_log_sumexp scale"
    )


def _operator(name: str, arguments: str) -> Any:
    """An operator that torch does not promise to keep: None where it has not these arguments."""
    found = getattr(getattr(torch.ops.aten, name, None), "default", None)
    known = {argument.name for argument in found._schema.arguments} if found else set()
    return found if set(arguments.split()) <= known else None


def _by_flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, plan: Pack, rule: Rule) -> torch.Tensor:
    """The tail counts as one more text, or its places would be left uninitialised and could hold NaN."""
    q, k, v = _rows(q, k, v)
    ends, most, sight = plan.boundaries, plan.longest, None if rule.window is None else rule.window - 1
    return _flash()(
        q, k, v, ends, ends, most, most, rule.dropout, rule.causal, False, scale=rule.scale,
        window_size_left=sight, window_size_right=0 if rule.causal and sight is not None else sight,
    )[0]  # fmt: skip


def _by_efficient(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, plan: Pack, rule: Rule) -> torch.Tensor:
    q, k, v = (x[None] for x in _rows(q, k, v))
    ends, most = plan.boundaries, min(plan.longest, len(plan.positions))  # it refuses more than there are
    from_top_left = 1  # the kernel's number for a causal mask
    return _efficient()(
        q, k, v, None, ends, ends, most, most, 0.0, from_top_left if rule.causal else 0, True, scale=rule.scale
    )[0][0]  # fmt: skip


def _rows(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> list[torch.Tensor]:
    dtype = _multiplied_in(q)
    return [x.to(dtype).contiguous() for x in (q, as_many_heads(k, q), as_many_heads(v, q))]


def as_many_heads(x: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Keys or values `x`, each head as often as queries share it."""
    repeats = query.shape[1] // x.shape[1]
    return x.repeat_interleave(repeats, 1) if repeats > 1 else x
