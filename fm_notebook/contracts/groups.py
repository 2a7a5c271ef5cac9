"""What an evaluation by group gives: a row for every group, and how far the groups lie apart.

Nothing is dropped: a group whose value is missing has its own row, a group of few rows is marked `small`, and a score that a
group does not have stands in `GroupScores.undefined` with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fm_notebook import messages
from fm_notebook.contracts.group_names import Adjustment, Group, group_name
from fm_notebook.contracts.scores import Interval, Score
from fm_notebook.contracts.tpr_gaps import TprGaps
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import pandas as pd

Reason = Literal["no_positives", "no_negatives", "none_selected", "one_class", "no_probabilities"]
"""Why a group has no such score."""

SCORE_COLUMNS = ["n_rows", "small", "metric", "value", "low", "high", "n", "few", "undefined"]
GAP_COLUMNS = [
    "kind", "metric", "first", "second", "difference", "ratio", "low", "high", "p_value", "adjusted_p", "detectable",
]  # fmt: skip


class Undefined(Frozen):
    """A score that a group does not have, why, and the `n` rows that it would stand on."""

    name: str
    reason: Reason
    n: int = 0

    @property
    def why(self) -> str:
        """The reason, in the reader's language."""
        return messages.text(f"groups.undefined.{self.reason}")


class GroupScores(Frozen):
    """Scores of the rows of one group.

    Attributes
    ----------
    group : tuple of str or None
        Its value in each column; empty for the row over all.
    n : int
        Rows.
    n_positive : int or None
        Rows whose true label is the positive one; None where no label is named positive.
    small : bool
        Fewer rows than ``min_n``: shown, but no part of any gap, maximum or minimum.
    scores : list of Score
        ``selection_rate``, ``tpr``, ``fpr``, ``fnr``, ``ppv``, ``accuracy``, ``macro_f1``, ``auc`` and ``ece``, or those of them
        that are defined, see `fm_notebook.metrics.groups`.
    undefined : list of Undefined
    few : list of str
        Names of scores that stand on fewer than ``min_positives`` rows of the label, or of the decision, that they are about:
        shown, but no part of any gap.
    """

    group: Group
    n: int
    n_positive: int | None = None
    small: bool = False
    scores: list[Score] = Field(default_factory=list)
    undefined: list[Undefined] = Field(default_factory=list)
    few: list[str] = Field(default_factory=list)

    @property
    def name(self) -> str:
        """See `group_name`."""
        return group_name(self.group)

    def get(self, name: str) -> Score | None:
        """The score called `name`; None where the group has none."""
        return next((score for score in self.scores if score.name == name), None)

    def compares(self, name: str) -> bool:
        """Whether the score called `name` is held against other groups': it stands on enough rows, of people who are a group."""
        return not self.small and None not in self.group and name not in self.few and self.get(name) is not None


class GroupTable(Frozen):
    """Scores by group.

    Attributes
    ----------
    columns : list of str
        What the rows are grouped by; more than one is a crossing.
    labels : list of str
        In the order of the model's outputs.
    positive : str or None
        The label that the rates are about.
    overall : GroupScores
        Over all rows, whatever their group.
    groups : list of GroupScores
        Every group that has a row, in the order of its values; missing values come last.
    min_n, min_positives : int
        See `GroupScores`.
    level : float
        Of the intervals.
    seed : int
        Of the bootstrap.
    """

    columns: list[str]
    labels: list[str]
    positive: str | None = None
    overall: GroupScores
    groups: list[GroupScores]
    min_n: int
    min_positives: int
    level: float = 0.95
    seed: int = 0

    def __getitem__(self, group: str | Sequence[str | None] | None) -> GroupScores:
        """The row of a group: its value, or its values in the order of `columns`."""
        wanted = (group,) if group is None or isinstance(group, str) else tuple(group)
        for row in self.groups:
            if row.group == wanted:
                return row
        raise KeyError(group)

    @property
    def n_small(self) -> int:
        """Groups under `min_n` rows: say so wherever the table is shown."""
        return sum(row.small for row in self.groups)

    @property
    def missing_rows(self) -> int:
        """Rows with a missing value in any of `columns`; they are in the table, in rows of their own."""
        return sum(row.n for row in self.groups if None in row.group)

    def to_pandas(self) -> pd.DataFrame:
        """One row a group and score: `columns`, then those of `SCORE_COLUMNS`; a missing value of a group is None."""
        import pandas as pd

        rows = []
        for row in self.groups:
            of_group = (*row.group, row.n, row.small)
            rows += [
                (*of_group, score.name, score.value, *_ends(score.interval), score.n, score.name in row.few, None)
                for score in row.scores
            ]
            rows += [(*of_group, lost.name, None, None, None, lost.n, False, lost.reason) for lost in row.undefined]
        return pd.DataFrame(rows, columns=[*self.columns, *SCORE_COLUMNS])


