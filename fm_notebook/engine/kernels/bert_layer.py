"""Layers of BERT, each as one function with its gradient by hand: no copies between operators, dropout one multiplication.

For packed rows on CPU and the post-norm layer with GELU that BERT, RoBERTa, ELECTRA, ERNIE and DistilBERT share. It computes what
their own modules compute. In bf16 the products are bf16, as under autocast, the rest is fp32, and in C where that can be built.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch

from fm_notebook.engine.kernels.compiled import layer as compiled
from fm_notebook.engine.kernels.compiled.operations import Operations
from fm_notebook.engine.kernels.dropout import MaskPool
from fm_notebook.engine.kernels.layer_function import Layer, LayerFunction
from fm_notebook.engine.kernels.replacing import Undo, in_reverse, replace_forward
from fm_notebook.engine.packing import Pack

_LIKE_BERT = ("BertLayer", "RobertaLayer", "XLMRobertaLayer", "ElectraLayer", "CamembertLayer", "ErnieLayer")
LAYERS = frozenset({*_LIKE_BERT, "TransformerBlock"})
"""By name: their modules are not imported for this. The last one is DistilBERT's."""
Way = Literal["own", "torch", "c"]
Form = Callable[[torch.Tensor], torch.Tensor]
"""From a layer's input to its output, both of shape ``(T, H)``."""


def fits(model: torch.nn.Module) -> bool:
    """Whether `enable` changes how `model` trains: it is on CPU and has layers of this kind, all trained in fp32."""
    return any(_fits(layer) and _is_trained(_parts(layer, None)) for layer in model.modules())


def enable(model: torch.nn.Module, pool: MaskPool | None = None, operations: Operations | None = None) -> Undo:
    """Compute the layers of `model` that fit by hand on packed rows; gives the function that undoes it.

    A layer does as before on padded batches, under gradient checkpointing, while hooks or adapters are on any of its modules,
    and, without `operations` or in fp32, in evaluation. From a step's second micro-batch on, gradients are added to ``.grad``
    inside the products, so `torch.autograd.grad` must not be called on a loss while the parameters hold gradients.

    Parameters
    ----------
    pool : MaskPool, optional
        Where dropout masks come from; without it they are drawn anew, which takes longer.
    operations : Operations, optional
        With them all but the products is done in C where these are in bf16, with dropout of its own.
    """
    last = {id(stack[-1]) for stack in model.modules() if isinstance(stack, torch.nn.ModuleList) and len(stack)}
    return in_reverse(
        replace_forward(layer, partial(_forward, layer, _parts(layer, pool), operations, layer.forward, id(layer) in last))
        for layer in model.modules()
        if _fits(layer)
    )


def way_of(layer: torch.nn.Module) -> Way:
    """How `layer` computes in bf16 while it trains on packed rows."""
    forward = vars(layer).get("forward")
    if not isinstance(forward, partial) or forward.func is not _forward:
        return "own"
    _, parts, operations, *_ = forward.args
    return "c" if operations and compiled.fits(parts) else "torch"


def _parts(layer: Any, pool: MaskPool | None) -> Layer:
    return (_of_distilbert if type(layer).__name__ == "TransformerBlock" else _of_bert)(layer, pool)


def _of_bert(layer: Any, pool: MaskPool | None) -> Layer:
    attention, output = layer.attention, layer.output
    inner = attention.self
    return Layer(
        linear=(inner.query, inner.key, inner.value, attention.output.dense, layer.intermediate.dense, output.dense),
        norms=(attention.output.LayerNorm, output.LayerNorm),
        heads=inner.num_attention_heads,
        dropouts=(inner.dropout, attention.output.dropout, output.dropout),
        pool=pool,
    )


def _of_distilbert(layer: Any, pool: MaskPool | None) -> Layer:
    attention, ffn = layer.attention, layer.ffn
    return Layer(
        linear=(attention.q_lin, attention.k_lin, attention.v_lin, attention.out_lin, ffn.lin1, ffn.lin2),
        norms=(layer.sa_layer_norm, layer.output_layer_norm),
        heads=attention.n_heads,
        dropouts=(attention.dropout, torch.nn.Dropout(0.0), ffn.dropout),  # none on what attention puts out
        pool=pool,
    )


def _forward(
    layer: Any, parts: Layer, operations: Operations | None, before: Callable[..., torch.Tensor], is_last: bool,
    hidden_states: torch.Tensor, *args: Any, **kwargs: Any,
) -> torch.Tensor:  # fmt: skip
    plan, read_at = kwargs.get("plan"), kwargs.get("read_at") if is_last else None
    form = None if plan is None or not _is_plain(layer) else _form(parts, operations, plan, read_at, training=layer.training)
    if form is None:
        return before(hidden_states, *args, **kwargs)
    with torch.autocast("cpu", enabled=False):
        return form(hidden_states[0].float())[None]


def _form(
    parts: Layer, operations: Operations | None, plan: Pack, read_at: torch.Tensor | None, *, training: bool
) -> Form | None:
    """How this call is computed; None where it is left to the model."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    learns = training and torch.is_grad_enabled() and _is_trained(parts)
    if operations and dtype == torch.bfloat16 and plan.where is None and compiled.fits(parts):
        call = partial(compiled.call, parts, operations, plan, read_at, training=training)
        if learns:
            return lambda x: compiled.CompiledLayerFunction.apply(x, call(), *parts.parameters)  # type: ignore[return-value]
        if not training and not torch.is_grad_enabled():
            return lambda x: compiled.forward(x, call())[0]
    if learns and dtype in (torch.float32, torch.bfloat16):
        return lambda x: LayerFunction.apply(x, plan, read_at, parts, dtype, *parts.parameters)  # type: ignore[return-value]
    return None


def _fits(layer: Any) -> bool:
    if type(layer).__name__ not in LAYERS or getattr(layer, "is_decoder", False) or getattr(layer, "add_cross_attention", False):
        return False
    ffn = getattr(layer, "ffn", layer)
    activation = layer.ffn.activation if ffn is not layer else layer.intermediate.intermediate_act_fn
    is_erf_gelu = getattr(activation, "act", activation) is torch.nn.functional.gelu
    parts = _parts(layer, None)
    plain = {torch.nn.Linear, torch.nn.LayerNorm, torch.nn.Dropout}
    kinds = {type(module) for module in (*parts.linear, *parts.norms, *parts.dropouts)}
    whole = all(p is not None and p.device.type == "cpu" for p in parts.parameters)
    usual = is_erf_gelu and not ffn.chunk_size_feed_forward
    return usual and kinds <= plain and whole and all(0 <= dropout.p < 1 for dropout in parts.dropouts)


def _is_trained(parts: Layer) -> bool:
    return all(p.requires_grad and p.dtype == torch.float32 for p in parts.parameters)


def _is_plain(layer: Any) -> bool:
    """Nothing is to happen inside the layer but its own computation."""
    if getattr(layer, "gradient_checkpointing", False):
        return False
    inside = (module for module in layer.modules() if module is not layer)
    return not any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
        for module in inside
    )
