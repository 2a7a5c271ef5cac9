"""Which rows are looked at and in which order, as values that a page, a test or a script can write."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fm_notebook.contracts.values import Frozen

_Number = Annotated[int, Field(ge=0)]


class Slice(Frozen):
    """Rows that meet every condition given; without any, all rows.

    Attributes
    ----------
    true, predicted : str or None
        Label.
    right : bool or None
        Whether the prediction is the true label.
    contains : str
        Part of the text (or of its pair), upper and lower case alike.
    groups : dict
        For each of the evaluation's groupings the group; None is the group of rows without a value.
    shortest, longest : int or None
        Length in characters, both ends included.
    suspects : bool
        Only rows whose label is likely wrong, see `fm_notebook.metrics.label_errors`.
    noted : bool
        Only rows with a note.
    near : int or None
        Only the nearest neighbours of this row (counted from 0 in the evaluation's order), itself first.
    """

    true: str | None = None
    predicted: str | None = None
    right: bool | None = None
    contains: str = ""
    groups: dict[str, str | None] = Field(default_factory=dict)
    shortest: _Number | None = None
    longest: _Number | None = None
    suspects: bool = False
    noted: bool = False
    near: _Number | None = None

    @property
    def is_by_outcome(self) -> bool:
        """Whether the conditions themselves decide what is right: accuracy within such a slice says nothing."""
        both = self.true is not None and self.predicted is not None
        return both or self.right is not None or self.suspects

    def lifted(self, *names: str) -> Slice:
        """The slice without the conditions `names`."""
        return self.model_copy(
            update={name: type(self).model_fields[name].get_default(call_default_factory=True) for name in names}
        )


class Sort(Frozen):
    """In which order rows come; rows that are equal by it stay in the order of the data.

    Attributes
    ----------
    by : str
        ``row`` (the order of the data), ``loss``, ``confidence``, ``margin``, ``length``, ``true``, ``predicted``,
        ``similarity`` (to `Slice.near`), or ``by.NAME`` of a grouping.
    descending : bool
        Largest first.
    """

    by: str = "loss"
    descending: bool = True
