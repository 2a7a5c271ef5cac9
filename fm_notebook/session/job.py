"""A job as seen from the notebook: its progress, read from the journal, and the word to control it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fm_notebook import errors, messages
from fm_notebook.contracts.events import Ended, ErrorRecord
from fm_notebook.contracts.protocols import Command
from fm_notebook.errors import Fault, FMError, JobFailed, RunError, WaitInterrupted
from fm_notebook.jobs import locks
from fm_notebook.jobs.control import CommandReader, write_command
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.jobs.journal import JournalReader
from fm_notebook.jobs.queue import Queue
from fm_notebook.session.launchers.process import ensure_worker
from fm_notebook.session.progress import OVER, Progress, State

Listener = Callable[["Job"], None]
TICK_SECONDS = 0.25
BEAT_SECONDS = 2.0
_PREPARE_SECONDS = 10.0
_ASKED: dict[Command, State] = {"pause": "pausing", "stop": "stopping", "cancel": "cancelling"}


class Job:
    """One job folder, live.

    Attributes
    ----------
    progress : Progress
        As of the last `refresh`.
    version : int
        Grows with every change of `progress`, so that each of several onlookers sees for itself what is news to it.
    """

    def __init__(self, folder: JobFolder):
        self.jobfolder = folder
        identity = folder.identity
        self.name = folder.path.name if folder.spec.kind == "finetune" else identity.name
        self.queue = Queue(identity.device)
        self.progress = Progress(identity.name, str(folder.path), kind=folder.spec.kind)
        self._reader = JournalReader(folder.events)
        self._control = CommandReader(folder.control)
        self._from_events: State = "queued"
        self._lock = threading.RLock()
        self.version = 0
        self.refresh()

    @property
    def folder(self) -> Path:
        """The job's folder."""
        return self.jobfolder.path

    @property
    def state_in_words(self) -> str:
        """The state as of the last `refresh`, in the reader's language."""
        return messages.text(f"state.{self.progress.state}", name=self.progress.name)

    def refresh(self) -> bool:
        """Take in what the journal says now and who is alive; whether anything changed."""
        with self._lock:
            before = (self.progress.state, self.progress.behind)
            came = self._take_events()
            self._judge()
            changed = came or before != (self.progress.state, self.progress.behind)
            self.version += changed
            return changed

    def _take_events(self) -> bool:
        if events := self._reader.new_events():
            self.progress.state = self._from_events
            for event in events:
                self.progress.apply(event)
            self._from_events = self.progress.state
        return bool(events)

    def _judge(self) -> None:
        """What events cannot tell: whether the job waits, is wished something, or died."""
        waiting = self.queue.waiting()
        is_waiting = self.folder in waiting
        behind = self._who_is_before(waiting) if is_waiting else ""
        self.progress.state, self.progress.behind = "queued" if is_waiting else self._state_outside_the_queue(), behind

    def _state_outside_the_queue(self) -> State:
        if self._from_events in OVER:
            return self._from_events
        if self._is_alive():
            return self._as_asked()
        self._take_events()  # its end may have come between our reading and our asking
        return self._from_events if self._from_events in OVER or self._is_being_prepared() else "died"

    def _as_asked(self) -> State:
        """The state of a living job, in view of what it was asked for and has not done yet."""
        if self._from_events == "queued":
            return "starting"
        if self._from_events not in {"starting", "running", "paused"}:
            return self._from_events
        wished = _ASKED.get(self._control(), self._from_events)
        return "paused" if (self._from_events, wished) == ("paused", "pausing") else wished

    def _is_alive(self) -> bool:
        return locks.is_held(self.jobfolder.lock) or (self.queue.in_work() == self.folder and locks.is_held(self.queue.lock))

    def _is_being_prepared(self) -> bool:
        """Whether its folder was made just now and it has not been put in the queue yet."""
        return self._from_events == "queued" and time.time() - self.jobfolder.identity.created < _PREPARE_SECONDS

    def _who_is_before(self, waiting: list[Path]) -> str:
        place = waiting.index(self.folder)
        before = waiting[place - 1] if place else self.queue.in_work()
        if before is None or before == self.folder or not (place or locks.is_held(before / "lock")):
            return ""
        try:
            return JobFolder(before).identity.name
        except OSError:
            return before.name

    def enqueue(self) -> None:
        """Put the job at the end of its device's queue, and see that a worker comes."""
        with self._lock:
            self.jobfolder.control.unlink(missing_ok=True)
            self.queue.put(self.folder)
            self._from_events = self.progress.state = "queued"
        self.ensure_worker()
        self.refresh()

    def command(self, wish: str) -> None:
        """Ask the worker to ``pause``, ``resume``, ``stop`` or ``cancel``; it obeys at its next step border.

        Raises
        ------
        RunError
            If the job is over already.
        """
        self.refresh()
        if self.progress.over:
            raise RunError("run.is_over", name=self.name, state=self.state_in_words)
        if wish in {"stop", "cancel"} and self.queue.withdraw(self.folder):
            self._end_unstarted(Ended(state="cancelled"))
        else:
            write_command(self.jobfolder.control, "run" if wish == "resume" else wish)  # type: ignore[arg-type]

    def ensure_worker(self) -> None:
        """See that a worker comes for a job that waits; where none can start, the job has failed."""
        try:
            ensure_worker(self.queue)
        except JobFailed as error:
            if self.queue.withdraw(self.folder):
                self._end_unstarted(Ended(state="failed", error=ErrorRecord.of(error)))

    def _end_unstarted(self, event: Ended) -> None:
        """A job that no worker has taken is ended here, under its lock like by a worker."""
        from fm_notebook.jobs.journal import JournalWriter

        lock = locks.Lock(self.jobfolder.lock)
        if lock.acquire(patience_seconds=1.0):  # a reader that asks whether it is held has it for an instant
            journal = JournalWriter(self.jobfolder.events)
            journal.append(event)
            journal.close()
            lock.release()
        self.refresh()

    def wait(self, until: Callable[[Progress], bool] | None = None, *, timeout_seconds: float | None = None) -> bool:
        """Wait until the job is over, or `until` holds; False if `timeout_seconds` passed first.

        Raises
        ------
        WaitInterrupted
            On an interrupt, which ends the waiting and not the job.
        """
        deadline = time.monotonic() + timeout_seconds if timeout_seconds is not None else None
        try:
            while True:
                self.refresh()
                if (until is not None and until(self.progress)) or (self.progress.over and not watcher.is_pending(self)):
                    return True
                if deadline is not None and time.monotonic() > deadline:
                    return False
                if self.progress.state == "queued":
                    self.ensure_worker()
                watcher.pump()
                time.sleep(0.1)
        except KeyboardInterrupt:
            pass
        raise WaitInterrupted(self.name)  # outside the except block, so that no frame is kept

    def watch(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with this job whenever there is news, from one background thread; returns how to end that."""
        return watcher.add(self, listener)

    def failure(self) -> FMError | None:
        """Why the job failed or died, as an exception of this process; None if it did not."""
        record = self.progress.error
        if record is None:
            died = self.progress.state == "died"
            return JobFailed("job.died", name=self.name, log=str(self.jobfolder.log)) if died else None
        if record.kind == "bug":
            failed = JobFailed("job.bug", name=self.name, log=str(self.jobfolder.log), last=_last_line(record.detail))
            failed.detail = record.detail
            return failed
        faults = [Fault(f["key"], f.get("values", {}), f.get("line")) for f in record.faults]
        return errors.KINDS.get(record.kind, JobFailed)(faults=faults)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


class Watcher:
    """One daemon thread that tails the journals somebody looks at. It never prints and never raises.

    Colab shows nothing that a thread sends, so there it has none, and whoever waits in the main thread pumps.
    """

    def __init__(self) -> None:
        self._listeners: dict[Job, list[Listener]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._told: dict[Job, tuple[float, int]] = {}  # when, and of which version

    def add(self, job: Job, listener: Listener) -> Callable[[], None]:
        """Subscribe; the returned function unsubscribes."""
        with self._lock:
            self._listeners.setdefault(job, []).append(listener)
            if not _threads_are_mute() and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name="fm_notebook-watcher", daemon=True)
                self._thread.start()

        def remove() -> None:
            with self._lock:
                if listener in self._listeners.get(job, []):
                    self._listeners[job].remove(listener)

        return remove

    def is_pending(self, job: Job) -> bool:
        """Whether listeners of `job` still have to be told of its end."""
        with self._lock:
            return bool(self._listeners.get(job))

    def pump(self) -> None:
        """Do the thread's work once, here, if there is no thread."""
        if self._thread is None:
            self._look_at_all()

    def _run(self) -> None:
        while self._look_at_all():
            time.sleep(TICK_SECONDS)

    def _look_at_all(self) -> bool:
        with self._lock:
            jobs = {job: list(listeners) for job, listeners in self._listeners.items()}
            if not jobs:
                self._thread = None
        for job, listeners in jobs.items():
            self._look(job, listeners)
        return bool(jobs)

    def _look(self, job: Job, listeners: list[Listener]) -> None:
        when, version = self._told.get(job, (0.0, -1))
        try:
            job.refresh()
            if job.progress.state == "queued":
                job.ensure_worker()
        except Exception:  # noqa: BLE001, S110 - a deleted folder, a full disk: the next tick sees more
            pass
        over = job.progress.over
        if job.version != version or over or time.monotonic() - when > BEAT_SECONDS:
            self._told[job] = (time.monotonic(), job.version)
            for listener in listeners:
                try:
                    listener(job)
                except Exception:  # noqa: BLE001, S112 - showing must never harm a run
                    continue
        if over:
            with self._lock:
                if not job.progress.over:  # resumed while the last listener (a card is a second's work) was told
                    return
                rest = [each for each in self._listeners.get(job, []) if each not in listeners]
                self._listeners[job] = rest
                if not rest:
                    del self._listeners[job]
                    self._told.pop(job, None)


def _threads_are_mute() -> bool:
    return "google.colab" in sys.modules


watcher = Watcher()
