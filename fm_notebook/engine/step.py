"""One optimiser step's gradient, over any number of micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts.protocols import Task
from fm_notebook.engine.batching import Examples, collate, micro_batches
from fm_notebook.engine.precision import Precision, autocast


@dataclass(frozen=True)
class Gradient:
    """What a step reports: weighted mean `loss`, norm before clipping, real `tokens`."""

    loss: float
    norm: float
    tokens: int


StepFunction = Callable[[Any, Task, Examples, np.ndarray, int, Precision], tuple[torch.Tensor, int]]
"""Leaves gradients in the parameters; may run several backward passes. See `accumulate`."""


def accumulate(
    model: Any, task: Task, examples: Examples, rows: np.ndarray, micro_batch_size: int, precision: Precision
) -> tuple[torch.Tensor, int]:
    """Add up the gradient of the mean weighted loss over `rows`; gives that loss (on the device) and the number of tokens.

    Each micro-batch is divided by the weight of the *whole* batch, so the sum is the same for any `micro_batch_size`. Texts of
    like length share one: a sum does not mind its order, and there is less padding.
    """
    rows = rows[np.argsort(-examples.tokens.lengths[rows], kind="stable")]
    device = next(model.parameters()).device
    total = float(examples.weights[rows].sum(dtype=np.float64))
    loss = torch.zeros((), device=device)
    for micro in micro_batches(rows, micro_batch_size):
        weights = torch.from_numpy(examples.weights[micro] / total).to(device, torch.float32)
        part = (example_losses(model, task, examples, micro, precision) * weights).sum()
        part.backward()
        loss += part.detach()
    return loss, int(examples.tokens.lengths[rows].sum())


def example_losses(model: Any, task: Task, examples: Examples, rows: np.ndarray, precision: Precision) -> torch.Tensor:
    """Loss of each of `rows`, in fp32, shape ``(B,)``."""
    device = next(model.parameters()).device
    with autocast(device, precision):
        logits = model(**collate(examples.tokens, rows, device)).logits
    return task.example_losses(logits.float(), {"labels": torch.from_numpy(examples.targets[rows]).to(device)})


def clip(parameters: list[torch.nn.Parameter], max_norm: float | None) -> torch.Tensor:
    """The gradient's norm over all `parameters`; above `max_norm` the gradient is scaled down to it."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if max_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm
