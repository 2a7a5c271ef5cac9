"""What must be settled before torch is loaded: how threads wait, how many there are, what the allocator gives back.

libgomp and glibc read these from the environment when a process starts, so whoever starts a worker passes `environment`. What
the user has set always wins. Nothing here loads torch.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

SPIN_COUNT = 2000
"""Turns that an idle thread spins before it sleeps (libgomp's own: 300,000). With a neighbour on the other core the default makes
training 15 times slower and more; on a quiet machine this one costs 4 to 7 %."""

KEPT_BYTES = {"MALLOC_MMAP_THRESHOLD_": 1 << 26, "MALLOC_TRIM_THRESHOLD_": 1 << 27}
"""Blocks up to the first size, and as much as the second at the top of the heap, are used again when freed instead of going back
to the system. MiniLM's steps then fault on 114 pages instead of 12,784 (its embedding's gradient alone is 47 MB), at the same
peak memory. `give_back` returns all of it between jobs."""

_WAITING = frozenset({"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"})
_THREADS = frozenset({"OMP_NUM_THREADS", "MKL_NUM_THREADS"})
_TOPOLOGY = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")


def environment(given: Mapping[str, str], *, processes: int = 1) -> dict[str, str]:
    """Variables to add to the environment `given` of a worker, as one of `processes` that share this machine's cores."""
    added = {name: str(size) for name, size in KEPT_BYTES.items() if name not in given and "GLIBC_TUNABLES" not in given}
    if not _WAITING & set(given):
        added["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
    if not _THREADS & set(given) and (found := cores()):
        added["OMP_NUM_THREADS"] = str(max(1, found // processes))
    return added


def in_force() -> dict[str, str]:
    """The variables of this process that speed and bits depend on, for the record."""
    return {name: os.environ[name] for name in sorted({*_WAITING, *_THREADS, *KEPT_BYTES}) if name in os.environ}


def cores() -> int | None:
    """Physical cores that this process may use: its affinity mask and its control group's quota count, hyper-threads do not.

    None where the system does not tell (macOS, Windows): torch's own choice stands there.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    mine = os.sched_getaffinity(0)
    physical = {_text(_TOPOLOGY / f"cpu{number}/topology/thread_siblings_list") or str(number) for number in mine}
    return min(len(physical), _quota() or len(physical))


def give_back() -> None:
    """Return freed memory to the system, which glibc keeps for the next request; elsewhere nothing is done."""
    with suppress(OSError, AttributeError, TypeError):  # another C library; Windows has no global namespace
        ctypes.CDLL(None).malloc_trim(0)


def _quota() -> int | None:
    """Processors' worth of time that the control group allows, rounded up; None without a limit.

    A container sees its own group at the root, of version 2, else 1; groups further down are not looked up.
    """
    limit, _, period = _text(_CGROUP / "cpu.max").partition(" ")
    if not limit:
        limit, period = (_text(_CGROUP / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return math.ceil(int(limit) / int(period)) if limit.isdecimal() and period.isdecimal() else None  # "max" and -1: no limit


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
