"""Useful floating-point operations of a model.

Useful means real tokens only, PaLM's convention (Chowdhery et al. 2022, appendix B): 6 N a token, N without embeddings, and
12 L H a token and token attended to. Padding, recomputation, embeddings and the language-modelling head do not count. Where the
base is frozen (LoRA), no gradient of its weights is needed: 4 N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from fm_notebook.engine.families import unwrapped


@dataclass(frozen=True)
class Cost:
    """What a model costs: `parameters` without embeddings, and `layers` times `hidden`."""

    parameters: int
    layers_hidden: int
    weights_trained: bool = True

    def training(self, tokens: float, squares: float) -> float:
        """FLOPs of a step over `tokens` real tokens, whose texts' squared lengths sum to `squares`."""
        return (6 if self.weights_trained else 4) * self.parameters * tokens + 12 * self.layers_hidden * squares

    def scoring(self, tokens: float, squares: float) -> float:
        """FLOPs of a forward pass."""
        return 2 * self.parameters * tokens + 4 * self.layers_hidden * squares


def cost_of(model: Any) -> Cost:
    """The cost of a transformers model, adapted or not; its weights count as trained if most of them are."""
    model = unwrapped(model)
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    left_out = tables | ({id(head.weight)} if head is not None else set())
    counted = [p for p in model.parameters() if id(p) not in left_out]
    parameters = sum(p.numel() for p in counted)
    trained = sum(p.numel() for p in counted if p.requires_grad)
    config = model.config.get_text_config()
    layers_hidden = getattr(config, "num_hidden_layers", 0) * getattr(config, "hidden_size", 0)  # else attention is not counted
    return Cost(parameters, layers_hidden, 2 * trained > parameters)
