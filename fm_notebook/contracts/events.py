"""What a job reports, one frozen value a line of ``events.jsonl``; plain numbers, never tensors.

Times are seconds since the epoch, memory is bytes, steps count optimiser steps from 1.
"""

from __future__ import annotations

import traceback
from time import time as now
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from fm_notebook.contracts.attributions import Attribution
from fm_notebook.contracts.probe_reports import Measurement, ProbeReport
from fm_notebook.contracts.results import Evaluation, Interval, RunResult
from fm_notebook.contracts.specs import Frozen
from fm_notebook.contracts.trials import Estimate, LearningRateCurve
from fm_notebook.errors import FMError

EndState = Literal["finished", "stopped", "cancelled", "failed"]


class _Event(Frozen):
    time: float = Field(default_factory=now)


class PhaseBegan(_Event):
    """The job entered a phase that takes a while; `phase` names the catalogue's ``phase.<phase>``."""

    type: Literal["PhaseBegan"] = "PhaseBegan"
    phase: Literal["loading_libraries", "loading_model", "tokenizing", "evaluating", "probing", "saving"]


class Noted(_Event):
    """Something the user should know: the catalogue's ``note.<key>`` filled with `values`."""

    type: Literal["Noted"] = "Noted"
    key: str
    values: dict[str, Any] = Field(default_factory=dict)
    level: Literal["info", "warning"] = "info"


class Started(_Event):
    """Model and data are loaded and one batch went through; written again by a resumed job.

    Attributes
    ----------
    step : int
        Steps already done: 0, or the checkpoint's when resumed. Later steps in the journal before this event are void.
    total_steps, steps_per_epoch : int
    examples : int
        Training examples in one epoch (for an evaluation: rows to score).
    parameters, trainable_parameters : int
    device, precision : str
        What was chosen, such as ``cpu`` and ``bf16``.
    micro_batch_size : int
    metric : str
        Name of the metric that chooses the best step.
    metric_goal : str
        ``max`` or ``min``.
    provenance : dict
        Versions, hashes, publisher and licence of the base model, threads, host.
    """

    type: Literal["Started"] = "Started"
    step: int = 0
    total_steps: int
    steps_per_epoch: int = 0
    examples: int = 0
    parameters: int = 0
    trainable_parameters: int = 0
    device: str = ""
    precision: str = ""
    micro_batch_size: int = 0
    metric: str = ""
    metric_goal: Literal["max", "min"] = "max"
    provenance: dict[str, Any] = Field(default_factory=dict)


class StepEnded(_Event):
    """One optimiser step: mean `loss` over its examples, `grad_norm` before clipping, wall `seconds`."""

    type: Literal["StepEnded"] = "StepEnded"
    step: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float
    examples: int
    tokens: int
    seconds: float
    memory_bytes: int


class EvalEnded(_Event):
    """Held-out scores at a step, with their intervals; `best` says that this is the best by the run's metric so far."""

    type: Literal["EvalEnded"] = "EvalEnded"
    step: int
    epoch: float
    metrics: dict[str, float]
    intervals: dict[str, Interval] = Field(default_factory=dict)
    n: int
    seconds: float
    best: bool


class ProbeScored(_Event):
    """What a probe's main number was with the weights after `step`, over a part of its items, the same each time."""

    type: Literal["ProbeScored"] = "ProbeScored"
    step: int
    epoch: float
    probe: str
    variant: str = ""
    measurement: Measurement
    seconds: float = 0.0


class CheckpointSaved(_Event):
    """A checkpoint is whole on disk, from which the run can be resumed."""

    type: Literal["CheckpointSaved"] = "CheckpointSaved"
    step: int
    folder: str
    seconds: float = 0.0


class Paused(_Event):
    """The worker waits at a step border."""

    type: Literal["Paused"] = "Paused"
    step: int


class Unpaused(_Event):
    """The worker goes on after a pause."""

    type: Literal["Unpaused"] = "Unpaused"
    step: int


class Stopping(_Event):
    """The worker has read ``stop`` and saves."""

    type: Literal["Stopping"] = "Stopping"
    step: int


class MemoryShrunk(_Event):
    """Memory ran out; the step is repeated with smaller micro-batches and the same effective batch."""

    type: Literal["MemoryShrunk"] = "MemoryShrunk"
    step: int
    micro_batch_size: int


class ItemsScored(_Event):
    """Progress of an evaluation or a probe: `done` of `total` items."""

    type: Literal["ItemsScored"] = "ItemsScored"
    done: int
    total: int
    seconds: float = 0.0


class ErrorRecord(Frozen):
    """Why a job failed: an error of `fm_notebook.errors` by `kind` and faults, or our bug with its traceback in `detail`."""

    kind: str
    faults: list[dict[str, Any]] = Field(default_factory=list)
    detail: str = ""

    @classmethod
    def of(cls, error: BaseException) -> ErrorRecord:
        """An error as it is written down: by catalogue keys if the user can mend it, else with its traceback."""
        if isinstance(error, FMError):
            faults = [{"key": f.key, "values": {k: _plain(v) for k, v in f.values.items()}, "line": f.line} for f in error.faults]
            return cls(kind=error.kind, faults=faults)
        return cls(kind="bug", detail="".join(traceback.format_exception(error)))


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | None) else str(value)


class Ended(_Event):
    """The job is over; nothing follows unless it is resumed."""

    type: Literal["Ended"] = "Ended"
    state: EndState
    step: int = 0
    result: RunResult | None = None
    evaluation: Evaluation | None = None
    estimate: Estimate | None = None
    learning_rates: LearningRateCurve | None = None
    attribution: Attribution | None = None
    probe: ProbeReport | None = None
    error: ErrorRecord | None = None


Event = Annotated[
    PhaseBegan
    | Noted
    | Started
    | StepEnded
    | EvalEnded
    | CheckpointSaved
    | Paused
    | Unpaused
    | Stopping
    | MemoryShrunk
    | ItemsScored
    | ProbeScored
    | Ended,
    Field(discriminator="type"),
]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event, config=ConfigDict(defer_build=True))


def read_event(line: str | bytes) -> Event:
    """The event that one line of a journal holds.

    What this version does not know of it is passed over: a package may be upgraded under an open notebook, and its next worker is
    of the new one.
    """
    return _ADAPTER.validate_json(line, extra="ignore")
