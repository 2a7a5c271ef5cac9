"""The last layer, computed only where its output is read: at the first token of a text, or at the tokens that have a target.

Attention still sees every token; what comes after it, two thirds and more of a layer's products, is done for the tokens read.
Exact: the other tokens' outputs meet no loss. A tenth less work in a model of six layers, also in evaluation and on GPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from fm_notebook.engine.kernels.replacing import Undo, in_reverse, replace_forward

MOST = 0.7  # share of places read above which selecting them costs more than it saves

Select = Callable[[torch.Tensor], torch.Tensor]


def fits(model: torch.nn.Module) -> bool:
    """Whether `enable` changes anything: the family of `model` is known."""
    return bool(_last_layers(model))


def enable(model: torch.nn.Module) -> Undo:
    """Make use of ``read_at`` in the last layer of `model`; gives the function that undoes it.

    ``read_at``, shape (n,), are the flat places of a packed row whose outputs are read, each once. Like ``plan`` it is an
    argument of the model's forward. Where it is given, the last hidden state is 0 at all other places; not under gradient
    checkpointing, which takes the layer as a whole.
    """
    return in_reverse(replace_forward(layer, partial(_forward, layer, layer.forward)) for layer in _last_layers(model))


def _last_layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    stacks = (stack for stack in model.modules() if isinstance(stack, torch.nn.ModuleList) and len(stack))
    return [stack[-1] for stack in stacks if type(stack[-1]).__name__ in _FAMILIES]


def _forward(layer: Any, before: Callable[..., torch.Tensor], hidden: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    read_at, own = kwargs.get("read_at"), getattr(layer, "gradient_checkpointing", False) and layer.training
    if own or kwargs.get("plan") is None or read_at is None or any(argument is not None for argument in args):
        return before(hidden, *args, **kwargs)
    if len(read_at) > MOST * hidden.shape[1]:
        return before(hidden, *args, **kwargs)
    found = _FAMILIES[type(layer).__name__](layer, hidden, lambda x: x.index_select(1, read_at), kwargs)
    return found.new_zeros(hidden.shape).index_copy(1, read_at, found)


def _bert(layer: Any, x: torch.Tensor, select: Select, kwargs: dict[str, Any]) -> torch.Tensor:
    return layer.feed_forward_chunk(layer.attention.output(select(layer.attention.self(x, **kwargs)[0]), select(x)))


def _distilbert(layer: Any, x: torch.Tensor, select: Select, kwargs: dict[str, Any]) -> torch.Tensor:
    x = layer.sa_layer_norm(select(layer.attention(x, **kwargs)[0]) + select(x))
    return layer.output_layer_norm(layer.ffn(x) + x)


def _modernbert(layer: Any, x: torch.Tensor, select: Select, kwargs: dict[str, Any]) -> torch.Tensor:
    x = select(x) + select(layer.attn(layer.attn_norm(x), **kwargs)[0])
    return x + layer.mlp(layer.mlp_norm(x))


def _gpt2(layer: Any, x: torch.Tensor, select: Select, kwargs: dict[str, Any]) -> torch.Tensor:
    x = select(x) + select(layer.attn(layer.ln_1(x), **kwargs)[0])
    return x + layer.mlp(layer.ln_2(x))


def _llama(layer: Any, x: torch.Tensor, select: Select, kwargs: dict[str, Any]) -> torch.Tensor:
    x = select(x) + select(layer.self_attn(hidden_states=layer.input_layernorm(x), **kwargs)[0])
    return x + layer.mlp(layer.post_attention_layernorm(x))


_FAMILIES: dict[str, Callable[[Any, torch.Tensor, Select, dict[str, Any]], torch.Tensor]] = {
    **dict.fromkeys(("BertLayer", "RobertaLayer", "XLMRobertaLayer", "ElectraLayer", "CamembertLayer", "ErnieLayer"), _bert),
    **dict.fromkeys(("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer"), _llama),
    "TransformerBlock": _distilbert, "ModernBertEncoderLayer": _modernbert, "GPT2Block": _gpt2,
}  # fmt: skip
"""How each family's layer goes on after its attention. Matched by name: their modules are not imported for this."""
