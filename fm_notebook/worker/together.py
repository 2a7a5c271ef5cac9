"""A job done by several processes: the device's worker starts them, holds the folder's lock, waits, and says why they ended.

The worker stays the one that the queue, the notebook and the lock know. The first process writes the journal; each one that fails
writes into the folder ``processes/`` why, so that one killed without a word is known by its silence.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fm_notebook.contracts.events import Ended, ErrorRecord, Event
from fm_notebook.errors import JobFailed
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.jobs.journal import JournalReader
from fm_notebook.jobs.placement import PEER_LOST, STORE, Placement
from fm_notebook.worker import models_loaded, runtime

TICK_SECONDS = 0.1
GRACE_SECONDS = 10.0
RANK = "fm_notebook.worker.distributed"
CLUSTER = "fm_notebook.worker.cluster"


def execute(folder: JobFolder, placement: Placement, append: Callable[[Event], None]) -> None:
    """Have the job in `folder` done by the processes of `placement`; whatever happens, its journal gets one `Ended`."""
    models_loaded.free()
    reports = reports_of(folder)
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(mode=0o700)
    journal = JournalReader(folder.events)
    journal.new_events()
    with tempfile.TemporaryDirectory(prefix="fm_notebook-") as meeting:
        command, added = _command(folder, placement, Path(meeting))
        with _child(command, {**_environment(placement.processes), **added}) as child:
            while child.poll() is None:
                time.sleep(TICK_SECONDS)
    events = journal.new_events()
    if not any(isinstance(event, Ended) for event in events):
        step = next((step for event in reversed(events) if (step := getattr(event, "step", None)) is not None), 0)
        append(Ended(state="failed", step=step, error=why(reports, placement)))
    shutil.rmtree(reports, ignore_errors=True)


def reports_of(folder: JobFolder) -> Path:
    """Where the processes of a job say why they failed: ``<rank>.json``, and ``launcher.json`` of who started them."""
    return folder.path / "processes"


def why(reports: Path, placement: Placement) -> ErrorRecord:
    """The cause, from what the processes left in `reports`: one that lost its peer is never it."""
    found = {path.stem: ErrorRecord.model_validate_json(path.read_bytes()) for path in sorted(reports.glob("*.json"))}
    for error in found.values():
        if not is_peer_lost(error):
            return error
    silent = [rank for rank in range(placement.processes) if str(rank) not in found]
    if found and silent:
        named = ", ".join(str(rank + 1) for rank in silent)
        return ErrorRecord.of(JobFailed("distributed.died", named=named, processes=placement.processes))
    return ErrorRecord.of(JobFailed("distributed.ended", launcher=placement.launcher, processes=placement.processes))


def is_peer_lost(error: ErrorRecord) -> bool:
    """Whether it says no more than that another process has gone."""
    return any(fault["key"] == PEER_LOST for fault in error.faults)


def _command(folder: JobFolder, placement: Placement, meeting: Path) -> tuple[list[str], dict[str, str]]:
    """What to start, and variables for it."""
    python, count = [sys.executable, "-P", "-m"], str(placement.processes)
    if placement.launcher == "ray":
        return [*python, CLUSTER, str(folder.path), count], {}
    # Found by files, spoken to over the loopback interface: no port is open to other machines. `--standalone` opens one.
    torchrun = [
        "torch.distributed.run", "--nproc-per-node", count, "--rdzv-backend", "c10d", "--rdzv-conf", "store_type=file",
        "--rdzv-endpoint", str(meeting / "agents"), "--rdzv-id", "job", "--local-addr", "127.0.0.1", "-m", RANK, str(folder.path),
    ]  # fmt: skip
    loopback = _loopback()
    return [*python, *torchrun], {
        STORE: str(meeting / "ranks"), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        **{name: loopback for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if loopback and name not in os.environ},
    }  # fmt: skip


def _environment(processes: int) -> dict[str, str]:
    """Ours, but with the cores shared out: a number of threads that is all cores was the launcher's choice for one process."""
    given = dict(os.environ)
    if given.get("OMP_NUM_THREADS") == str(runtime.cores()):
        del given["OMP_NUM_THREADS"]
    return {**given, **runtime.environment(given, processes=processes), "PYTHONSAFEPATH": "1"}


def _loopback() -> str:
    if os.name == "nt":
        return ""
    return next((name for _, name in socket.if_nameindex() if name in {"lo", "lo0"}), "")


@contextmanager
def _child(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The process that starts the others; gone when the block ends, however it ends."""
    child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(timeout=GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
