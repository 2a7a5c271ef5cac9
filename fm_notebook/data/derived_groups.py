"""Groups that are told by the rows' texts and not by a column of their own: ``mentions:gender``. One entry a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from fm_notebook.data.lengths import by_length
from fm_notebook.data.mentions import mentioned

Texts = Sequence[pa.ChunkedArray]
"""The texts of N rows, such as those of ``text`` and ``text_pair``: large strings, null where missing."""
Derive = Callable[[Texts, str], pa.Array]
"""From the texts and what stands after the colon (empty if nothing does) to the group of each row, shape ``(N,)``."""

DERIVED: Mapping[str, Derive] = {"length": by_length, "mentions": mentioned}
"""By what stands before the colon. A column of the user's that has the whole name goes before."""
BY_WORDS = frozenset({"mentions"})
"""Those that change when words of a text are exchanged for others."""


def is_derived(name: str) -> bool:
    """Whether `name` is no column's but says how groups are made.

    Examples
    --------
    >>> is_derived("mentions:gender"), is_derived("gender")
    (True, False)
    """
    return name.partition(":")[0] in DERIVED


def derived(name: str, texts: Texts) -> pa.Array:
    """The groups that `name`, such as ``mentions:gender``, makes of `texts`.

    Raises
    ------
    DataError
        If what stands after the colon means nothing.
    """
    kind, _, argument = name.partition(":")
    return DERIVED[kind](texts, argument)
