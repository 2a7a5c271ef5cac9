"""What jobs give back: frozen values with ``n`` and intervals. Rounding happens only when they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fm_notebook.contracts.groups import ByGroup
from fm_notebook.contracts.scores import ClassScores, Interval, Score
from fm_notebook.contracts.specs import DataRef, Frozen

if TYPE_CHECKING:
    import pandas as pd


class Report(Frozen):
    """What a task says of a model's outputs: `scores` over all, and what its kind has besides, see `Evaluation`."""

    scores: list[Score]
    classes: list[ClassScores] = Field(default_factory=list)
    confusion: list[list[int]] = Field(default_factory=list)
    partial: dict[str, int] = Field(default_factory=dict)
    points: list[tuple[float, float]] = Field(default_factory=list)
    text_perplexities: list[float] = Field(default_factory=list)

    def __getitem__(self, name: str) -> Score:
        """The score called `name`."""
        return next(score for score in self.scores if score.name == name)


class DataFacts(Frozen):
    """What was counted in the data of a run; nothing is dropped without being counted here.

    Attributes
    ----------
    labels : list of str
        Names in the order of the model's outputs.
    train_rows, eval_rows : int
        Rows used.
    train_label_counts, eval_label_counts : list of int
        Rows a label, in the order of `labels`.
    missing_rows : int
        Rows left out of train and eval because text or label is missing.
    shared_texts : int
        Rows of eval whose text also stands in train (they are kept, and named).
    duplicate_texts : int
        Rows of train whose text stands there more than once, beyond the first.
    held_out : bool
        Whether eval was split from train by seed.
    stratified : bool
        Whether that split kept the label shares.
    truncated_share, unknown_share : float or None
        Share (0 to 1) of texts longer than ``max_length`` and of unknown tokens; known after tokenising.
    """

    labels: list[str]
    train_rows: int
    eval_rows: int
    train_label_counts: list[int]
    eval_label_counts: list[int]
    missing_rows: int = 0
    shared_texts: int = 0
    duplicate_texts: int = 0
    held_out: bool = False
    stratified: bool = False
    truncated_share: float | None = None
    unknown_share: float | None = None


class RunResult(Frozen):
    """What a fine-tuning run came to.

    Attributes
    ----------
    metrics : dict
        Held-out scores of the model in ``model/``, by name.
    intervals : dict
        Their confidence intervals, by name.
    best_step : int
        Step whose weights ``model/`` holds.
    steps : int
        Optimiser steps done.
    metric : str
        Metric by which the best step was chosen.
    n_eval : int
        Held-out rows.
    seconds : dict
        Wall seconds by phase: ``load``, ``tokenize``, ``train``, ``evaluate``, ``save``.
    examples_per_second, tokens_per_second : float
        Of the training steps alone.
    useful_flops_per_second : float
        Of the training steps alone; real tokens only, see `fm_notebook.engine.flops`. 0 in runs from before it was measured.
    peak_memory_bytes : int
        Peak of the device's memory, or of the worker process on CPU.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval] = Field(default_factory=dict)
    best_step: int
    steps: int
    metric: str
    n_eval: int
    seconds: dict[str, float]
    examples_per_second: float
    tokens_per_second: float
    useful_flops_per_second: float = 0.0
    peak_memory_bytes: int


class Evaluation(Frozen):
    """Scores of one model on one data set.

    Attributes
    ----------
    scores : list of Score
        ``accuracy`` (Wilson), ``macro_f1`` (bootstrap), ``loss`` and others over all rows.
    classes : list of ClassScores
    confusion : list of list of int
        Rows are true labels, columns predictions, shape ``(C, C)``.
    partial : dict
        For entities: how many were found exactly, and in which way the others were wrong, see
        `fm_notebook.metrics.matching.Matches`.
    points : list of pairs of float
        For numbers: true and predicted value of at most 2,000 rows, for the picture.
    text_perplexities : list of float
        For language models: of at most 2,000 texts, for the picture.
    groups : list of ByGroup
        Scores by group and how far these lie apart, one for each grouping that was asked for.
    trained_rows : int
        Rows whose text the run was trained on (they are counted, not dropped).
    untrained_head : bool
        Whether the model had no head for this task, so that one was drawn at random: expect chance.
    """

    model: str
    run: str | None = None
    data: DataRef
    task: str = "text-classification"
    labels: list[str]
    n: int
    missing_rows: int = 0
    scores: list[Score]
    classes: list[ClassScores] = Field(default_factory=list)
    confusion: list[list[int]] = Field(default_factory=list)
    partial: dict[str, int] = Field(default_factory=dict)
    points: list[tuple[float, float]] = Field(default_factory=list)
    text_perplexities: list[float] = Field(default_factory=list)
    groups: list[ByGroup] = Field(default_factory=list)
    trained_rows: int = 0
    untrained_head: bool = False
    truncated_share: float = 0.0
    unknown_share: float = 0.0
    seed: int = 0
    seconds: float = 0.0
    spec: dict[str, Any] = Field(default_factory=dict)

    def __getitem__(self, name: str) -> Score:
        """The score called `name`, such as ``"accuracy"``."""
        for score in self.scores:
            if score.name == name:
                return score
        raise KeyError(name)

    def to_pandas(self) -> pd.DataFrame:
        """One row a score: columns ``label`` (None: over all rows), ``metric``, ``value``, ``low``, ``high``, ``n``."""
        import pandas as pd

        rows = [(None, score) for score in self.scores]
        rows += [(c.label, score) for c in self.classes for score in (c.precision, c.recall, c.f1)]
        return pd.DataFrame(
            {
                "label": [label for label, _ in rows],
                "metric": [score.name for _, score in rows],
                "value": [score.value for _, score in rows],
                "low": [score.interval.low if score.interval else None for _, score in rows],
                "high": [score.interval.high if score.interval else None for _, score in rows],
                "n": [score.n for _, score in rows],
            }
        )


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
        The peak that `memory` comes to: gradients grow as activations go, so it may be less than the sum of the terms.
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
