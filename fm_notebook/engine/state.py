"""How far a run has come: everything about it that is neither a weight nor a moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import Field

from fm_notebook.contracts.results import Interval, Score
from fm_notebook.contracts.specs import Frozen
from fm_notebook.engine.batching import Budget
from fm_notebook.engine.forward import Layout
from fm_notebook.engine.precision import Precision


class Scores(Frozen):
    """Held-out metrics of the weights after `step` steps, with their intervals."""

    step: int
    metrics: dict[str, float]
    intervals: dict[str, Interval] = Field(default_factory=dict)

    @classmethod
    def of(cls, step: int, scores: Sequence[Score]) -> Scores:
        """`scores` of the weights after `step` steps."""
        intervals = {score.name: score.interval for score in scores if score.interval}
        return cls(step=step, metrics={score.name: score.value for score in scores}, intervals=intervals)


@dataclass
class RunState:
    """Written into each checkpoint and read back by a resume.

    Attributes
    ----------
    step : int
        Optimiser steps done; with the seed, it is also the place in the plan of batches.
    micro_batch_size, micro_batch_tokens, precision, layout, threads : int, int, str, str, int
        Measured choices: taken once, kept for the whole run, so that a resume repeats every bit.
    best, last : Scores or None
        The best evaluation by the run's metric (the earliest of equals), and the newest.
    without_gain : int
        Evaluations since `best`.
    seconds : dict
        Wall seconds by phase.
    examples, tokens, squares : int
        Texts, tokens and squared lengths of texts trained on, counted again each epoch.
    loss_scale : dict
        See `fm_notebook.engine.precision.LossScale`.
    """

    micro_batch_size: int
    micro_batch_tokens: int
    precision: Precision
    layout: Layout
    threads: int
    step: int = 0
    best: Scores | None = None
    last: Scores | None = None
    without_gain: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    examples: int = 0
    tokens: int = 0
    squares: int = 0
    loss_scale: dict[str, Any] = field(default_factory=dict)

    @property
    def budget(self) -> Budget:
        """How much goes through the model at once."""
        return Budget(self.micro_batch_size, self.micro_batch_tokens)

    def shrink(self, largest: int) -> None:
        """Halve the budget, `largest` texts having been the most that met."""
        smaller = self.budget.halved(largest)
        self.micro_batch_size, self.micro_batch_tokens = smaller.texts, smaller.tokens

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
