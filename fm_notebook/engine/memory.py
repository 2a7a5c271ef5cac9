"""How much memory a run takes, and what running out of it looks like."""

from __future__ import annotations

import gc
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

CLEAR_REFS = Path("/proc/self/clear_refs")
"""Writing 5 sets the peak to what is resident now (``man proc_pid_clear_refs``)."""
_PROCESS = psutil.Process()


def used(device: torch.device) -> int:
    """Bytes in use: of tensors on a GPU, of the whole process on CPU (20 µs)."""
    if device.type == "cuda":
        found = torch.cuda.memory_stats_as_nested_dict(device)  # `memory_allocated` sorts all of it first: 0.2 ms
        return found["allocated_bytes"]["all"]["current"] if found else 0
    if device.type == "mps":
        return torch.mps.current_allocated_memory()
    return _PROCESS.memory_info().rss


@dataclass
class Peak:
    """The most memory that a run took, in bytes.

    On CPU the system knows the peak of the process's life: Linux lets it begin anew. Elsewhere it is the run's if it rose
    meanwhile, else the largest value seen at a step's end stands for it.
    """

    device: torch.device
    seen: int = 0
    _before: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        with suppress(OSError):  # not Linux, or forbidden
            CLEAR_REFS.write_text("5")
        self._before = _peak_of_process()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def see(self) -> int:
        """Memory in use now, remembered if it is the most so far."""
        now = used(self.device)
        self.seen = max(self.seen, now)
        return now

    @property
    def bytes(self) -> int:
        """The peak so far."""
        if self.device.type == "cuda":
            return max(self.seen, torch.cuda.max_memory_allocated(self.device))
        after = _peak_of_process()
        return max(self.seen, after) if self.device.type == "cpu" and after > self._before else self.seen


_NO_ROOM = re.compile("can't allocate memory|MPS backend out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDA error: out of memory")


def free() -> None:
    """Give back what nobody refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that a tensor did not fit; only CUDA's allocator has an error of its own for it."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and _NO_ROOM.search(str(error)) is not None
    )


def _peak_of_process() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return getattr(_PROCESS.memory_info(), "peak_wset", 0)
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
