"""One optimiser step's gradient, over any number of micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress
from typing import Any

import torch

from fm_notebook.contracts.protocols import Task
from fm_notebook.engine.batching import Batch, Budget, micro_batches
from fm_notebook.engine.distributed import World
from fm_notebook.engine.forward import Forward

Backward = Callable[[torch.Tensor], None]
StepFunction = Callable[[Any, Task, Batch, Forward, Budget, Backward], torch.Tensor]
"""Leaves gradients in the parameters and gives the loss, on the device; may run several backward passes. See `accumulate`.

``(model, task, batch, forward, budget, backward)``: `backward` is called instead of ``loss.backward()``, as fp16 scales losses.
"""


def accumulate(model: Any, task: Task, batch: Batch, forward: Forward, budget: Budget, backward: Backward) -> torch.Tensor:
    """Add up the gradient of the weighted mean loss over `batch`.

    Each micro-batch is divided by the weight of the *whole* step, so the sum is the same for any budget and any number of
    processes; at level ``token`` that is the mean over tokens.
    """
    loss = torch.zeros((), device=next(model.parameters()).device)
    for micro in micro_batches(batch, budget, padded=forward.padded):
        part = weighted_loss(model, task, micro, forward)
        backward(part)
        loss += part.detach()
    return loss


def weighted_loss(model: Any, task: Task, batch: Batch, forward: Forward) -> torch.Tensor:
    """The batch's part of the step's loss, in fp32."""
    targets, weights = forward.targets(model, batch)
    return (task.losses(forward.logits(model, batch), targets) * weights).sum()


def gradients_of(optimizer: torch.optim.Optimizer, world: World) -> list[torch.Tensor]:
    """Of the trained parameters that have one; where several processes add theirs up, each has the same."""
    if world.size > 1:
        anywhere = world.any_of([p.grad is not None for p in trained(optimizer)])  # else weight decay would move it
        for p in compress(trained(optimizer), anywhere):
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    return [p.grad for p in trained(optimizer) if p.grad is not None]


def summed(loss: torch.Tensor, optimizer: torch.optim.Optimizer, world: World) -> tuple[torch.Tensor, torch.Tensor]:
    """The step's loss over all processes and the norm of its gradient, which each process then has."""
    gradients = gradients_of(optimizer, world)
    world.add_up([loss, *gradients])
    return loss, torch.nn.utils.get_total_norm(gradients)


def trained(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    """All parameters that `optimizer` steps."""
    return [p for group in optimizer.param_groups for p in group["params"]]
