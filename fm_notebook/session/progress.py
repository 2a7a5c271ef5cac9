"""Where a job stands, derived from its events alone.

One `Progress` is fed event by event; the panel, the card, ``%runs``, ``Run.history`` and an attached notebook all read it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.attributions import Attribution
from fm_notebook.contracts.probe_reports import ProbeReport
from fm_notebook.contracts.results import Evaluation, RunResult
from fm_notebook.contracts.trials import Estimate, LearningRateCurve

State = Literal[
    "queued", "starting", "running", "pausing", "paused", "stopping", "cancelling",
    "finished", "stopped", "cancelled", "failed", "died",
]  # fmt: skip
OVER: frozenset[str] = frozenset({"finished", "stopped", "cancelled", "failed", "died"})

_STATES: dict[str, State] = {"Paused": "paused", "Unpaused": "running", "Stopping": "stopping"}
FIRST_STEPS = range(3, 11)
"""Steps after a start by which the time of all is foreseen: the two before them warm up."""
MOST_POINTS = 2000
RECENT_SECONDS = 10.0


@dataclass
class Series:
    """A curve of at most `MOST_POINTS` points: when full, neighbours are averaged and the stride doubles."""

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    stride: int = 1
    _pending: list[tuple[float, float]] = field(default_factory=list)

    def append(self, step: float, value: float) -> bool:
        """Add a point; True if the curve was thinned, so that whoever shows it must draw it anew."""
        self._pending.append((step, value))
        if len(self._pending) < self.stride:
            return False
        self.steps.append(self._pending[-1][0])
        self.values.append(sum(v for _, v in self._pending) / len(self._pending))
        self._pending.clear()
        if len(self.steps) < MOST_POINTS:
            return False
        self.steps = self.steps[1::2]
        self.values = [(a + b) / 2 for a, b in zip(self.values[::2], self.values[1::2], strict=True)]
        self.stride *= 2
        return True

    def cut(self, step: float) -> None:
        """Drop the points after `step`."""
        keep = sum(s <= step for s in self.steps)
        del self.steps[keep:], self.values[keep:]
        self._pending = [point for point in self._pending if point[0] <= step]


@dataclass
class Progress:
    """The state of one job.

    Attributes
    ----------
    name : str
        Name of the run, such as ``sentiment``.
    folder : str
        Absolute path of the job folder.
    state : State
        Derived: from events while the worker lives, ``queued`` before, ``died`` when its lock is free without an end.
    behind : str
        Name of the job that this one waits for, while queued.
    train, held_out, probed : Series, list of EvalEnded, list of ProbeScored
        Training loss by step, every evaluation, and every look of a probe.
    curve_version : int
        Grows whenever earlier points of `train` changed (thinned, or cut by a resume).
    """

    name: str
    folder: str
    kind: str = "finetune"
    state: State = "queued"
    behind: str = ""
    phase: str = ""
    step: int = 0
    epoch: float = 0.0
    started: ev.Started | None = None
    last: ev.StepEnded | None = None
    train: Series = field(default_factory=Series)
    held_out: list[ev.EvalEnded] = field(default_factory=list)
    notes: list[ev.Noted] = field(default_factory=list)
    checkpoints: list[ev.CheckpointSaved] = field(default_factory=list)
    probed: list[ev.ProbeScored] = field(default_factory=list)
    items: ev.ItemsScored | None = None
    result: RunResult | None = None
    evaluation: Evaluation | None = None
    estimate: Estimate | None = None
    learning_rates: LearningRateCurve | None = None
    attribution: Attribution | None = None
    probe: ProbeReport | None = None
    error: ev.ErrorRecord | None = None
    first_time: float = 0.0
    last_time: float = 0.0
    curve_version: int = 0
    _first: list[float] = field(default_factory=list)
    _trained_seconds: float = 0.0
    _recent: deque[ev.StepEnded] = field(default_factory=deque)
    _recent_seconds: float = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more is to come unless the job is resumed."""
        return self.state in OVER

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run; 0 before it has started."""
        return self.started.total_steps if self.started else 0

    @property
    def best(self) -> ev.EvalEnded | None:
        """The evaluation that ``model/`` holds."""
        return next((e for e in reversed(self.held_out) if e.best), None)

    @property
    def examples_per_second(self) -> float:
        """Training examples a second over the last ten seconds of steps; 0 before the first step."""
        return self._rate("examples")

    @property
    def tokens_per_second(self) -> float:
        """Real (not padding) tokens a second over the last ten seconds of steps."""
        return self._rate("tokens")

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to the last step at the recent pace (training steps only), or None if unknown."""
        if not self._recent or self.over or not self.total_steps:
            return None
        return (self.total_steps - self.step) * self._recent_seconds / len(self._recent)

    @property
    def foreseen(self) -> tuple[float, float] | None:
        """Seconds of training since the start or resume, as its first steps foresaw them for all, and as they came to.

        None before the last step, and where there were too few steps to foresee anything.
        """
        if self.started is None or self.step < self.total_steps or self.step - self.started.step <= FIRST_STEPS.stop:
            return None
        return (self.step - self.started.step) * sum(self._first) / len(self._first), self._trained_seconds

    @property
    def weighed(self) -> tuple[int, int] | None:
        """Peak of memory beyond what the worker held idle, bytes: as estimated before the first step, and as measured.

        None before the end, and where either is not known.
        """
        if self.started is None or self.result is None:
            return None
        known = self.started.provenance
        estimated, idle = known.get("estimated_memory"), known.get("idle_memory")
        if not estimated or idle is None:
            return None
        return int(estimated["total"]), self.result.peak_memory_bytes - (int(idle) if self.started.device == "cpu" else 0)

    @property
    def elapsed_seconds(self) -> float:
        """Seconds from the first to the newest event."""
        return max(0.0, self.last_time - self.first_time)

    def apply(self, event: ev.Event) -> None:
        """Take in the next event of the journal."""
        self.first_time = self.first_time or event.time
        self.last_time = event.time
        match event:
            case ev.PhaseBegan(phase=phase):
                self.phase = phase
                if phase == "loading_libraries" or self.state == "queued" or self.over:  # also after a worker's sudden death
                    self._begin_again()
            case ev.Started():
                self._start(event)
            case ev.StepEnded():
                self._step(event)
            case ev.EvalEnded():
                self.held_out.append(event)
                self.phase = ""
            case ev.Noted():
                self.notes.append(event)
            case ev.CheckpointSaved():
                self.checkpoints.append(event)
            case ev.ItemsScored():
                self.items = event
            case ev.ProbeScored():
                self.probed.append(event)
            case ev.Paused() | ev.Unpaused() | ev.Stopping():
                self.state = _STATES[event.type]
            case ev.MemoryShrunk():
                self.notes.append(
                    ev.Noted(time=event.time, key="memory_shrunk", level="warning",
                             values={"step": event.step, "micro_batch_size": event.micro_batch_size})
                )  # fmt: skip
            case ev.Ended():
                self.state, self.phase = event.state, ""
                self.result, self.evaluation, self.error = event.result, event.evaluation, event.error
                self.estimate, self.learning_rates = event.estimate, event.learning_rates
                self.attribution, self.probe = event.attribution, event.probe

    def _begin_again(self) -> None:
        self.state, self.result, self.evaluation, self.error = "starting", None, None, None

    def _start(self, event: ev.Started) -> None:
        self.started, self.state, self.phase, self.step = event, "running", "", event.step
        self.curve_version += any(s > event.step for s in self.train.steps)
        self.train.cut(event.step)
        self.held_out = [e for e in self.held_out if e.step <= event.step]
        self.probed = [e for e in self.probed if e.step <= event.step]
        self._recent.clear()
        self._first.clear()
        self._recent_seconds = self._trained_seconds = 0.0

    def _step(self, event: ev.StepEnded) -> None:
        self.step, self.epoch, self.last, self.phase = event.step, event.epoch, event, ""
        self.curve_version += self.train.append(event.step, event.loss)
        self._trained_seconds += event.seconds
        if self.started and event.step - self.started.step in FIRST_STEPS:
            self._first.append(event.seconds)
        self._recent.append(event)
        self._recent_seconds += event.seconds
        while self._recent_seconds - self._recent[0].seconds > RECENT_SECONDS:
            self._recent_seconds -= self._recent.popleft().seconds

    def _rate(self, what: Literal["examples", "tokens"]) -> float:
        return sum(getattr(s, what) for s in self._recent) / self._recent_seconds if self._recent_seconds > 0 else 0.0
