"""On what and in which precision a model computes."""

from __future__ import annotations

import json
import platform
from contextlib import AbstractContextManager, nullcontext, suppress
from time import perf_counter
from typing import Any, Literal

import torch

from fm_notebook.engine import determinism
from fm_notebook.errors import ModelError
from fm_notebook.jobs import atomic, queue

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
PROBE_SECONDS = 0.02
WORTH_IT = 1.3
"""bf16 must multiply this much faster: casts and the other operators eat up less."""


def choose_device(asked: str) -> torch.device:
    """The device called `asked`, see `find_device`, ready for products that repeat their bits."""
    device = find_device(asked)
    if device.type == "cuda":
        determinism.prepare(device)
    return device


def find_device(asked: str) -> torch.device:
    """The device called `asked`; ``auto`` is the first of cuda, mps and cpu that is there. Nothing is done on it.

    Raises
    ------
    ModelError
        If a device asked for by name is not there.
    """
    mps = torch.backends.mps.is_available()
    device = torch.device(("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu") if asked == "auto" else asked)
    there = {"cpu": True, "mps": mps, "cuda": (device.index or 0) < torch.cuda.device_count()}
    if not there[device.type]:
        raise ModelError("engine.no_device", device=asked, chosen=str(find_device("auto")))
    return device


def choose_precision(asked: str, device: torch.device) -> Precision:
    """`asked`, or for ``auto`` the one that `device` multiplies fastest.

    CUDA: bf16 from 8.0 (Ampere) on, fp16 from 7.0 (tensor cores of V100 and T4) on. CPU: bf16 if a measurement of 20 ms says so:
    the name of the type alone says nothing, CPUs without AMX or AVX512-BF16 have it and are slower with it.
    """
    if asked != "auto":
        return asked  # type: ignore[return-value]
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        return "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    return "bf16" if device.type == "cpu" and _bf16_gain() > WORTH_IT else "fp32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Within it, products run in `precision`; weights stay fp32."""
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, dtype=_DTYPES[precision])


class LossScale:
    """What fp16 losses are multiplied by, so that small gradients do not vanish; 1 in other precisions.

    Doubled after `GROWTH_STEPS` good steps, halved after a step whose gradient overflowed (Micikevicius et al. 2018, section
    3.2). Lives on the device: nothing waits for it.
    """

    GROWTH_STEPS = 2000

    def __init__(self, precision: Precision, device: torch.device):
        self.is_on = precision == "fp16"
        self.value = torch.full((), 2.0**16 if self.is_on else 1.0, device=device)
        self._good = torch.zeros((), dtype=torch.int32, device=device)

    def backward(self, loss: torch.Tensor) -> None:
        """Stands for ``loss.backward()``."""
        (loss * self.value if self.is_on else loss).backward()

    def update(self, overflowed: torch.Tensor) -> None:
        """Take in whether the step's gradient was not finite (1.0 or 0.0)."""
        if self.is_on:
            torch._amp_update_scale_(self.value, self._good, overflowed, 2.0, 0.5, self.GROWTH_STEPS)  # type: ignore[attr-defined]

    def to_json(self) -> dict[str, Any]:
        """As plain values; waits for the device."""
        return {"value": float(self.value), "good": int(self._good)}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `to_json` gave."""
        if saved:
            self.value.fill_(saved["value"])
            self._good.fill_(saved["good"])


def _bf16_gain() -> float:
    """How much faster than fp32 this CPU multiplies in bf16; measured once for a machine and a torch, then read.

    So that equal runs compute alike however busy the machine is when they begin.
    """
    path = queue.state_folder() / "bf16.json"
    here = f"{torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {platform.node()}, {torch.get_num_threads()}"
    with suppress(OSError, ValueError):
        known = json.loads(path.read_text())
        if known.get("here") == here:
            return float(known["gain"])
    gain = _measured_gain()
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic.write(path, json.dumps({"here": here, "gain": gain}).encode())
    return gain


def _measured_gain() -> float:
    """The ratio of the quickest of several products of a layer's shape, the two types by turns."""
    operands = {d: (torch.ones(512, 384, dtype=d), torch.ones(1536, 384, dtype=d)) for d in (torch.float32, torch.bfloat16)}
    best = dict.fromkeys(operands, float("inf"))
    for pair in operands.values():
        torch.nn.functional.linear(*pair)  # the first one builds the kernel
    deadline = perf_counter() + PROBE_SECONDS
    while perf_counter() < deadline or float("inf") in best.values():
        for dtype, pair in operands.items():
            began = perf_counter()
            torch.nn.functional.linear(*pair)
            best[dtype] = min(best[dtype], perf_counter() - began)
    return best[torch.float32] / best[torch.bfloat16]