class Gap(Frozen):
    r"""How far the groups lie apart in one score.

    Attributes
    ----------
    name : str
        ``demographic_parity`` (of selection rates), ``equal_opportunity`` (TPR), ``equalized_odds`` (TPR or FPR, the worse),
        ``predictive_parity`` (PPV), or the score's own name.
    difference : float
        Greatest less least; for equalised odds the greater of the two differences.
    ratio : float or None
        Least over greatest, from 0 to 1; the lesser of the two for equalised odds. None where the greatest is 0.
    highest, lowest : tuple
        The two groups, of the worse score for equalised odds.
    worst : tuple or None
        The one of them that is treated worse; None where the score does not tell, as the selection rate does not.
    n_groups : int
        Groups compared. Others are small, or have too few rows of the kind; they are named in `left_out`.
    left_out : list of tuple
    interval : Interval or None
        Of the difference between these two groups, at the level that makes the intervals of *all* pairs hold together
        (Bonferroni). A bootstrap of the greatest difference itself would never reach 0.
    p_value : float
        Of so great a difference if groups differed by chance alone, from permutations.
    permutations : int
        How many; the least possible p-value is 1 / (permutations + 1).
    detectable : float or None
        The smallest difference between these two groups that so many rows show with a chance of 80 % (two-sided test at 5 %,
        from the rate of the lowest); None for scores that are no rates, and where no difference is great enough.
    """

    name: str
    difference: float
    ratio: float | None
    highest: Group
    lowest: Group
    worst: Group | None = None
    n_groups: int
    left_out: list[Group] = Field(default_factory=list)
    interval: Interval | None = None
    p_value: float
    permutations: int
    detectable: float | None = None


class PairGap(Frozen):
    """Difference of one score between two groups, first less second.

    Attributes
    ----------
    interval : Interval or None
        Newcombe's for rates, MOVER for others; at the level of this pair alone.
    p_value, adjusted_p : float
        Of this pair alone, and adjusted over all pairs and scores of the table.
    detectable : float or None
        The smallest difference that so many rows show with a chance of 80 %, see `Gap`.
    needed_n : int or None
        Rows of the kind in each group at which a difference as seen would be shown with that chance; None where none was seen,
        and for scores that are no rates.
    """

    name: str
    first: Group
    second: Group
    difference: float
    interval: Interval | None
    n_first: int
    n_second: int
    p_value: float
    adjusted_p: float
    detectable: float | None = None
    needed_n: int | None = None


class Disparities(Frozen):
    """How far the groups of a `GroupTable` lie apart: `gaps` over all of them, `pairs` two by two.

    `n_small` groups, `small` by name, are in neither.
    """

    columns: list[str]
    positive: str | None = None
    gaps: list[Gap]
    pairs: list[PairGap]
    adjustment: Adjustment = "holm"
    small: list[Group] = Field(default_factory=list)
    level: float = 0.95
    seed: int = 0

    @property
    def n_small(self) -> int:
        """Groups too small to be compared."""
        return len(self.small)

    def __getitem__(self, name: str) -> Gap:
        """The gap called `name`, such as ``"demographic_parity"``."""
        for gap in self.gaps:
            if gap.name == name:
                return gap
        raise KeyError(name)

    def to_pandas(self) -> pd.DataFrame:
        """One row a gap (``kind`` is ``all``) and a pair (``pair``), columns `GAP_COLUMNS`."""
        import pandas as pd

        rows = [
            ("all", g.name, g.highest, g.lowest, g.difference, g.ratio, *_ends(g.interval), g.p_value, None, g.detectable)
            for g in self.gaps
        ]
        rows += [
            ("pair", p.name, p.first, p.second, p.difference, None, *_ends(p.interval), p.p_value, p.adjusted_p, p.detectable)
            for p in self.pairs
        ]
        frame = pd.DataFrame(rows, columns=GAP_COLUMNS)
        return frame.assign(first=frame["first"].map(group_name), second=frame["second"].map(group_name))


class ByGroup(Frozen):
    """What an evaluation says of one way to group the rows.

    Attributes
    ----------
    table : GroupTable
    disparities : Disparities
    subgroup_aucs : GroupTable or None
        Whether the score of the positive label ranks rows alike inside and outside of each group, see
        `fm_notebook.metrics.subgroup_auc`; None without a positive label. Rows whose group is missing are not in it.
    tpr_gaps : TprGaps or None
        Where there are more than two labels: true positive rates by class, of each group against all others.
    """

    table: GroupTable
    disparities: Disparities
    subgroup_aucs: GroupTable | None = None
    tpr_gaps: TprGaps | None = None


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (interval.low, interval.high) if interval else (None, None)
