"""Whether the attempt before was killed by the system for lack of memory.

Such a kill (SIGKILL) leaves no word. What tells it: an attempt that did not end, and the kernel's count of such kills, which rose
since it began. The count is the machine's, so another process's kill may be taken for ours; that costs speed, not the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from fm_notebook.contracts.events import CheckpointSaved, Event
from fm_notebook.contracts.values import Frozen
from fm_notebook.errors import JobFailed
from fm_notebook.jobs import atomic

COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))
"""Files with a line ``oom_kill N``: of the own control group, of the machine. Where there are none, nothing is told."""
UNSHRINKABLE = "fsdp.out_of_memory"
"""Key of the error of an attempt that lacked memory where it could not go on with less: it counts as a kill."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Counts begin anew with each start of the machine."""


class _Noted(Frozen):
    """What is known of an attempt while it lives: kill counts when it began, by file, and kills of attempts before it."""

    boot: str
    counts: dict[str, int]
    kills: int = 0


@dataclass
class Attempt:
    """One attempt at a job.

    Attributes
    ----------
    path : Path
        Where it is noted: the file lies there as long as the attempt lives, or it was killed.
    kills : int
        How many attempts before it were killed for lack of memory, since the newest checkpoint was written: each one says that
        the micro-batch was too large by half.
    """

    path: Path
    kills: int = 0

    def see(self, event: Event) -> None:
        """A checkpoint holds the smaller micro-batch: kills before it no longer count."""
        if isinstance(event, CheckpointSaved) and self.kills:
            self.kills = 0
            self.note()

    def note(self) -> None:
        """Write down that it lives."""
        atomic.write(self.path, _Noted(boot=_text(BOOT), counts=_counts(), kills=self.kills).model_dump_json().encode())


def kills(folder: Path) -> int:
    """`Attempt.kills` of the attempt that begins now, in a job's `folder`; call it once an attempt, before `attempt`."""
    found = 0
    for path in folder.glob("attempt.*.json"):
        if before := _read(path):
            found = max(found, before.kills + _killed_since(before))
        path.unlink(missing_ok=True)
    return found


@contextmanager
def attempt(folder: Path, kills: int, *, rank: int = 0) -> Iterator[Attempt]:
    """Note in a job's `folder` that process number `rank` tries it, until the block ends by whatever it can tell of itself."""
    this, is_over = Attempt(folder / f"attempt.{rank}.json", kills), True
    this.note()
    try:
        yield this
    except JobFailed as error:
        if error.faults[0].key == UNSHRINKABLE:
            this.kills, is_over = this.kills + 1, False
            this.note()
        raise
    finally:
        if is_over:
            this.path.unlink(missing_ok=True)


def _killed_since(before: _Noted) -> bool:
    now = _counts()
    return before.boot == _text(BOOT) and any(now.get(path, 0) > count for path, count in before.counts.items())


def _counts() -> dict[str, int]:
    found = {}
    for path in COUNTERS:
        for line in _text(path).splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdecimal():
                found[str(path)] = int(count)
    return found


def _read(path: Path) -> _Noted | None:
    try:
        return _Noted.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):  # none, or torn
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
