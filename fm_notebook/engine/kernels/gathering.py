"""From a packed row to groups of like length and back, each the gradient of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from fm_notebook.engine.packing import Pack


class Gather(torch.autograd.Function):
    """``x[plan.gather]`` whose gradient is a gather too: only tokens pass one back, and each is gathered once.

    The gradient of ``index_select`` would be an ``index_add``: slow on CPU, and in a random order on CUDA.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, plan: Pack) -> torch.Tensor:
        """Rows of `x`, shape ``(T, ...)``, as the groups hold them, shape ``(S, ...)``."""
        ctx.plan = plan
        return x.index_select(0, plan.grouping.gather)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The gradient's rows, the other way."""
        return _back(gradients[0], ctx.plan), None


class Scatter(torch.autograd.Function):
    """The inverse of `Gather`; zero in the tail, where padded places read their gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, plan: Pack) -> torch.Tensor:
        """Rows of the groups, shape ``(S, ...)``, each at its place, shape ``(T, ...)``."""
        ctx.plan = plan
        return _back(x, plan)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The gradient's rows, the other way."""
        return gradients[0].index_select(0, ctx.plan.grouping.gather), None


def _back(x: torch.Tensor, plan: Pack) -> torch.Tensor:
    row = x.index_select(0, plan.grouping.inverse)
    row[plan.tokens :] = 0
    return row
