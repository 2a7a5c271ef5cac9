"""Which device's queue a job belongs in, told without torch."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_NVIDIA = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg")  # the last one is Windows' Linux


def queue_name(device: str) -> str:
    """The name of the queue for a spec's `device`; ``auto`` and ``cuda`` mean the first one.

    The worker has the last word: if torch cannot use what was seen here, ``auto`` goes on with the CPU and says so.
    """
    if device == "cuda":
        return "cuda:0"
    if device != "auto":
        return device
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") not in {"", "-1"} and any(Path(path).exists() for path in _NVIDIA):
        return "cuda:0"
    return "mps" if (platform.system(), platform.machine()) == ("Darwin", "arm64") else "cpu"
