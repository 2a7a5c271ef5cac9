"""What changed from one model to another on the same rows: scores, flips, over all rows and by group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fm_notebook.contracts.groups import Adjustment, Group, group_name
from fm_notebook.contracts.scores import Interval
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import pandas as pd

Test = Literal["mcnemar", "randomization", "delong", "t"]


class Flips(Frozen):
    """Rows by which of the two models has them right; `p_value` is McNemar's, exact.

    `mended` are right with the second alone, `broken` with the first alone.
    """

    mended: int
    broken: int
    both_right: int
    both_wrong: int
    p_value: float


class Change(Frozen):
    """One score of two models on the same `n` rows.

    Attributes
    ----------
    first, second : float
        Its value with each; the mean over seeds where several are given.
    difference : float
        Second less first.
    interval : Interval or None
        Of the difference, paired: both models are resampled by the same rows.
    p_value : float or None
        Two-sided, by `test`; None where there is no test that holds.
    adjusted_p : float or None
        Adjusted over all scores that do not stand on few rows, and all groups that are not small.
    few : bool
        Whether it stands on fewer than ``min_positives`` rows of the label or decision that it is about: shown,
        but no part of the adjusted p-values.
    """

    name: str
    first: float
    second: float
    difference: float
    n: int
    interval: Interval | None = None
    p_value: float | None = None
    adjusted_p: float | None = None
    test: Test | None = None
    few: bool = False


class GroupChanges(Frozen):
    """What changed in the rows of one group; `group` is empty for all rows, `flips` is None for several seeds."""

    group: Group
    n: int
    small: bool = False
    flips: Flips | None = None
    changes: list[Change] = Field(default_factory=list)

    def get(self, name: str) -> Change | None:
        """The change of the score called `name`; None where the group has no such score."""
        return next((change for change in self.changes if change.name == name), None)


class PairedComparison(Frozen):
    """Two models on the same rows.

    Attributes
    ----------
    columns : list of str
        What the rows are grouped by; empty if they are not.
    positive : str or None
    overall : GroupChanges
    groups : list of GroupChanges
        Every group; those that are small have no adjusted p-value.
    first_seeds, second_seeds : int
        Runs of each, over which scores are averaged.
    seeds_resampled : bool
        Whether intervals hold for new seeds too, for which each side needs three runs.
    """

    columns: list[str] = Field(default_factory=list)
    positive: str | None = None
    overall: GroupChanges
    groups: list[GroupChanges] = Field(default_factory=list)
    adjustment: Adjustment = "holm"
    first_seeds: int = 1
    second_seeds: int = 1
    seeds_resampled: bool = False
    level: float = 0.95
    seed: int = 0

    @property
    def n_small(self) -> int:
        """Groups too small to be tested."""
        return sum(each.small for each in self.groups)

    def to_pandas(self) -> pd.DataFrame:
        """One row a group (None: all rows) and score, columns `CHANGE_COLUMNS`."""
        import pandas as pd

        rows = []
        for each in (self.overall, *self.groups):
            flips = (each.flips.mended, each.flips.broken) if each.flips else (None, None)
            name = group_name(each.group) if each.group else None
            rows += [(name, each.small, c.name, c.n, c.few, *_shown(c), *flips) for c in each.changes]
        return pd.DataFrame(rows, columns=CHANGE_COLUMNS)


CHANGE_COLUMNS = [
    "group", "small", "metric", "n", "few", "first", "second", "difference", "low", "high", "p_value", "adjusted_p", "test",
    "mended", "broken",
]  # fmt: skip


def _shown(change: Change) -> tuple[object, ...]:
    ends = (change.interval.low, change.interval.high) if change.interval else (None, None)
    return change.first, change.second, change.difference, *ends, change.p_value, change.adjusted_p, change.test
