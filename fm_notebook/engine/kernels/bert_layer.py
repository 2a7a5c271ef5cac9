"""Layers of BERT, each as one function with its gradient by hand: no copies between operators, dropout one multiplication.

For packed rows on CPU and the post-norm layer with GELU that BERT, RoBERTa, XLM-R, ELECTRA and MiniLM share. It computes what
their own modules compute. In bf16 the products are bf16, as under autocast, the rest is fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from fm_notebook.engine.kernels.dropout import MaskPool
from fm_notebook.engine.kernels.layer_function import Layer, LayerFunction
from fm_notebook.engine.kernels.replacing import Undo, in_reverse, replace_forward

LAYERS = frozenset({"BertLayer", "RobertaLayer", "XLMRobertaLayer", "ElectraLayer"})


def fits(model: torch.nn.Module) -> bool:
    """Whether `enable` changes anything: `model` is on CPU and has layers of this kind, all trained in fp32."""
    return any(_fits(layer) for layer in model.modules())


def enable(model: torch.nn.Module, pool: MaskPool | None = None) -> Undo:
    """Compute the layers of `model` that fit by hand while it trains on packed rows; gives the function that undoes it.

    A layer does as before in evaluation, on padded batches, under gradient checkpointing, and while hooks or adapters are on any
    of its modules. From a step's second micro-batch on, gradients are added to ``.grad`` inside the products, so
    `torch.autograd.grad` must not be called on a loss while the parameters hold gradients.

    Parameters
    ----------
    pool : MaskPool, optional
        Where dropout masks come from; without it they are drawn anew, which takes longer.
    """
    last = {id(stack[-1]) for stack in model.modules() if isinstance(stack, torch.nn.ModuleList) and len(stack)}
    return in_reverse(
        replace_forward(layer, partial(_forward, layer, _parts(layer, pool), layer.forward, id(layer) in last))
        for layer in model.modules()
        if _fits(layer)
    )


def _parts(layer: Any, pool: MaskPool | None) -> Layer:
    attention, output = layer.attention, layer.output
    inner = attention.self
    return Layer(
        linear=(inner.query, inner.key, inner.value, attention.output.dense, layer.intermediate.dense, output.dense),
        norms=(attention.output.LayerNorm, output.LayerNorm),
        heads=inner.num_attention_heads,
        dropouts=(inner.dropout, attention.output.dropout, output.dropout),
        pool=pool,
    )


def _forward(
    layer: Any, parts: Layer, before: Callable[..., torch.Tensor], is_last: bool, hidden_states: torch.Tensor,
    *args: Any, **kwargs: Any,
) -> torch.Tensor:  # fmt: skip
    plan, read_at = kwargs.get("plan"), kwargs.get("read_at") if is_last else None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    usual = plan is not None and layer.training and torch.is_grad_enabled() and dtype in (torch.float32, torch.bfloat16)
    if not usual or not _is_plain(layer):
        return before(hidden_states, *args, **kwargs)
    with torch.autocast("cpu", enabled=False):
        return LayerFunction.apply(hidden_states[0].float(), plan, read_at, parts, dtype, *parts.parameters)[None]


def _fits(layer: Any) -> bool:
    if type(layer).__name__ not in LAYERS or layer.is_decoder or layer.add_cross_attention or layer.chunk_size_feed_forward:
        return False
    parts, activation = _parts(layer, None), layer.intermediate.intermediate_act_fn
    is_erf_gelu = getattr(activation, "act", activation) is torch.nn.functional.gelu
    plain = {torch.nn.Linear, torch.nn.LayerNorm, torch.nn.Dropout}
    kinds = {type(module) for module in (*parts.linear, *parts.norms, *parts.dropouts)}
    rates = all(0 <= dropout.p < 1 for dropout in parts.dropouts)
    trained = all(p is not None and p.requires_grad and p.dtype == torch.float32 for p in parts.parameters)
    return is_erf_gelu and kinds <= plain and rates and trained and parts.parameters[0].device.type == "cpu"


def _is_plain(layer: Any) -> bool:
    """Nothing is to happen inside the layer but its own computation."""
    if getattr(layer, "gradient_checkpointing", False):
        return False
    inside = (module for module in layer.modules() if module is not layer)
    return not any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
        for module in inside
    )
