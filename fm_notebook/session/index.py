"""The runs of a project at a glance: what a table shows of each, without replaying whole journals.

A journal says the same as long as it does not change, so what was once read is kept in a file of the state folder, by the size
and time of the journal. That file holds nothing that the journals do not say: without it the next look takes longer.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter

from fm_notebook.contracts.results import Interval
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.contracts.values import Frozen
from fm_notebook.jobs import atomic, locks, queue
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.session import store
from fm_notebook.session.job import Job
from fm_notebook.session.progress import OVER, Progress, State
from fm_notebook.session.skim import skim

_YOUNG_SECONDS = 10.0
Stamp = tuple[int, int, int]
"""Size and time of change of the journal, and time of ``job.json``, for a number may be given again after a deletion."""


class Summary(Frozen):
    """What a journal and a spec say of a run, in a few numbers.

    Attributes
    ----------
    name : str
        Name and number, such as ``sentiment.2``.
    created : float
        Seconds since the epoch.
    task, model : str
        As they were written.
    data : str
        Fingerprint of the training rows (hex).
    told : State
        The state by the journal alone.
    metric : str
        Name of the metric that chooses the best step; empty if not known yet.
    value, interval, n
        The best held-out score, its interval and the number of held-out rows.
    seconds : float
        From the first to the newest event.
    """

    name: str
    created: float
    task: str
    model: str
    data: str
    told: State = "queued"
    step: int = 0
    total_steps: int = 0
    metric: str = ""
    value: float | None = None
    interval: Interval | None = None
    n: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Entry:
    """A run in the list: its summary, its state in view of queues and workers, and whom it waits behind."""

    folder: Path
    summary: Summary
    state: State
    behind: str = ""
    alive: bool = False

    @property
    def name(self) -> str:
        """Name and number of the run."""
        return self.summary.name


class _Kept(Frozen):
    stamp: Stamp
    summary: Summary


_KEPT: TypeAdapter[dict[str, _Kept]] = TypeAdapter(dict[str, _Kept], config=ConfigDict(defer_build=True))
_writing = threading.Lock()


class Index:
    """The project's runs; each look reads only what changed since the one before. Callable from any thread."""

    def __init__(self) -> None:
        self.root = store.runs_folder()
        self._kept = _load(self.root)
        self.unread = 0
        self._unsaved = False
        self._jobs: dict[Path, Job] = {}
        self._entries: dict[str, Entry] = {}
        self._lock = threading.RLock()

    def look(self, *, budget_seconds: float = math.inf) -> dict[str, Entry]:
        """Every whole run by name, oldest first; 1,000 unchanged runs take a few milliseconds.

        Parameters
        ----------
        budget_seconds : float
            After this, runs that were never read are left for the next look, the oldest rather than the newest: `unread` counts
            them. A thousand journals are read in half a second, but not from a slow disk.
        """
        with self._lock:
            waiting = {path for each in queue.devices() for path in each.waiting()}
            deadline, found, self.unread = time.monotonic() + budget_seconds, [], 0
            for folder, stamp in sorted(_folders(self.root), key=lambda each: each[1][2], reverse=True):
                if time.monotonic() > deadline and folder.name not in self._kept:
                    self.unread += 1
                elif entry := self._entry(folder, stamp, waiting):
                    found.append(entry)
            found.sort(key=lambda entry: (entry.summary.created, entry.name))
            self._entries = {entry.name: entry for entry in found}
            self._forget_the_deleted()
            return dict(self._entries)

    def look_at_the_living(self) -> dict[str, Entry]:
        """Like `look`, but only runs that were alive at the last one are looked at."""
        with self._lock:
            for name, entry in self._entries.items():
                if entry.alive:
                    self._entries[name] = self._of_job(entry.folder, entry.summary)
            return dict(self._entries)

    def job(self, name: str) -> Job:
        """The job of the run called `name` among those found by the last look.

        Raises
        ------
        KeyError
            If there was none: names that come from a page are looked up here and never become paths.
        """
        with self._lock:
            folder = self._entries[name].folder
            return self._jobs.get(folder) or Job(JobFolder(folder))

    def save(self) -> None:
        """Keep what was read for the next notebook."""
        with suppress(OSError), _writing:
            if self._unsaved:
                path = _file(self.root)
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                atomic.write(path, _KEPT.dump_json(self._kept))
                self._unsaved = False

    def _entry(self, folder: Path, stamp: Stamp, waiting: set[Path]) -> Entry | None:
        before = self._entries.get(folder.name)
        if folder in self._jobs and before is not None:
            entry = self._of_job(folder, before.summary)
            if entry.alive:
                return entry
            self._jobs.pop(folder, None)
        summary = self._summary(folder, stamp)
        if summary is None:
            return None
        if folder in waiting or (summary.told not in OVER and _may_be_alive(folder, summary)):
            return self._of_job(folder, summary)
        return Entry(folder, summary, summary.told if summary.told in OVER else "died")

    def _of_job(self, folder: Path, before: Summary) -> Entry:
        """The entry of a run that is alive or may be, which its job knows best."""
        try:
            job = self._jobs.get(folder) or Job(JobFolder(folder))
            job.refresh()
        except (OSError, ValueError):  # deleted just now
            return Entry(folder, before, "died")
        self._jobs[folder] = job
        progress = job.progress
        return Entry(folder, _updated(before, progress), progress.state, progress.behind, not progress.over)

    def _summary(self, folder: Path, stamp: Stamp) -> Summary | None:
        kept = self._kept.get(folder.name)
        if kept is not None and kept.stamp == stamp:
            return kept.summary
        try:
            summary = summarize(JobFolder(folder))
        except (OSError, ValueError):  # torn, or of a newer version: it must not hide all the others
            return None
        self._kept[folder.name] = _Kept(stamp=stamp, summary=summary)
        self._unsaved = True
        return summary

    def _forget_the_deleted(self) -> None:
        for name in self._kept.keys() - self._entries.keys():
            del self._kept[name]
            self._unsaved = True


