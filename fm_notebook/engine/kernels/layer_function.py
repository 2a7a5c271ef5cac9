"""The function that `bert_layer` puts in a layer's place, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812  (its name everywhere)

from fm_notebook.engine.kernels import attention
from fm_notebook.engine.kernels.dropout import MaskPool
from fm_notebook.engine.packing import Pack

native_layer_norm = torch.ops.aten.native_layer_norm.default
native_layer_norm_backward = torch.ops.aten.native_layer_norm_backward.default
gelu_backward = torch.ops.aten.gelu_backward.default


@dataclass(frozen=True)
class Layer:
    """The parts of a layer.

    Attributes
    ----------
    linear : query, key, value, output of the attention, up, down
    norms : after the attention, after the rest
    heads : int
    dropouts : of the attention's weights, of the attention's output, of the rest
    pool : MaskPool or None
    """

    linear: tuple[torch.nn.Linear, ...]
    norms: tuple[torch.nn.LayerNorm, ...]
    heads: int
    dropouts: tuple[torch.nn.Dropout, ...]
    pool: MaskPool | None

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Weight and bias of each linear map, then of each normalisation."""
        return [p for module in (*self.linear, *self.norms) for p in (module.weight, module.bias)]

    def mask(self, place: int, shape: tuple[int, ...]) -> torch.Tensor | None:
        """The mask of the dropout at `place` for this call, in fp32."""
        rate = self.dropouts[place].p
        if rate == 0:
            return None
        if self.pool is not None:
            return self.pool.mask(shape, rate)
        return torch.empty(shape).bernoulli_(1 - rate).mul_(1 / (1 - rate))


class LayerFunction(torch.autograd.Function):
    """``y = norm(a + drop(down(gelu(up(a)))))`` with ``a = norm(x + drop(out(attention(x))))``, shape ``(T, H)``, in fp32.

    ``apply(x, plan, read_at, layer, dtype, *layer.parameters)``: products are in `dtype`. If `read_at` is given, shape ``(n,)``,
    `y` is computed at these places alone and is 0 elsewhere.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, plan: Pack, read_at: torch.Tensor | None, layer: Layer, dtype: torch.dtype,
        *parameters: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """The layer, keeping what its gradient needs."""
        # Cast at each call, 1 % of a step: fused AdamW does not count up a weight's version, which would tell an old cast.
        weights = [weight.to(dtype) for weight in parameters[0:12:2]]
        maps = [(bias.to(dtype), weight.t()) for bias, weight in zip(parameters[1:12:2], weights, strict=True)]
        inner = x.to(dtype)
        q, k, v = (torch.addmm(bias, inner, weight) for bias, weight in maps[:3])
        mixed, kept = attention.attend(q.mul_(_scale(x, layer)), k, v, plan, layer.heads, partial(layer.mask, 0))
        if read_at is not None:
            x, mixed = x.index_select(0, read_at), mixed.index_select(0, read_at)
        a, norm_a = _add_and_norm(x, _linear(mixed, maps[3]), layer, 0)
        inner_a = a.to(dtype)
        up = _linear(inner_a, maps[4])
        active = F.gelu(up)
        y, norm_y = _add_and_norm(a, _linear(active, maps[5]), layer, 1)
        parts = (tensor for each in kept for tensor in each)
        ctx.save_for_backward(*weights, inner, mixed, inner_a, up, active, read_at, *norm_a, *norm_y, *parts)
        ctx.plan, ctx.layer, ctx.dtype = plan, layer, dtype
        return y if read_at is None else y.new_zeros(inner.shape).index_copy_(0, read_at, y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Gradients of `x` and of the parameters; None for those added to ``.grad`` already."""
        plan, layer, dtype = ctx.plan, ctx.layer, ctx.dtype
        weights, others = ctx.saved_tensors[:6], ctx.saved_tensors[12:]
        inner, mixed, inner_a, up, active, read_at = ctx.saved_tensors[6:12]
        dy = gradients[0] if read_at is None else gradients[0].index_select(0, read_at)
        da, ddown, *dnorm_y = _add_and_norm_backward(dy, others[4:8], layer.norms[1], dtype)
        dup = gelu_backward(ddown @ weights[5], up)
        da = _plus_product(da, dup, weights[4])
        dx, dout, *dnorm_a = _add_and_norm_backward(da, others[:4], layer.norms[0], dtype)
        dmixed = dout @ weights[3]
        if read_at is not None:
            dx, dmixed = (part.new_zeros(inner.shape).index_copy_(0, read_at, part) for part in (dx, dmixed))
        kept = [attention.Attended(*others[start : start + 5]) for start in range(8, len(others), 5)]
        dq, dk, dv = attention.gradients(dmixed, kept, plan, layer.heads)
        dq.mul_(_scale(inner, layer))
        for part, weight in zip((dq, dk, dv), weights, strict=False):
            dx = _plus_product(dx, part, weight)
        pairs = (dq, inner), (dk, inner), (dv, inner), (dout, mixed), (dup, inner_a), (ddown, active)
        found = [grad for pair, module in zip(pairs, layer.linear, strict=True) for grad in _linear_backward(*pair, module)]
        return dx, None, None, None, None, *found, *dnorm_a, *dnorm_y


def _scale(x: torch.Tensor, layer: Layer) -> float:
    return (x.shape[1] // layer.heads) ** -0.5


def _linear(x: torch.Tensor, bias_and_weight: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return torch.addmm(bias_and_weight[0], x, bias_and_weight[1])


def _linear_backward(
    gradient: torch.Tensor, x: torch.Tensor, module: torch.nn.Linear
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Gradients of the matrix, None if it was added to the one that is there, and of the bias."""
    bias, weight, there = gradient.sum(0, dtype=torch.float32), module.weight, module.weight.grad
    if there is None or weight._backward_hooks or weight._post_accumulate_grad_hooks:
        return (gradient.t() @ x).float(), bias
    if there.dtype == x.dtype:
        there.addmm_(gradient.t(), x)
    else:
        there.add_(gradient.t() @ x)
    return None, bias


def _plus_product(x: torch.Tensor, gradient: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x.addmm_(gradient, weight) if gradient.dtype == x.dtype else x.add_(gradient @ weight)


def _add_and_norm(
    x: torch.Tensor, added: torch.Tensor, layer: Layer, place: int
) -> tuple[torch.Tensor, tuple[torch.Tensor | None, ...]]:
    norm, mask = layer.norms[place], layer.mask(1 + place, tuple(x.shape))
    total = x + added if mask is None else torch.addcmul(x, added.float(), mask)
    y, mean, rstd = native_layer_norm(total, [x.shape[1]], norm.weight, norm.bias, norm.eps)
    return y, (total, mean, rstd, mask)


def _add_and_norm_backward(
    gradient: torch.Tensor, saved: Sequence[torch.Tensor], norm: torch.nn.LayerNorm, dtype: torch.dtype
) -> tuple[torch.Tensor, ...]:
    """Gradients of the residual (fresh memory), of what was added (in `dtype`), and of the normalisation's weight and bias."""
    total, mean, rstd, mask = saved
    dtotal, dweight, dbias = native_layer_norm_backward(
        gradient, total, [total.shape[1]], mean, rstd, norm.weight, norm.bias, [True] * 3
    )
    added = (dtotal if mask is None else dtotal * mask).to(dtype, copy=mask is None)  # a copy: the other is added to in place
    return dtotal, added, dweight, dbias
