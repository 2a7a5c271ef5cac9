"""What is found by trying a run without doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fm_notebook.contracts.results import DataFacts, Interval
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import pandas as pd


class Estimate(Frozen):
    """What a fine-tuning would take, as a dry run found it: by closed form for memory and disk, by a few steps for time.

    Attributes
    ----------
    name : str
        Of the run that was asked about.
    parameters, trainable_parameters : int
        Weights of the model as it would be trained, adapters included, and those of them that learn.
    memory : dict
        Bytes by term, beyond what an idle worker holds, see `fm_notebook.engine.estimate.Memory`.
    memory_bytes : int
        The peak that `memory` comes to, less than the sum of the terms where not all of them meet.
    measured_memory_bytes : int or None
        The peak over the steps that were tried, the fullest one among them, beyond what the worker held before; of the device on
        a GPU. None if none was tried.
    free_memory_bytes : int or None
        What could still be taken before, where that is known.
    total_steps, steps_per_epoch, batch_size, micro_batch_size : int
    checkpoint_bytes, model_bytes : int
        One checkpoint, and one copy of the model.
    disk_bytes, free_disk_bytes : int
        The most that checkpoints and models take at once, and what is free where they would lie.
    data : DataFacts
    token_percentiles : dict
        Length in tokens of the texts to train on, as they would be cut, by percentile (50, 90, 99, 100).
    max_length : int
        Length at which texts are cut: that of the spec, or the model's if it is less.
    step_seconds : list of float
        Wall seconds of each step measured.
    seconds : dict
        Foreseen wall seconds of the whole run by phase: ``load``, ``tokenize``, ``train``, ``evaluate``.
    interval : Interval or None
        95 % interval of their sum, from the spread of `step_seconds`.
    """

    name: str
    model: str
    task: str
    device: str
    precision: str
    parameters: int
    trainable_parameters: int
    memory: dict[str, int]
    memory_bytes: int
    measured_memory_bytes: int | None = None
    free_memory_bytes: int | None = None
    total_steps: int
    steps_per_epoch: int
    batch_size: int
    micro_batch_size: int
    checkpoint_bytes: int
    model_bytes: int
    disk_bytes: int
    free_disk_bytes: int
    data: DataFacts
    token_percentiles: dict[int, int]
    max_length: int
    step_seconds: list[float] = Field(default_factory=list)
    seconds: dict[str, float] = Field(default_factory=dict)
    interval: Interval | None = None

    @property
    def fits(self) -> bool:
        """Whether memory and disk suffice, as far as that is known."""
        room = self.free_memory_bytes is None or self.memory_bytes <= self.free_memory_bytes
        return room and self.disk_bytes <= self.free_disk_bytes

    @property
    def total_seconds(self) -> float | None:
        """The sum of `seconds`; None if no step was measured."""
        return sum(self.seconds.values()) if self.step_seconds else None

    def to_pandas(self) -> pd.DataFrame:
        """One row a number: columns ``part`` (such as ``memory``), ``what``, ``value`` and ``unit``."""
        import pandas as pd

        rows = [("parameters", "all", self.parameters, ""), ("parameters", "trained", self.trainable_parameters, "")]
        rows += [("memory", name, size, "bytes") for name, size in self.memory.items()]
        rows += [("memory", "peak", self.memory_bytes, "bytes"), ("memory", "measured", self.measured_memory_bytes, "bytes")]
        rows += [("steps", "all", self.total_steps, ""), ("steps", "epoch", self.steps_per_epoch, "")]
        rows += [("disk", "checkpoint", self.checkpoint_bytes, "bytes"), ("disk", "most", self.disk_bytes, "bytes")]
        rows += [("tokens", f"p{percent}", length, "tokens") for percent, length in self.token_percentiles.items()]
        rows += [("time", phase, seconds, "seconds") for phase, seconds in self.seconds.items()]
        return pd.DataFrame(rows, columns=["part", "what", "value", "unit"])


class LearningRateCurve(Frozen):
    """How the training loss went while the learning rate grew from step to step, and what rules of thumb read from it.

    Attributes
    ----------
    name : str
        Of the run that was asked about.
    learning_rates, losses, smoothed : list of float
        By step; see `fm_notebook.metrics.learning_rates` for the smoothing.
    suggestions : dict
        Learning rates by rule: ``steepest``, ``valley`` and ``minimum_tenth``; empty if the curve is too short or never falls.
    learning_rate : float
        What the run would use.
    ended : str
        ``swept``: to the end; ``diverged``: the loss rose too far; ``interrupted``: the curve is partial.
    examples : int
        Texts trained on.
    """

    name: str
    model: str
    task: str
    learning_rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestions: dict[str, float] = Field(default_factory=dict)
    learning_rate: float
    ended: Literal["swept", "diverged", "interrupted"]
    examples: int
    batch_size: int
    seed: int

    @property
    def partial(self) -> bool:
        """Whether somebody interrupted it."""
        return self.ended == "interrupted"

    def to_pandas(self) -> pd.DataFrame:
        """One row a step: columns ``learning_rate``, ``loss`` and ``smoothed``."""
        import pandas as pd

        return pd.DataFrame({"learning_rate": self.learning_rates, "loss": self.losses, "smoothed": self.smoothed})
