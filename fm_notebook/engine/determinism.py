"""The same sums in the same order on a GPU, so that a resumed run repeats every bit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch.utils import deterministic as _deterministic

_settings: Any = _deterministic


VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


@lru_cache
def prepare(device: torch.device) -> None:
    """Let torch believe that cuBLAS repeats its bits, which it does: there is one stream. To be called before any product.

    torch looks once whether the variable is set, and reads a size out of it at every product, for 0.1 ms each (2.11): so it is
    set for the first one alone. Where a product was before ours, `Repeatable` gives up.
    """
    if VARIABLE in os.environ:
        return
    os.environ[VARIABLE] = ":4096:8"
    try:
        one = torch.ones(8, 8, device=device)
        _ = one @ one
    finally:
        del os.environ[VARIABLE]


class Repeatable:
    """Where CUDA has a kernel that adds up in one order, take that (attention's gradient, gradients of gathers).

    Not only warned of: attention takes it under no other setting. Where an operator has none it raises; `gives_up` then says
    whether to do without, for the rest of the run.

    Attributes
    ----------
    is_on : bool
        On CUDA, until an operator had no such kernel.
    """

    def __init__(self, device: torch.device):
        self.is_on = device.type == "cuda"
        if self.is_on:
            prepare(device)

    @contextmanager
    def kernels(self) -> Iterator[None]:
        """Within it they are taken."""
        before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        fill = _settings.fill_uninitialized_memory
        if self.is_on:  # not through `use_deterministic_algorithms`, which loads the compiler
            torch._C._set_deterministic_algorithms(True, warn_only=False)
            _settings.fill_uninitialized_memory = False  # for finding errors; takes a pass over all memory
        try:
            yield
        finally:
            if self.is_on:
                torch._C._set_deterministic_algorithms(before[0], warn_only=before[1])
                _settings.fill_uninitialized_memory = fill

    def gives_up(self, error: RuntimeError) -> bool:
        """Whether `error` says that an operator has no such kernel, and no more is asked for."""
        lacking = self.is_on and "deterministic" in str(error)
        self.is_on = self.is_on and not lacking
        return lacking
