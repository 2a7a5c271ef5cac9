"""How many floating-point operations a second this machine multiplies."""

from __future__ import annotations

import time
from typing import Any

# rows x inputs x outputs: MiniLM's layers at small and large steps, BERT-base's, a large square (slower in bf16)
SHAPES = ((512, 384, 1536), (2048, 384, 384), (2048, 384, 1536), (8192, 384, 1536), (2048, 768, 3072), (2048, 2048, 2048))
LARGE = (8192, 8192, 8192)  # what fills a GPU


def gemm_peaks(seconds_a_shape: float = 0.3) -> dict[str, float]:
    """The most FLOP/s that ``F.linear`` reached, over `SHAPES` (on a GPU `LARGE` too), by precision."""
    import torch

    peaks, device = {}, "cuda" if torch.cuda.is_available() else "cpu"
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        rates = [_rate(shape, dtype, device, seconds_a_shape) for shape in (*SHAPES, *([LARGE] if device == "cuda" else []))]
        peaks[name] = max(rates)
    return peaks


def _rate(shape: tuple[int, int, int], dtype: Any, device: str, seconds: float) -> float:
    import torch

    rows, inputs, outputs = shape
    a, b = (torch.randn(n, inputs, device=device).to(dtype) for n in (rows, outputs))
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    best, deadline = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        began = time.perf_counter()
        torch.nn.functional.linear(a, b)
        wait()
        best = min(best, time.perf_counter() - began)
    return 2 * rows * inputs * outputs / best
