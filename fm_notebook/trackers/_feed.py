"""From a run's journal to a tracker, as it is written; what was told before is not told again."""

from __future__ import annotations

import faulthandler
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from fm_notebook.contracts.events import Ended, EvalEnded, Event, Started, StepEnded
from fm_notebook.contracts.protocols import TrackedRun, Tracker
from fm_notebook.contracts.values import Frozen
from fm_notebook.jobs import atomic
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.jobs.journal import JournalReader
from fm_notebook.jobs.locks import is_held
from fm_notebook.jobs.queue import Queue

FOLDER = "trackers"
TICK_SECONDS = 1.0
CALL_SECONDS = 180.0
"""A call that takes longer hangs: the process says where, and ends."""
GRACE_SECONDS = 6.0
"""So long nobody holds the run before it counts as over without an end: a worker starts, a notebook resumes."""


class Told(Frozen):
    """What a tracker was told so far: its own `id` of the run, and the newest step and evaluation."""

    id: str = ""
    step: int = 0
    evaluation: int = 0


@dataclass
class Feeder:
    """Tells `tracker`, called `name`, of the run in `folder`.

    Attributes
    ----------
    told : Told
        As in the folder's ``trackers/<name>.json``.
    begun : bool
        Whether this process has begun the tracker's run.
    state : str
        How the run ended; ``died`` if its journal has no end.
    """

    folder: JobFolder
    name: str
    tracker: Tracker
    call_seconds: float = CALL_SECONDS
    told: Told = field(init=False)
    begun: bool = False
    state: str = "died"

    def __post_init__(self) -> None:
        try:
            self.told = Told.model_validate_json(self._memory.read_bytes())
        except (FileNotFoundError, ValidationError):
            self.told = Told()

    def follow(
        self, is_alive: Callable[[], bool], *, tick_seconds: float = TICK_SECONDS, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        """Tell of all that is in the journal and comes, until the run is over."""
        journal, seen, since = JournalReader(self.folder.events), False, time.monotonic()
        while True:
            alive = is_alive()  # asked before reading, so that nothing written before its end is missed
            self.tell(journal.new_events())
            if alive:
                seen, since = True, time.monotonic()
            ended = seen and self.state != "died"
            if not alive and (ended or time.monotonic() - since > grace_seconds):
                break
            time.sleep(tick_seconds)
        if self.begun:
            with self._in_time():
                self.tracker.end(self.state)

    def tell(self, events: list[Event]) -> None:
        """Tell of `events`, and note it."""
        before = self.told
        for event in events:
            if isinstance(event, Started):
                self.state = "died"
                self._begin(event)
            elif isinstance(event, Ended):
                self.state = event.state
            elif self.begun and isinstance(event, StepEnded | EvalEnded):
                self._log(event)
        if self.told != before:
            atomic.write(self._memory, self.told.model_dump_json().encode())

    def _begin(self, event: Started) -> None:
        if self.begun:
            return
        spec, files = self.folder.spec.model_dump(mode="json"), self.folder.path / FOLDER / self.name
        files.mkdir(parents=True, exist_ok=True, mode=0o700)
        project = re.sub(r"[^\w.-]+", "-", self.folder.path.parents[1].name).strip("-") or "fm_notebook"
        found = event.model_dump(mode="json", exclude={"type", "time", "step"})
        run = TrackedRun(self.folder.path.name, project, files, self.told.id, {**spec, "run": found}, event.time)
        with self._in_time():
            self.told = self.told.model_copy(update={"id": self.tracker.begin(run)})
        self.begun = True

    def _log(self, event: StepEnded | EvalEnded) -> None:
        mark = "step" if isinstance(event, StepEnded) else "evaluation"
        if event.step <= getattr(self.told, mark):  # done again after a resume, with the same result
            return
        with self._in_time():
            self.tracker.log(event.step, values_of(event), event.time)
        self.told = self.told.model_copy(update={mark: event.step})

    @property
    def _memory(self) -> Path:
        return self.folder.path / FOLDER / f"{self.name}.json"

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        faulthandler.dump_traceback_later(self.call_seconds, exit=True)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def values_of(event: StepEnded | EvalEnded) -> Mapping[str, float]:
    """What a tracker is told of a step or an evaluation, named as `transformers.Trainer` does."""
    if isinstance(event, EvalEnded):
        return {f"eval/{name}": value for name, value in event.metrics.items()}
    names = ("loss", "grad_norm", "learning_rate", "epoch", "seconds", "memory_bytes")
    return {f"train/{name}": float(getattr(event, name)) for name in names}


def is_alive(folder: JobFolder) -> bool:
    """Whether a worker holds the run or it waits for one."""
    queue = Queue(folder.identity.device)
    if is_held(folder.lock) or folder.path in queue.waiting():
        return True
    return queue.in_work() == folder.path and is_held(queue.lock)
