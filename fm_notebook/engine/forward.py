"""From a batch to logits, in the layout that the model can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from fm_notebook.engine import families, frozen, packing
from fm_notebook.engine.batching import Batch, collate, padded_places, to_device
from fm_notebook.engine.precision import Precision, autocast

Layout = Literal["packed", "padded"]


@dataclass(frozen=True)
class Forward:
    """How a batch goes through a model: `layout` ``packed`` is one row without padding (see `fm_notebook.engine.packing`).

    `through` is given what computes logits and calls it, where something is to be done around it.
    """

    precision: Precision
    layout: Layout = "padded"
    through: Callable[[Callable[[], torch.Tensor]], torch.Tensor] | None = None

    @property
    def padded(self) -> bool:
        """Whether padding takes part."""
        return self.layout == "padded"

    def logits(self, model: Any, batch: Batch) -> torch.Tensor:
        """Logits in fp32: level ``text`` shape ``(B, C)``; level ``token`` shape ``(n, C)``, of the places that have a target.

        The head is computed at those places alone: a masked language model's over 15 % of the tokens.
        """
        device = next(model.parameters()).device
        with autocast(device, self.precision):
            if batch.features is not None:
                return frozen.read_on(model, to_device(batch.features, device)).float()
            compute = partial(self._padded if self.padded else self._packed, model, batch, device)
            return (self.through(compute) if self.through else compute()).float()

    def _padded(self, model: Any, batch: Batch, device: torch.device) -> torch.Tensor:
        inputs = collate(batch, device)
        if batch.level == "text":
            return model(**inputs).logits
        return families.padded_tokens(model, inputs, to_device(padded_places(batch), device))

    def _packed(self, model: Any, batch: Batch, device: torch.device) -> torch.Tensor:
        plan = packing.pack(batch.lengths, device)
        ids = to_device(row(batch.ids, plan, batch.pad_id), device)
        types = None if batch.type_ids is None else to_device(row(batch.type_ids, plan, 0), device)
        if batch.level == "text":
            return families.forward_texts(model, ids, plan, types)
        return families.forward_tokens(model, ids, plan, to_device(batch.places, device), types)

    def targets(self, model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Targets and weights in the order of `logits`, the weights as shares of the whole step's."""
        device = next(model.parameters()).device
        places = batch.places
        weights = batch.weights[places].astype(np.float32) / np.float32(batch.total)
        return to_device(batch.targets[places], device), to_device(weights, device)


def row(values: np.ndarray, plan: packing.Pack, filler: int) -> np.ndarray:
    """`values` of the tokens of a packed row, int64, shape ``(T,)``, with `filler` in its tail."""
    found = np.full(len(plan.positions), filler, np.int64)
    found[: len(values)] = values
    return found
