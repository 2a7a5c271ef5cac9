"""How much attention each token of a text receives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts.capabilities import TokenText
from fm_notebook.engine.batching import spans, to_device
from fm_notebook.engine.capabilities.masked import flat
from fm_notebook.engine.capabilities.reading import Reader
from fm_notebook.engine.capabilities.texts import Texts
from fm_notebook.engine.families import unwrapped
from fm_notebook.engine.models import quietly
from fm_notebook.engine.precision import autocast

INSTALLED = "_output_capturing_hooks_installed"  # transformers' note to itself
MOST_WEIGHTS = 2**25
"""Attention weights at once, over layers and heads: 128 MB."""


def attentions(reader: Reader, texts: Texts, given: Sequence[TokenText]) -> list[np.ndarray]:
    """See `fm_notebook.contracts.capabilities.Attentions`; NaN where a text is longer than the model takes.

    Texts of one length go together, so that nothing is padded and every query counts.
    """
    ids, lengths, types = flat(given)
    starts = np.cumsum(lengths) - lengths
    found = [np.full(length, np.nan) for length in lengths.tolist()]
    inner = unwrapped(reader.model)
    with reader.reading(packed=False), _eager(inner), torch.inference_mode():
        for length in np.unique(lengths[(lengths <= reader.limit) & (lengths > 0)]).tolist():
            which = np.flatnonzero(lengths == length)
            at_once = _texts(reader, length)
            for begin in range(0, len(which), at_once):
                part = which[begin : begin + at_once]
                flat_places = spans(starts[part], lengths[part])[0].reshape(len(part), length)
                own = types[flat_places] if texts.has_types else None
                for i, received in zip(part.tolist(), _received(reader, ids[flat_places], own), strict=True):
                    found[i] = received
    return found


def _texts(reader: Reader, length: int) -> int:
    config = unwrapped(reader.model).config.get_text_config()
    weights = length * length * config.num_hidden_layers * config.num_attention_heads
    return max(1, min(reader.most_tokens // length, MOST_WEIGHTS // weights))


def _received(reader: Reader, ids: np.ndarray, types: np.ndarray | None) -> np.ndarray:
    """Mean over layers, heads and queries, float64, shape ``(B, T)``, for `ids` of shape ``(B, T)``."""
    given = to_device(ids, reader.device)
    inputs = {"input_ids": given, "attention_mask": torch.ones_like(given)}
    if types is not None:
        inputs["token_type_ids"] = to_device(types, reader.device)
    with autocast(reader.device, reader.precision):
        layers = unwrapped(reader.model).base_model(**inputs, output_attentions=True).attentions
    means = [layer.float().mean(dim=(1, 2)) for layer in layers]
    return torch.stack(means).cpu().double().mean(0).numpy()


@contextmanager
def _eager(inner: Any) -> Iterator[None]:
    """Within it the model computes attention so that its weights can be read; no other way gives them."""
    before = inner.config._attn_implementation
    with quietly():
        inner.set_attn_implementation("eager")
    try:
        with _hooks_as_found(inner):
            yield
    finally:
        with quietly():
            inner.set_attn_implementation(before)


@contextmanager
def _hooks_as_found(inner: torch.nn.Module) -> Iterator[None]:
    """Transformers reads attention by hooks that it never takes off; kernels of ours keep away from layers with hooks."""
    found = [(module, set(module._forward_hooks), INSTALLED in vars(module)) for module in inner.modules()]
    try:
        yield
    finally:
        for module, hooks, installed in found:
            for key in set(module._forward_hooks) - hooks:
                del module._forward_hooks[key]
            if not installed:
                vars(module).pop(INSTALLED, None)
