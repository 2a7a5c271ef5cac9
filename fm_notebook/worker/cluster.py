"""``python -m fm_notebook.worker.cluster FOLDER N``: do the job in FOLDER by N actors of a Ray cluster (the extra ``ray``).

The cluster is the one that RAY_ADDRESS names, else one of this machine alone that ends with the job. Plain actors, as they start
within seconds where ``TorchTrainer`` takes half a minute; the journal is their only way to report.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from fm_notebook import extras
from fm_notebook.contracts.events import ErrorRecord
from fm_notebook.errors import JobFailed
from fm_notebook.jobs import atomic
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.jobs.placement import STORE
from fm_notebook.worker import distributed
from fm_notebook.worker.together import reports_of

ROOM_SECONDS = 60.0
GRACE_SECONDS = 10.0
STORE_BYTES = 100_000_000
"""Ray's object store: nothing of ours lies there, and it takes no less."""
_PASSED_ON = ("HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_HUB_DISABLE_TELEMETRY", "FM_NOTEBOOK_LANGUAGE", "PYTHONSAFEPATH")


class Member:
    """One process of the job, somewhere in the cluster."""

    def sees(self, token: str) -> tuple[bool, str]:
        """Whether the file `token` is there for it, and the name of its host."""
        return Path(token).is_file(), socket.gethostname()

    def address(self) -> dict[str, str]:
        """Where the others find it: for the first one."""
        ray = extras.require("ray", extra="ray")
        with socket.socket() as free:
            free.bind(("", 0))
            return {"MASTER_ADDR": ray.util.get_node_ip_address(), "MASTER_PORT": str(free.getsockname()[1])}

    def work(self, folder: str, variables: dict[str, str]) -> int:
        """Do its part; 0 unless it failed."""
        os.environ.update(variables)
        return distributed.main(JobFolder(Path(folder)))


def main(folder: JobFolder, processes: int) -> int:
    """Do the job; 0 unless it failed."""
    distributed.leave_with_worker(folder.lock)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    meeting = Path(tempfile.mkdtemp(prefix="fm_notebook-"))
    try:
        ray = extras.require("ray", extra="ray")
        is_local = _connect(ray, processes)
        members = _members(ray, folder, processes)
        _check_folder(ray, folder, members)
        where = {STORE: str(meeting / "ranks")} if is_local else ray.get(members[0].address.remote())
        return _work(ray, folder, members, where)
    except Exception as error:  # noqa: BLE001 - the worker tells the user
        atomic.write(reports_of(folder) / "launcher.json", ErrorRecord.of(error).model_dump_json().encode())
        return 1
    finally:
        shutil.rmtree(meeting, ignore_errors=True)


def _connect(ray: Any, processes: int) -> bool:
    """Join the user's cluster, or start one on the loopback interface; whether it is ours."""
    address = os.environ.get("RAY_ADDRESS")
    own = {"num_cpus": processes, "include_dashboard": False, "object_store_memory": STORE_BYTES, "_node_ip_address": "127.0.0.1"}
    variables = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    ray.init(address=address or "local", runtime_env={"env_vars": variables}, **({} if address else own))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the worker gets one too, and asks the job to stop and save
    return not address


def _members(ray: Any, folder: JobFolder, processes: int) -> list[Any]:
    device = folder.spec.device
    gpus = int(device.startswith("cuda") or (device == "auto" and ray.cluster_resources().get("GPU", 0) >= processes))
    each = {"CPU": 1.0, **({"GPU": 1.0} if gpus else {})}
    group = ray.util.placement_group([each] * processes, strategy="PACK")
    if not group.wait(ROOM_SECONDS):
        raise JobFailed("distributed.no_room", processes=processes, resource="GPU" if gpus else "CPU", seconds=ROOM_SECONDS)
    strategy = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
    actor = ray.remote(Member)
    return [
        actor.options(num_cpus=1, num_gpus=gpus, max_restarts=0, scheduling_strategy=strategy(group, rank)).remote()
        for rank in range(processes)
    ]


def _check_folder(ray: Any, folder: JobFolder, members: list[Any]) -> None:
    """All must see what the first writes and the notebook reads."""
    token = folder.path / f".{uuid.uuid4().hex}.token"
    token.touch()
    try:
        for is_there, host in ray.get([member.sees.remote(str(token)) for member in members]):
            if not is_there:
                raise JobFailed("distributed.not_shared", folder=str(folder.path), host=host)
    finally:
        token.unlink(missing_ok=True)


def _work(ray: Any, folder: JobFolder, members: list[Any], where: dict[str, str]) -> int:
    """Let all work; when one fails the others get `GRACE_SECONDS` to say why."""
    size, waiting = str(len(members)), []
    for rank, member in enumerate(members):
        # Ray shows each actor its own GPU alone, so each is the first on a machine of its own.
        who = {"RANK": str(rank), "WORLD_SIZE": size, "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        waiting.append(member.work.remote(str(folder.path), {**who, "MASTER_ADDR": "127.0.0.1", **where}))
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1)
        if not _is_well(ray, done[0]):
            ray.wait(waiting, num_returns=len(waiting), timeout=GRACE_SECONDS) if waiting else None
            return 1
    return 0


def _is_well(ray: Any, done: Any) -> bool:
    try:
        return ray.get(done) == 0
    except ray.exceptions.RayError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the job's log
        return False


if __name__ == "__main__":
    sys.exit(main(JobFolder(Path(sys.argv[1])), int(sys.argv[2])))
