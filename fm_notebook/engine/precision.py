"""On what and in which precision a model computes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from fm_notebook.errors import ModelError

Precision = Literal["fp32", "bf16"]


def choose_device(asked: str) -> torch.device:
    """The device called `asked`; ``auto`` is the first of cuda, mps and cpu that is there.

    Raises
    ------
    ModelError
        If a device asked for by name is not there.
    """
    mps = torch.backends.mps.is_available()
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    device = torch.device(asked)
    there = {"cpu": True, "mps": mps, "cuda": (device.index or 0) < torch.cuda.device_count()}
    if not there[device.type]:
        raise ModelError("engine.no_device", device=asked, chosen=str(choose_device("auto")))
    return device


def choose_precision(asked: str, device: torch.device) -> Precision:
    """`asked`, or for ``auto`` bf16 where `device` multiplies it faster: CUDA from 8.0 (Ampere) on, CPUs with AMX tiles.

    Avoids bf16 by name alone: CPUs without AMX have the type and are slower with it.
    """
    if asked != "auto":
        return "bf16" if asked == "bf16" else "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return "bf16" if device.type == "cpu" and amx() else "fp32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Within it, products run in `precision`; weights stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
