"""How likely a model thinks the true token, and how many it thinks likelier."""

from __future__ import annotations

import torch
from torch.nn import functional


def losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihoods in nats of the tokens `targets`, shape ``(n,)``, by logits ``(n, V)``."""
    return functional.cross_entropy(logits, targets, reduction="none")


def ranks(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """How many tokens stand before each target, int64, shape ``(n,)``; of equally likely ones that with the smaller number.

    Examples
    --------
    >>> ranks(torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0]]), torch.tensor([2, 1])).tolist()
    [1, 1]
    """
    true = logits.gather(1, targets[:, None])
    smaller = torch.arange(logits.shape[1], device=logits.device) < targets[:, None]
    return ((logits > true) | ((logits == true) & smaller)).sum(1)
