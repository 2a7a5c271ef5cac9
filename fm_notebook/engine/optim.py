"""The optimiser and its learning rate: what `transformers.Trainer` does by default."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

Schedule = Callable[[int], float]


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: matrices, and (without decay) biases and normalisation weights."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


def adamw(groups: list[dict[str, Any]], learning_rate: float) -> torch.optim.AdamW:
    """Fused AdamW (the default one is five times slower on CPU) whose moments exist from the start.

    So running out of memory can only happen before a step changes any weight, and a checkpoint has one form.
    """
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    for group in optimizer.param_groups:
        for p in group["params"]:
            optimizer.state[p] = {
                "step": torch.zeros((), dtype=torch.float32, device=p.device),
                "exp_avg": torch.zeros_like(p, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(p, memory_format=torch.preserve_format),
            }
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Use `learning_rate` for all groups from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def clip_scale(norm: torch.Tensor, max_norm: float | None) -> torch.Tensor:
    """What a gradient of `norm` must be divided by, so that its norm is at most `max_norm`; 1 if it is.

    The fused optimiser divides as it reads the gradient: clipping takes no pass over memory of its own, and no host waits.
    """
    return torch.ones_like(norm) if max_norm is None else ((norm + 1e-6) / max_norm).clamp(min=1.0)


def step(optimizer: torch.optim.AdamW, learning_rate: float, divisor: torch.Tensor, skip: torch.Tensor) -> None:
    """One step with the gradients divided by `divisor`; none at all where `skip` is 1.0. Frees the gradients."""
    set_learning_rate(optimizer, learning_rate)
    if divisor.device.type == "mps":  # its fused kernel knows neither
        torch._foreach_div_([p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None], divisor)  # type: ignore[attr-defined]
        if not skip:
            optimizer.step()
    else:
        optimizer.grad_scale, optimizer.found_inf = divisor, skip  # type: ignore[attr-defined] - as torch.amp.GradScaler does
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def schedule(kind: str, learning_rate: float, warmup_steps: float, total_steps: int) -> Schedule:
    """Learning rate as a function of the steps done: linear warm-up, then `kind`.

    Parameters
    ----------
    kind : str
        ``linear`` (to 0), ``cosine`` (half a wave to 0) or ``constant``.
    warmup_steps : float
        Steps, or below 1 a share of `total_steps`, rounded up.
    """
    warmup = math.ceil(total_steps * warmup_steps) if warmup_steps < 1 else int(warmup_steps)

    def at(step: int) -> float:
        if step < warmup:
            return learning_rate * step / max(1, warmup)
        left = max(0.0, (total_steps - step) / max(1, total_steps - warmup))
        shape = {"linear": left, "cosine": 0.5 * (1 + math.cos(math.pi * (1 - left))), "constant": 1.0}
        return learning_rate * shape[kind]

    return at
