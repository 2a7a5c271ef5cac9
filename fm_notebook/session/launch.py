"""From a bound spec to a job folder in a device's queue."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fm_notebook import extras, messages
from fm_notebook.contracts.events import Ended
from fm_notebook.contracts.results import Evaluation
from fm_notebook.contracts.specs import ModelRef, TrialSpec
from fm_notebook.errors import ArgumentError, RunError
from fm_notebook.jobs import atomic, journal, placement
from fm_notebook.jobs.folder import Identity, JobFolder, create, delete
from fm_notebook.jobs.placement import Placement, Where
from fm_notebook.mitigations import mitigations
from fm_notebook.probes import probes
from fm_notebook.session import devices, models, sharding, store, tracking
from fm_notebook.session.binding import Bound
from fm_notebook.session.job import Job
from fm_notebook.session.launchers.kernel import execute_here
from fm_notebook.tasks import tasks

MOST_TRIALS = 20


@dataclass(frozen=True)
class Launched:
    """A job and how it came: ``started``, ``reused`` (an equal one had finished) or ``attached`` (an equal one is alive)."""

    job: Job
    how: Literal["started", "reused", "attached"]


def finetune(name: str, bound: Bound, *, again: bool = False) -> Launched:
    """Prepare a fine-tuning run called `name`, or find the equal one; `begin` starts it.

    Raises
    ------
    RunError
        If another job is alive under that name.
    """
    earlier = [Job(folder) for folder in store.versions(name)]
    for job in earlier:
        if not job.progress.over:
            if job.jobfolder.identity.key == bound.key and not again:
                return Launched(job, "attached")
            raise RunError("run.already_running", name=name, folder=job.folder.name, state=job.state_in_words)
    if not again and (found := equal([job.jobfolder for job in earlier], bound.key)):
        return Launched(Job(found), "reused")
    return Launched(_fill(store.create_run(name), name, bound), "started")


def evaluate(name: str, bound: Bound, model: ModelRef, *, again: bool = False) -> Launched:
    """Prepare an evaluation in the run's folder (or that of an untuned model), or find the equal one, done or under way."""
    parent = home_of(model) / "evaluations"
    return Launched(prepared(parent, name, bound), "started") if again else _once(parent, name, bound)


def embed(name: str, bound: Bound, model: ModelRef) -> Launched:
    """Prepare embeddings of rows in the run's folder (or that of an untuned model), or find the equal ones, done or under way."""
    return _once(home_of(model) / "embeddings", name, bound)


def predict(name: str, bound: Bound, model: ModelRef) -> Job:
    """Prepare a prediction; its folder is the caller's to delete."""
    return _fill(_numbered(home_of(model) / "predictions"), name, bound)


def trial(name: str, bound: Bound, asked: TrialSpec, *, again: bool = False) -> Launched:
    """Prepare what is to be tried of the run `bound`, as `asked` says, or find the equal trial; no run is made.

    The worker removes the rows at the end, and of trials that are over the newest `MOST_TRIALS` are kept.
    """
    parent = store.runs_folder() / ".trials"
    key = hashlib.sha256(f"{name} {asked.model_dump_json(exclude={'run'})} {bound.key}".encode()).hexdigest()
    earlier = folders_in(parent)
    if not again and (found := equal(earlier, key)):
        return Launched(Job(found), "reused")
    for folder in earlier[: -MOST_TRIALS + 1]:
        if Job(folder).progress.over:
            delete(folder)
    return Launched(_fill(_numbered(parent), name, bound, asked=asked, key=key), "started")


def begin(job: Job, *, on: Where = "process") -> None:
    """Start `job`: put it in its device's queue, or execute it here and return when it is over; `on` as in `placed`."""
    where = placed(on, job.jobfolder.spec.kind)
    sharding.check_processes(job.jobfolder.spec, where)
    placement.write(job.folder, where)
    if where.launcher == "kernel":
        tracking.start(job.jobfolder)
        execute_here(job.jobfolder, job.queue)
        job.refresh()
    else:
        job.enqueue()
        tracking.start(job.jobfolder)


def placed(on: Where, kind: str = "finetune") -> Placement:
    """Where a job of this `kind` is executed if it is asked for as `on`.

    Raises
    ------
    ArgumentError
        If there is no such place, or this job is one that a single process does.
    FMError
        If what is needed for it is not installed.
    """
    found = placement.parse(on)
    if found.is_together and kind != "finetune":
        raise ArgumentError("placement.alone", on=on)
    if found.launcher == "ray":
        extras.find("ray", extra="ray")
    return found


