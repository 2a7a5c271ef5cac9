"""How far a run has come: everything about it that is neither a weight nor a moment."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import Field

from fm_notebook.contracts.results import Interval
from fm_notebook.contracts.specs import Frozen


class Scores(Frozen):
    """Held-out metrics of the weights after `step` steps, with their intervals."""

    step: int
    metrics: dict[str, float]
    intervals: dict[str, Interval] = Field(default_factory=dict)


@dataclass
class RunState:
    """Written into each checkpoint and read back by a resume.

    Attributes
    ----------
    step : int
        Optimiser steps done; with the seed, it is also the place in the plan of batches.
    micro_batch_size, precision, threads : int, str, int
        Measured choices: taken once, kept for the whole run, so that a resume repeats every bit.
    best, last : Scores or None
        The best evaluation by the run's metric (the earliest of equals), and the newest.
    without_gain : int
        Evaluations since `best`.
    seconds : dict
        Wall seconds by phase.
    examples, tokens : int
        Trained on, counted again each epoch.
    """

    micro_batch_size: int
    precision: Literal["fp32", "bf16"]
    threads: int
    step: int = 0
    best: Scores | None = None
    last: Scores | None = None
    without_gain: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    examples: int = 0
    tokens: int = 0

    def record(self, scores: Scores, metric: str, goal: Literal["max", "min"]) -> bool:
        """Take in the evaluation of this step; True if it is the best so far."""
        self.last = scores
        better = self.best is None or _is_better(scores.metrics[metric], self.best.metrics[metric], goal)
        self.best = self.last if better else self.best
        self.without_gain = 0 if better else self.without_gain + 1
        return better

    def spend(self, phase: str, seconds: float) -> None:
        """Add to the wall time of `phase`."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        scores = {name: value and value.model_dump(mode="json") for name, value in (("best", self.best), ("last", self.last))}
        return asdict(self) | scores

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunState:
        """The state that `to_json` wrote."""
        best, last = (values[name] and Scores.model_validate(values[name]) for name in ("best", "last"))
        return cls(**{**values, "best": best, "last": last})


def _is_better(value: float, than: float, goal: str) -> bool:
    """Strictly, so that the earlier of equals stays; any number is better than NaN."""
    if math.isnan(value):
        return False
    return math.isnan(than) or (value > than if goal == "max" else value < than)