def listing() -> list[Entry]:
    """Every whole run of the project, oldest first."""
    index = Index()
    entries = list(index.look().values())
    index.save()
    return entries


def summarize(folder: JobFolder) -> Summary:
    """What the small files and the journal of `folder` say, read now.

    Raises
    ------
    OSError, ValueError
        If the folder is not whole, or its spec is of another version or no fine-tuning.
    """
    spec, identity = folder.spec, folder.identity
    if not isinstance(spec, FinetuneSpec):
        raise ValueError(spec.kind)
    progress = skim(folder.events, Progress(identity.name, str(folder.path), kind=spec.kind))
    first = Summary(
        name=folder.path.name, created=identity.created, task=spec.task, model=spec.model.source, data=spec.train.fingerprint
    )
    return _updated(first, progress)


def _updated(summary: Summary, progress: Progress) -> Summary:
    return summary.model_copy(
        update={
            "told": progress.state,
            "step": progress.result.steps if progress.result else progress.step,
            "total_steps": progress.total_steps,
            "seconds": progress.elapsed_seconds,
            **_best(progress),
        }
    )


def _best(progress: Progress) -> dict[str, object]:
    """The score that the run's metric gives to its model, or to its best step so far."""
    result, best = progress.result, progress.best
    metric = result.metric if result else progress.started.metric if progress.started else ""
    source = result or best
    if source is None or metric not in source.metrics:
        return {"metric": metric}
    n = result.n_eval if result else best.n if best else 0
    return {"metric": metric, "value": source.metrics[metric], "interval": source.intervals.get(metric), "n": n}


def _may_be_alive(folder: Path, summary: Summary) -> bool:
    """Whether a worker holds the run or is about to; as `Job` judges, but without reading the journal."""
    if locks.is_held(folder / "lock"):
        return True
    if any(each.in_work() == folder and locks.is_held(each.lock) for each in queue.devices()):
        return True
    return summary.told == "queued" and time.time() - summary.created < _YOUNG_SECONDS


def _folders(root: Path) -> Iterator[tuple[Path, Stamp]]:
    try:
        found = [entry for entry in os.scandir(root) if store.is_numbered(entry.name)]
    except OSError:
        return
    for entry in found:
        with suppress(OSError):  # deleted meanwhile, or not whole yet
            yield Path(entry.path), _stamp(entry.path)


def _stamp(folder: str) -> Stamp:
    whole = os.stat(f"{folder}/job.json").st_mtime_ns  # noqa: PTH116 - twice a run and look, and half the cost of Path.stat
    try:
        journal = os.stat(f"{folder}/events.jsonl")  # noqa: PTH116
    except FileNotFoundError:
        return (0, 0, whole)
    return (journal.st_size, journal.st_mtime_ns, whole)


def _file(root: Path) -> Path:
    return queue.state_folder() / "index" / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.json"


def _load(root: Path) -> dict[str, _Kept]:
    try:
        return _KEPT.validate_json(_file(root).read_bytes())
    except (OSError, ValueError):
        return {}
