"""The layer of `fm_notebook.engine.kernels.layer_function` in bf16, all but its products in C: one pass where torch has many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from fm_notebook.engine.kernels.compiled.operations import Dropout, Operations, Texts
from fm_notebook.engine.kernels.layer_function import Layer
from fm_notebook.engine.packing import Pack


@dataclass(frozen=True)
class Call:
    """What a layer is called with besides numbers.

    Attributes
    ----------
    dropouts : of the attention's weights, of the attention's output, of the rest
    read_at : Tensor of int64, shape (n,), or None
        The only places where the result is wanted; it is 0 elsewhere.
    """

    layer: Layer
    operations: Operations
    texts: Texts
    dropouts: tuple[Dropout, ...]
    read_at: torch.Tensor | None = None


def fits(layer: Layer) -> bool:
    """Whether rows are as wide as the C functions want them."""
    width, wide = layer.linear[4].in_features, layer.linear[4].out_features
    return width % 16 == 0 and wide % 16 == 0 and width % layer.heads == 0 and width // layer.heads % 16 == 0


def call(layer: Layer, operations: Operations, plan: Pack, read_at: torch.Tensor | None, *, training: bool) -> Call:
    """A call's dropout follows from a seed that is drawn from torch's generator, so whatever restores that repeats it."""
    rates = [dropout.p if training else 0.0 for dropout in layer.dropouts]
    seeds = torch.randint(2**63 - 1, (len(rates),)).tolist() if any(rates) else [0] * len(rates)
    texts = Texts(len(plan.sizes), plan.boundaries, int(plan.sizes.max()))
    return Call(layer, operations, texts, tuple(map(Dropout, rates, seeds)), read_at)


def forward(x: torch.Tensor, this: Call) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The layer's result, shape ``(T, H)``, in fp32 as `x`, and what its gradient needs."""
    do, layer, read_at = this.operations, this.layer, this.read_at
    query, key, value, out, up, down = layer.linear
    weights = [_rounded(query, key, value), _rounded(out), _rounded(up), _rounded(down)]
    biases = [_rounded_bias(query, key, value), _rounded_bias(out), _rounded_bias(up), _rounded_bias(down)]
    maps = [(bias, weight.t()) for bias, weight in zip(biases, weights, strict=True)]
    x = x.contiguous()  # the C functions take addresses, not strides
    inner = x.bfloat16()
    qkv = torch.addmm(maps[0][0], inner, maps[0][1])
    mixed = do.attend(qkv, this.texts, layer.heads, this.dropouts[0])
    if read_at is not None:
        x, mixed = x.index_select(0, read_at), mixed.index_select(0, read_at)
    a = do.add_and_norm(x, torch.addmm(maps[1][0], mixed, maps[1][1]), layer.norms[0], this.dropouts[1])
    raised = torch.addmm(maps[2][0], a.rounded, maps[2][1])
    active = do.gelu(raised)
    y = do.add_and_norm(a.y, torch.addmm(maps[3][0], active, maps[3][1]), layer.norms[1], this.dropouts[2])
    kept = [*weights, inner, qkv, mixed, a.rounded, raised, active, a.total, a.moments, y.total, y.moments]
    return y.y if read_at is None else y.y.new_zeros(inner.shape).index_copy_(0, read_at, y.y), kept


class CompiledLayerFunction(torch.autograd.Function):
    """``apply(x, call, *layer.parameters)``: see `forward`."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, this: Call, *parameters: torch.Tensor) -> torch.Tensor:
        """The layer, keeping what its gradient needs."""
        del parameters
        y, kept = forward(x, this)
        ctx.save_for_backward(*kept)
        ctx.call = this
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Gradients of `x` and of the parameters; None for those added to ``.grad`` already."""
        this: Call = ctx.call
        do, layer, read_at = this.operations, this.layer, this.read_at
        w_qkv, w_out, w_up, w_down, inner, qkv, mixed, rounded_a, raised, active, *sums = ctx.saved_tensors
        dy = gradients[0].contiguous() if read_at is None else gradients[0].index_select(0, read_at)
        da, ddown, *dnorm_y = do.add_and_norm_backward(dy, None, (sums[2], sums[3]), layer.norms[1], this.dropouts[2])
        dup = do.gelu_backward_(raised, ddown @ w_down)
        dx, dout, *dnorm_a = do.add_and_norm_backward(da, dup @ w_up, (sums[0], sums[1]), layer.norms[0], this.dropouts[1])
        dmixed = dout @ w_out
        if read_at is not None:
            dx, dmixed = (part.new_zeros(inner.shape).index_copy_(0, read_at, part) for part in (dx, dmixed))
        dqkv = do.attend_backward(qkv, dmixed, this.texts, layer.heads, this.dropouts[0])
        do.add_rounded_(dx, dqkv @ w_qkv)
        query, key, value, out, up, down = layer.linear
        pairs = ((dqkv, inner, (query, key, value)), (dout, mixed, (out,)), (dup, rounded_a, (up,)), (ddown, active, (down,)))
        found = [each for gradient, given, modules in pairs for each in _gradients(do, gradient, given, modules)]
        return dx, None, *found, *dnorm_a, *dnorm_y


def _gradients(
    do: Operations, gradient: torch.Tensor, given: torch.Tensor, modules: tuple[torch.nn.Linear, ...]
) -> list[torch.Tensor | None]:
    """Gradients of the matrix, None if it was added to the one that is there, and of the bias, of each of `modules`."""
    sizes = [module.out_features for module in modules]
    products, biases = (gradient.t() @ given).split(sizes), do.column_sums(gradient).split(sizes)
    found = []
    for module, product, bias in zip(modules, products, biases, strict=True):
        weight, there = module.weight, module.weight.grad
        if there is None or weight._backward_hooks or weight._post_accumulate_grad_hooks:
            found += [product.float(), bias]
        else:
            do.add_rounded_(there, product)
            found += [None, bias]
    return found


def _rounded(*modules: torch.nn.Linear) -> torch.Tensor:
    """Their matrices, one below the other, in bf16."""
    sizes = [module.out_features for module in modules]
    made = torch.empty(sum(sizes), modules[0].in_features, dtype=torch.bfloat16)
    for part, module in zip(made.split(sizes), modules, strict=True):
        part.copy_(module.weight.detach())
    return made


def _rounded_bias(*modules: torch.nn.Linear) -> torch.Tensor:
    return torch.cat([module.bias.detach().bfloat16() for module in modules])
