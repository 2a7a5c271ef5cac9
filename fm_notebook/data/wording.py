"""How names that come from data are put into messages."""

from __future__ import annotations

from collections.abc import Sequence

MOST_LETTERS = 60


def shown(name: object) -> str:
    """`name` on one line: control characters escaped (a terminal would obey them), long names cut."""
    text = str(name)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"


def listed(names: Sequence[object], most: int = 20) -> str:
    """At most `most` of `names` with commas, and ``…`` where more follow."""
    return ", ".join([shown(name) for name in names[:most]] + ["…"] * (len(names) > most))
