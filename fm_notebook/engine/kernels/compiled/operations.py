"""The functions of the C files, on tensors. Shapes: T rows of H numbers; bf16 where it says so, else fp32; all contiguous."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch

from fm_notebook.engine.kernels.compiled import building

_LONG, _FLOAT, _DOUBLE, _SEED, _POINTER = ctypes.c_long, ctypes.c_float, ctypes.c_double, ctypes.c_uint64, ctypes.c_void_p
_SIGNATURES = {
    "add_and_norm": [_LONG, _LONG, *[_POINTER] * 4, _FLOAT, _DOUBLE, _SEED, *[_POINTER] * 4],
    "add_and_norm_backward": [_LONG, _LONG, *[_POINTER] * 5, _DOUBLE, _SEED, _POINTER, _POINTER],
    "norm_gradients": [_LONG, _LONG, *[_POINTER] * 6],
    "column_sums": [_LONG, _LONG, _POINTER, _POINTER],
    "add_rounded": [_LONG, _POINTER, _POINTER],
    "gelu": [_LONG, _POINTER, _POINTER],
    "gelu_backward": [_LONG, _POINTER, _POINTER],
    "attend": [_LONG, _POINTER, _LONG, _LONG, _POINTER, _DOUBLE, _SEED, _LONG, _POINTER],
    "attend_backward": [_LONG, _POINTER, _LONG, _LONG, _POINTER, _POINTER, _DOUBLE, _SEED, _LONG, _POINTER],
}


class Dropout(NamedTuple):
    """A rate in [0, 1), and the seed (64 bits) that the mask follows from, with row and column."""

    rate: float = 0.0
    seed: int = 0


NO_DROPOUT = Dropout()


class Texts(NamedTuple):
    """Where `n` texts lie in a row: `bounds` int32, shape ``(n + 1,)`` or longer; `longest`, the most tokens of one."""

    n: int
    bounds: torch.Tensor
    longest: int


class Normed(NamedTuple):
    """A normalised sum: the sum, mean and 1 / deviation of each row ``(T, 2)``, the result, and it rounded to bf16."""

    total: torch.Tensor
    moments: torch.Tensor
    y: torch.Tensor
    rounded: torch.Tensor


@cache
def operations() -> Operations | None:
    """The functions, if this machine has them; see `building.library`."""
    found = building.library()
    if found is None:
        return None
    for name, types in _SIGNATURES.items():
        function = getattr(found, name)
        function.argtypes, function.restype = types, None
    return Operations(found)


@dataclass(frozen=True)
class Operations:
    """The functions of a library that was built."""

    library: ctypes.CDLL

    def add_and_norm(
        self, x: torch.Tensor, added: torch.Tensor, norm: torch.nn.LayerNorm, dropout: Dropout = NO_DROPOUT
    ) -> Normed:
        """``norm(x + dropout(added))``; `added` in bf16."""
        made = Normed(torch.empty_like(x), x.new_empty(len(x), 2), torch.empty_like(x), torch.empty_like(added))
        weight, bias = norm.weight.float(), norm.bias.float()
        self.library.add_and_norm(*x.shape, *_at(x, added, weight, bias), norm.eps, *dropout, *_at(*made))
        return made

    def add_and_norm_backward(
        self, dy: torch.Tensor, more: torch.Tensor | None, made: tuple[torch.Tensor, torch.Tensor], norm: torch.nn.LayerNorm,
        dropout: Dropout,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
        """Gradients of x, of what was added (bf16), of weight and bias of `norm`, from that of y: `dy` and `more` (bf16)."""
        dx, dadded = torch.empty_like(dy), torch.empty_like(dy, dtype=torch.bfloat16)
        dweight, dbias = torch.empty_like(norm.weight), torch.empty_like(norm.bias)
        given = _at(dy, more, *made)
        self.library.add_and_norm_backward(*dy.shape, *given, *_at(norm.weight), *dropout, *_at(dx, dadded))
        self.library.norm_gradients(*dy.shape, *given, *_at(dweight, dbias))
        return dx, dadded, dweight, dbias

    def column_sums(self, x: torch.Tensor) -> torch.Tensor:
        """Of `x` in bf16, shape ``(T, H)``; in fp32."""
        sums = torch.empty(x.shape[1])
        self.library.column_sums(*x.shape, *_at(x, sums))
        return sums

    def add_rounded_(self, to: torch.Tensor, x: torch.Tensor) -> None:
        """Add `x`, in bf16, to the numbers of `to`."""
        self.library.add_rounded(to.numel(), *_at(to, x))

    def gelu(self, x: torch.Tensor) -> torch.Tensor:
        """By the normal distribution, not by tanh; bf16."""
        y = torch.empty_like(x)
        self.library.gelu(x.numel(), *_at(x, y))
        return y

    def gelu_backward_(self, x: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """`gradient` (bf16), in place made that of x."""
        self.library.gelu_backward(x.numel(), *_at(x, gradient))
        return gradient

    def attend(self, qkv: torch.Tensor, texts: Texts, heads: int, dropout: Dropout = NO_DROPOUT) -> torch.Tensor:
        """Values attended to within each text, ``(T, H)``, 0 behind the last one; `qkv` ``(T, 3 H)``, not scaled; all in bf16."""
        mixed = _empty_behind(texts, qkv, qkv.shape[1] // 3)
        layout = texts.n, *_at(texts.bounds), heads, qkv.shape[1] // (3 * heads)
        self.library.attend(*layout, *_at(qkv), *dropout, texts.longest, *_at(mixed))
        return mixed

    def attend_backward(
        self, qkv: torch.Tensor, gradient: torch.Tensor, texts: Texts, heads: int, dropout: Dropout
    ) -> torch.Tensor:
        """The gradient of `qkv` from that of `attend`'s result."""
        found = _empty_behind(texts, qkv, qkv.shape[1])
        layout = texts.n, *_at(texts.bounds), heads, qkv.shape[1] // (3 * heads)
        self.library.attend_backward(*layout, *_at(qkv, gradient), *dropout, texts.longest, *_at(found))
        return found


def _empty_behind(texts: Texts, like: torch.Tensor, width: int) -> torch.Tensor:
    made = like.new_empty(len(like), width)
    made[int(texts.bounds[texts.n]) :] = 0
    return made


def _at(*tensors: torch.Tensor | None) -> list[int | None]:
    return [None if tensor is None else tensor.data_ptr() for tensor in tensors]
