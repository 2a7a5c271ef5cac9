"""Another forward for one instance of a module, which stays what it is: its type, names and hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

Undo = Callable[[], None]


def replace_forward(module: torch.nn.Module, forward: Callable[..., Any]) -> Undo:
    """Let `module` compute `forward`; gives the function that undoes it. Undo replacements of one module last first."""
    own, before = "forward" in vars(module), module.forward
    module.forward = forward

    def undo() -> None:
        if own:
            module.forward = before
        else:
            del module.forward

    return undo


def in_reverse(undos: Iterable[Undo]) -> Undo:
    """All of `undos` as one, last first."""
    found = list(undos)

    def undo() -> None:
        while found:
            found.pop()()

    return undo
