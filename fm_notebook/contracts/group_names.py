"""What a group of rows is called, and how p-values over many groups are adjusted."""

from __future__ import annotations

from typing import Literal

from fm_notebook import messages

Group = tuple[str | None, ...]
"""A group: its value in each column that the rows are grouped by; None where the value is missing."""

Adjustment = Literal["holm", "benjamini-hochberg"]
"""How p-values of a family are adjusted: Holm bounds the chance of any false find, Benjamini-Hochberg the share of them."""


def group_name(group: Group) -> str:
    """The group as shown: its values, joined by ``×``; a missing value is named in the reader's language."""
    return " × ".join(messages.text("groups.missing") if value is None else value for value in group)
