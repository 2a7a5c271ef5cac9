"""What steps report, once the device has come to it: the host does not wait for a step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch

LAG = 8
"""Steps that a CUDA device may be behind before the host waits for the oldest."""


@dataclass(frozen=True)
class StepNumbers:
    """Loss and gradient norm of a step, the rows it saw, what else the host knew of it, and seconds that it waited for them."""

    loss: float
    norm: float
    rows: np.ndarray
    facts: dict[str, Any]
    waited: float = 0.0


class Pending:
    """Steps under way. On CUDA their numbers are copied to pinned memory and read when the copy is there."""

    def __init__(self, device: torch.device):
        self._device, self._cuda = device, device.type == "cuda"
        self._waiting: deque[tuple[torch.Tensor, Any, np.ndarray, dict[str, Any]]] = deque()

    def add(self, loss: torch.Tensor, norm: torch.Tensor, rows: np.ndarray, facts: dict[str, Any]) -> None:
        """A step was sent to the device."""
        both, event = torch.stack([loss, norm]), None
        if self._cuda:
            both = both.to("cpu", non_blocking=True)  # into pinned memory, see at::_to_copy
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(self._device))  # by default that of the first device
        self._waiting.append((both, event, rows, facts))

    def ready(self, *, all_of_them: bool = False) -> Iterator[StepNumbers]:
        """The steps whose numbers are there, in order; all of them if asked, or the oldest where too many wait."""
        while self._waiting:
            (both, event, rows, facts), waited = self._waiting[0], 0.0
            if event is not None and not event.query():
                if not all_of_them and len(self._waiting) <= LAG:
                    return
                began = perf_counter()
                event.synchronize()
                waited = perf_counter() - began
            self._waiting.popleft()
            loss, norm = both.tolist()
            yield StepNumbers(loss, norm, rows, facts, waited)
