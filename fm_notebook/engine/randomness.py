"""Random numbers without a state: what a place in the data draws depends on the seed and that place alone.

So a draw is the same for any micro-batch, any number of processes, and after a resume.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(seed: int, *counters: Any) -> np.ndarray:
    """Numbers in [0, 1), one for each combination of `counters` (integers, or arrays of them that broadcast).

    References
    ----------
    Steele, Lea and Flood (2014), *Fast splittable pseudorandom number generators*, OOPSLA: the finaliser of SplitMix64, applied
    once a counter.
    """
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        state = _mix(np.asarray(seed).astype(np.uint64) + _GOLDEN)
        for counter in counters:
            state = _mix(state ^ (np.asarray(counter).astype(np.int64).astype(np.uint64) * _GOLDEN + _GOLDEN))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
