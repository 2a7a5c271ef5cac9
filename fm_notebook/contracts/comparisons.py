"""What changed between models that were scored on the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fm_notebook.contracts.groups import Adjustment, ByGroup, Group, group_name
from fm_notebook.contracts.pairs import GroupChanges, PairedComparison
from fm_notebook.contracts.probe_changes import ProbeComparisons
from fm_notebook.contracts.scores import Interval, Score
from fm_notebook.contracts.specs import DataRef
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import pandas as pd

Unpaired = Literal["no_rows", "other_tokens"]
"""Why a score has no paired interval: nothing of single rows is kept of it, or the models cut texts into other tokens."""

COMPARISON_COLUMNS = [
    "run", "grouping", "group", "small", "metric", "n", "few", "base", "value", "difference", "low", "high", "p_value",
    "adjusted_p", "test", "mended", "broken",
]  # fmt: skip


class GapChange(Frozen):
    """How much farther, or less far, groups lie apart with one model than with another.

    Attributes
    ----------
    name : str
        As in `fm_notebook.contracts.groups.Gap`.
    first, second : float
        Greatest less least value of the groups with each model.
    difference : float
        Second less first: below 0 the groups lie less far apart with the second.
    n_groups : int
        Groups compared, the same with both models.
    left_out : list of tuple
        Groups that are small, or have too few rows of the kind with either model.
    interval : Interval or None
        Of `difference`, see `fm_notebook.metrics.gap_changes` for what it means.
    """

    name: str
    first: float
    second: float
    difference: float
    n_groups: int
    left_out: list[Group] = Field(default_factory=list)
    interval: Interval | None = None


class LearningCurve(Frozen):
    """How training went: points ``(step, value)`` of the loss, of the held-out loss and of the held-out `metric`."""

    metric: str = ""
    train: list[tuple[float, float]] = Field(default_factory=list)
    held_out: list[tuple[float, float]] = Field(default_factory=list)
    scores: list[tuple[float, float]] = Field(default_factory=list)


class Cost(Frozen):
    """What a run took: wall seconds in all and of training alone, real tokens a second of training, and peak memory."""

    seconds: float
    training_seconds: float
    steps: int
    tokens_per_second: float
    peak_memory_bytes: int
    peak_of: Literal["device", "process"] = "process"


class Compared(Frozen):
    """One of the models.

    Attributes
    ----------
    name : str
        The run's name and number, or what the user wrote for the model.
    run : str or None
        Folder name of the run, if it is one.
    scores : list of Score
        Over all rows, each with its own interval.
    groups : list of ByGroup
        Scores and gaps by each grouping.
    trained_rows : int
        Rows whose text it was trained on.
    untrained_head : bool
        Whether its head was drawn at random.
    cost, curve : Cost, LearningCurve or None
        Of a run.
    """

    name: str
    run: str | None = None
    scores: list[Score]
    groups: list[ByGroup] = Field(default_factory=list)
    trained_rows: int = 0
    untrained_head: bool = False
    cost: Cost | None = None
    curve: LearningCurve | None = None

    def get(self, name: str) -> Score | None:
        """The score called `name`; None where there is none."""
        return next((score for score in self.scores if score.name == name), None)


class GroupingChanges(Frozen):
    """What changed by one grouping: in each group, and in how far the groups lie apart."""

    columns: list[str]
    groups: list[GroupChanges]
    gaps: list[GapChange]


class RunChanges(Frozen):
    """What changed from the first model to the one called `name`: over all rows, and by each grouping.

    `unpaired` tells of scores without a paired interval why that is.
    """

    name: str
    overall: GroupChanges
    by: list[GroupingChanges] = Field(default_factory=list)
    unpaired: dict[str, Unpaired] = Field(default_factory=dict)


class OverSeeds(Frozen):
    """Runs that differ by their seed alone, taken together: means of `second` less those of `first`, both by name.

    `over_all` is of all rows, `by` one for each grouping; intervals hold for new seeds too where both sides have three.
    """

    first: list[str]
    second: list[str]
    over_all: PairedComparison
    by: list[PairedComparison] = Field(default_factory=list)


class Setting(Frozen):
    """A field that not all runs set alike, and its value in each; empty where a run has no such field."""

    field: str
    values: list[str]


class Comparison(Frozen):
    """Models on the same rows; the first is the base that the others are held against.

    Attributes
    ----------
    data : DataRef
        The rows; `kind` is ``run`` where they are the held-out rows of a run.
    n : int
        Rows scored.
    missing_rows : int
        Rows left out because text or label is missing.
    labels : list of str
        In the order of the outputs.
    positive : str or None
        The label that the rates are about.
    runs : list of Compared
        In the order given.
    changes : list of RunChanges
        One for each run but the first.
    over_seeds : list of OverSeeds
        Where runs differ by their seed alone: each other way of training against the first one's.
    probes : ProbeComparisons or None
        What changed in the answers to probes, if any were put to the models.
    settings : list of Setting
        What the runs' specs say differently.
    adjustment : str
        How the p-values of all runs, scores and groups were adjusted, as one family.
    """

    data: DataRef
    task: str
    n: int
    missing_rows: int = 0
    labels: list[str] = Field(default_factory=list)
    positive: str | None = None
    runs: list[Compared]
    changes: list[RunChanges]
    over_seeds: list[OverSeeds] = Field(default_factory=list)
    probes: ProbeComparisons | None = None
    settings: list[Setting] = Field(default_factory=list)
    adjustment: Adjustment = "holm"
    level: float = 0.95
    seed: int = 0

    @property
    def base(self) -> Compared:
        """The first model."""
        return self.runs[0]

    def __getitem__(self, name: str) -> RunChanges:
        """What changed from the base to the run called `name`."""
        for each in self.changes:
            if each.name == name:
                return each
        raise KeyError(name)

    def to_pandas(self) -> pd.DataFrame:
        """One row a run but the first, group and score, columns `COMPARISON_COLUMNS`.

        Without a `grouping` it is over all rows; with one and without a `group` it is how far the groups lie apart.
        """
        import pandas as pd

        rows = []
        for run in self.changes:
            rows += _of_part(run.name, None, run.overall)
            for by in run.by:
                grouping = "*".join(by.columns)
                for part in by.groups:
                    rows += _of_part(run.name, grouping, part)
                rows += [_of_gap(run.name, grouping, gap) for gap in by.gaps]
        return pd.DataFrame(rows, columns=COMPARISON_COLUMNS)


def _of_part(run: str, grouping: str | None, part: GroupChanges) -> list[tuple[object, ...]]:
    flips = (part.flips.mended, part.flips.broken) if part.flips else (None, None)
    head = (run, grouping, group_name(part.group) if part.group else None, part.small)
    return [
        (*head, c.name, c.n, c.few, c.first, c.second, c.difference, *_ends(c.interval), c.p_value, c.adjusted_p, c.test, *flips)
        for c in part.changes
    ]


def _of_gap(run: str, grouping: str, gap: GapChange) -> tuple[object, ...]:
    values = (gap.first, gap.second, gap.difference, *_ends(gap.interval))
    return (run, grouping, None, False, gap.name, None, False, *values, None, None, None, None, None)


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (interval.low, interval.high) if interval else (None, None)