def resume(job: Job, *, on: Where | None = None) -> None:
    """Go on with a run that stopped, failed, was cancelled or died, from its newest checkpoint.

    Parameters
    ----------
    on : str, optional
        As in `placed`; by default by as many processes as before.

    Raises
    ------
    RunError
        If it is still alive or has finished.
    """
    if not job.progress.over or job.progress.state == "finished":
        raise RunError("run.not_resumable", name=job.name, state=job.state_in_words)
    if not job.jobfolder.train_rows.exists():
        raise RunError("run.no_data", name=job.name)
    begin(job, on=on or _as_before(job))


def _as_before(job: Job) -> Where:
    before = placement.read(job.folder)
    return f"{before.launcher}:{before.processes}" if before.is_together else "process"


def evaluations(run: Path) -> Iterable[Evaluation]:
    """The finished evaluations in a run's folder, oldest first."""
    for path in sorted((run / "evaluations").glob("[0-9]*"), key=lambda path: int(path.name)):
        for event in reversed(journal.replay(path / "events.jsonl")):
            if isinstance(event, Ended) and event.evaluation is not None:
                yield event.evaluation
                break


def home_of(model: ModelRef) -> Path:
    """The folder that keeps what is said of `model`: its run's, or one for models that are no run."""
    if model.kind == "run":
        return Path(model.location).parent
    name = model.source if model.kind in {"package", "hub"} else Path(model.location).name
    slug = re.sub(r"[^\w-]+", "-", name or "model")[-60:]
    return store.runs_folder() / ".models" / f"{slug}-{(model.fingerprint or model.revision or 'unknown')[:12]}"


def _once(parent: Path, name: str, bound: Bound) -> Launched:
    earlier = folders_in(parent)
    if found := equal(earlier, bound.key):
        return Launched(Job(found), "reused")
    same = [job for folder in earlier if folder.identity.key == bound.key and not (job := Job(folder)).progress.over]
    return Launched(same[0], "attached") if same else Launched(prepared(parent, name, bound), "started")


def folders_in(parent: Path) -> list[JobFolder]:
    """The numbered jobs in `parent`, oldest first."""
    return [JobFolder(path) for path in sorted(parent.glob("[0-9]*"), key=_number) if (path / "job.json").exists()]


def prepared(parent: Path, name: str, bound: Bound) -> Job:
    """A new numbered job in `parent`, with all that a worker needs."""
    return _fill(_numbered(parent), name, bound)


def equal(earlier: list[JobFolder], key: str) -> JobFolder | None:
    """The newest finished job of `earlier` with that key."""
    same = [folder for folder in reversed(earlier) if folder.identity.key == key]
    return next((folder for folder in same if Job(folder).progress.state == "finished"), None)


def _numbered(parent: Path) -> JobFolder:
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if ".models" in parent.parts:
        (store.runs_folder() / ".models" / ".gitignore").write_text("*\n")
    while True:
        number = max((int(path.name) for path in parent.glob("[0-9]*")), default=0) + 1
        try:
            return create(parent / str(number))
        except FileExistsError:  # another notebook took it this instant
            continue


def _number(path: Path) -> int:
    return int(path.name)


def _fill(folder: JobFolder, name: str, bound: Bound, *, asked: TrialSpec | None = None, key: str = "") -> Job:
    """Write all that a worker needs; a folder that could not be filled is removed."""
    from fm_notebook.data.prepare import write

    spec = bound.spec
    try:
        for role, table in bound.tables.items():
            write(table, folder.data / f"{role}.arrow")
        for field, value in bound.live.items():
            ref = models.save_live(value, getattr(spec, field), folder.path / f"given_{field}")
            spec = spec.model_copy(update={field: ref})
        identity = Identity(
            name=name, key=key or bound.key, created=time.time(), device=devices.queue_name(spec.device),
            language=messages.language(), task_files=(*tasks.files, *mitigations.files, *probes.files),
        )  # fmt: skip
        whole = spec if asked is None else asked.model_copy(update={"run": spec})
        folder.write(spec=whole, identity=identity, facts=bound.facts)
    except BaseException as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in atomic.FULL_DISK:
            raise RunError("run.disk_full", folder=str(store.runs_folder())) from error
        raise
    return Job(folder)
