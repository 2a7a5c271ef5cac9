"""What jobs give back: frozen values with ``n`` and intervals. Rounding happens only when they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from fm_notebook.contracts.calibration import Calibration, Curve, Temperature
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
    calibration : Calibration or None
        Whether probabilities mean what they say, where each row has one class.
    temperature : Temperature or None
        By which the logits would best be divided, fitted on these very rows.
    curves : list of Curve
        ROC and precision-recall curves of the positive label, or, where none is named, of each label against all others (at
        most 8 labels, the most frequent).
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
    calibration: Calibration | None = None
    temperature: Temperature | None = None
    curves: list[Curve] = Field(default_factory=list)
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

    def __repr__(self) -> str:
        """One line: what was scored, and the scores with their intervals; the tables are for notebooks."""
        scores = ", ".join(map(_in_short, self.scores))
        by = "".join(f", by {' × '.join(each.table.columns)}" for each in self.groups)
        return f"<Evaluation of {self.run or self.model} on {self.data.source}, n = {self.n:,}: {scores}{by}>"

    __str__ = __repr__

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


def _in_short(score: Score) -> str:
    between = f" [{score.interval.low:.4g}, {score.interval.high:.4g}]" if score.interval else ""
    return f"{score.name} {score.value:.4g}{between}"
