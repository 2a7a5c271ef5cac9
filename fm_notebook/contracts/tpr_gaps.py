"""Whose rows of each class are found more often: true positive rates by class, of a group against all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from fm_notebook.contracts.group_names import Adjustment, Group, group_name
from fm_notebook.contracts.scores import Interval, Score
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import pandas as pd


class ClassGap(Frozen):
    """The true positive rate of one class among a group's rows, less that among the rows of all other groups.

    `share` is the group's share of the class's rows; `adjusted_p` is over all classes and groups.
    """

    label: str
    difference: float
    interval: Interval | None
    n_group: int
    n_rest: int
    share: float
    p_value: float
    adjusted_p: float


class GroupTprGaps(Frozen):
    """The gaps of one group, and their root mean square.

    Attributes
    ----------
    rms : Score or None
        Over the classes in `gaps`; None where there are none.
    by_chance : float or None
        What it would come to on average if the group made no difference: more for fewer rows.
    p_value : float or None
        Of so great a root mean square by chance.
    correlation : float or None
        Pearson's r between gap and share over the classes: above 0 where a group is found more often in the classes that are
        mostly its own, which widens the imbalance. None for fewer than three classes, or no spread.
    left_out : list of str
        Classes with too few rows in the group or in the rest.
    """

    group: Group
    n: int
    rms: Score | None = None
    by_chance: float | None = None
    p_value: float | None = None
    correlation: float | None = None
    gaps: list[ClassGap] = Field(default_factory=list)
    left_out: list[str] = Field(default_factory=list)


class TprGaps(Frozen):
    """`GroupTprGaps` of every group that is known and not small; small ones are in `small`."""

    columns: list[str]
    groups: list[GroupTprGaps]
    small: list[Group] = Field(default_factory=list)
    adjustment: Adjustment = "holm"
    level: float = 0.95
    seed: int = 0

    def to_pandas(self) -> pd.DataFrame:
        """One row a group and class: ``group``, ``label``, ``difference``, ``low``, ``high``, ``n_group``, ``n_rest``, ``share``, ``p_value``, ``adjusted_p``."""  # noqa: E501
        import pandas as pd

        rows = [{"group": group_name(each.group), **_row(gap)} for each in self.groups for gap in each.gaps]
        names = ["group", "label", "difference", "low", "high", "n_group", "n_rest", "share", "p_value", "adjusted_p"]
        return pd.DataFrame(rows, columns=names)


def _row(gap: ClassGap) -> dict[str, str | float | None]:
    ends = {"low": gap.interval.low, "high": gap.interval.high} if gap.interval else {"low": None, "high": None}
    return {**gap.model_dump(exclude={"interval"}), **ends}
