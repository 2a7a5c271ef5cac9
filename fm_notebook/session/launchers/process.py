"""One worker process a device, in a session of its own, so that interrupts, kernel restarts and server shutdown pass it by."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time

from fm_notebook.errors import JobFailed
from fm_notebook.jobs.locks import is_held, owner
from fm_notebook.jobs.queue import Queue, state_folder
from fm_notebook.session.devices import queue_name
from fm_notebook.worker import runtime

# What a kernel sets for itself and a worker must not inherit.
_KERNELS_OWN = {
    "JPY_PARENT_PID", "JPY_SESSION_NAME", "MPLBACKEND", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "PYDEVD_USE_FRAME_EVAL",
}  # fmt: skip
_WORKERS_OWN = {"HF_HUB_DISABLE_TELEMETRY": "1"}
_START_SECONDS = 10.0
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")

MOST_STARTS = 3
"""Attempts before a worker that ends at once is given up."""

_started: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
_failures: dict[str, int] = {}
"""Workers in a row, by device, that ended before they took their lock."""
_leaving: list[subprocess.Popen[bytes]] = []
"""Earlier workers that have not been seen to end: dropping one that runs is a ResourceWarning, and leaves a zombie."""
_starting = threading.Lock()


def ensure_worker(queue: Queue) -> None:
    """Start the worker of `queue` if a job waits there and no worker lives.

    Raises
    ------
    JobFailed
        If workers cannot start here: the last `MOST_STARTS` ended before they were ready.
    """
    with _starting:
        if queue.waiting():
            _count_failures(queue)
            _start(queue)


def warm(device: object, *, on: str = "process") -> None:
    """Start the worker of a spec's `device`, if none lives, to load its libraries while the job is still being prepared.

    Off with ``FM_NOTEBOOK_WARM=0``. Without a job it leaves as any worker does, after its idle time. Whatever is wrong with the
    device is told by those who check the spec.
    """
    if on != "process" or os.environ.get("FM_NOTEBOOK_WARM", "1") in {"", "0"} or not _DEVICE.fullmatch(str(device)):
        return
    with _starting:
        _start(Queue(queue_name(str(device))), "--warm")


def worker_environment() -> dict[str, str]:
    """The environment of a worker: ours, without what is the kernel's own, with what must be settled before torch is loaded."""
    kept = {name: value for name, value in os.environ.items() if name not in _KERNELS_OWN}
    ours = {"MPLBACKEND": "Agg", "FM_NOTEBOOK_STATE": str(state_folder().resolve())}
    return {**_WORKERS_OWN, **runtime.environment(kept), **kept, **ours}


def _start(queue: Queue, *options: str) -> None:
    """Start a worker unless one lives or comes up; under `_starting`."""
    if is_held(queue.lock) or _is_coming_up(queue.device):
        return
    with queue.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fm_notebook.worker", queue.device, *options],
            env=worker_environment(),
            cwd=queue.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            close_fds=True,
            start_new_session=True,
        )
    if before := _started.get(queue.device):
        _leaving.append(before[0])
    _leaving[:] = [each for each in _leaving if each.poll() is None]
    _started[queue.device] = (process, time.monotonic())


def _count_failures(queue: Queue) -> None:
    process, _ = _started.get(queue.device, (None, 0.0))
    if process is None or process.poll() is None:
        return
    if process.returncode == 0 or owner(queue.lock).get("pid") == process.pid:
        _failures.pop(queue.device, None)
        return
    del _started[queue.device]
    _failures[queue.device] = _failures.get(queue.device, 0) + 1
    if _failures[queue.device] == MOST_STARTS:
        del _failures[queue.device]
        lines = queue.log.read_text("utf-8", "replace").strip().splitlines() or [""]
        raise JobFailed("job.no_worker", log=str(queue.log), last=lines[-1], code=process.returncode)


def free_worker(queue: Queue, *, patience_seconds: float = 0.0) -> bool:
    """Ask the worker to unload its model and leave when its queue is empty; whether it is gone after `patience_seconds`."""
    if not is_held(queue.lock):
        return True
    queue.leave.touch()
    deadline = time.monotonic() + patience_seconds
    while is_held(queue.lock) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_held(queue.lock)


def worker_pid(queue: Queue) -> int | None:
    """Process id of the living worker, None if there is none."""
    return owner(queue.lock).get("pid") if is_held(queue.lock) else None


def _is_coming_up(device: str) -> bool:
    """Whether we just started one that has not taken its lock yet. Polling also reaps it once it has ended."""
    process, since = _started.get(device, (None, 0.0))
    return process is not None and process.poll() is None and time.monotonic() - since < _START_SECONDS
