"""Linear layers whose weights do not change, in autocast: cast once, not at every forward.

Autocast casts a frozen weight at each call (its cache is for weights that learn), and keeps the copy for the backward pass, so
that all copies are in memory at once anyhow. The very same numbers are multiplied: on and off agree to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)

from fm_notebook.engine.kernels.replacing import Undo, in_reverse, replace_forward


def enable(model: torch.nn.Module, *, scoring: bool = False) -> Undo:
    """Switch it on for the frozen linear layers of `model`, with `scoring` for all; gives the function that switches it off.

    Until then their weights must not change. Without autocast the layers compute as before.
    """
    return in_reverse([_enable(each) for each in model.modules() if type(each) is torch.nn.Linear and (scoring or _frozen(each))])


@contextmanager
def while_scoring(model: torch.nn.Module) -> Iterator[None]:
    """Within it no weight of `model` changes."""
    undo = enable(model, scoring=True)
    try:
        yield
    finally:
        undo()


def _frozen(layer: torch.nn.Linear) -> bool:
    return not any(p.requires_grad for p in layer.parameters())


def _enable(layer: torch.nn.Linear) -> Undo:
    before, kept = layer.forward, {}

    def forward(input: Any) -> Any:  # noqa: A002  (torch's name)
        device = input.device.type
        if not torch.is_autocast_enabled(device):
            return before(input)
        dtype = torch.get_autocast_dtype(device)
        if dtype not in kept:
            with torch.inference_mode(False):  # an evaluation may come first, and what is made in one cannot be trained through
                kept[dtype] = [None if p is None else p.detach().to(dtype) for p in (layer.weight, layer.bias)]
        return F.linear(input, *kept[dtype])

    return replace_forward(layer, forward)
