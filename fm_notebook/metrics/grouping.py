"""Which group each row is in: by a column, by a crossing of columns, by quantiles of numbers.

Rows are coded once; everything that is computed by group works on the codes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fm_notebook.contracts.groups import Group
from fm_notebook.data.grouped import PREFIX, crossed
from fm_notebook.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MOST = 50
"""Different values a column may have: more are numbers to bin, or names of single rows."""
MOST_CROSSED = 100
"""Groups a crossing may have: they make 4,950 pairs."""
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """Rows by group.

    Attributes
    ----------
    columns : tuple of str
        What the rows are grouped by.
    codes : numpy.ndarray
        Number of each row's group, int16, shape ``(N,)``.
    groups : tuple of Group
        The G groups; each has at least one row.
    """

    columns: tuple[str, ...]
    codes: np.ndarray
    groups: tuple[Group, ...]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each group, shape ``(G,)``."""
        return np.bincount(self.codes, minlength=len(self.groups))

    @property
    def known(self) -> np.ndarray:
        """Whether no value of the group is missing, shape ``(G,)``."""
        return np.array([None not in group for group in self.groups])

    def rows(self) -> list[np.ndarray]:
        """Row numbers of each group, ascending."""
        order = np.argsort(self.codes, kind="stable")
        return np.split(order, np.cumsum(self.sizes)[:-1])


def grouping(column: str, values: ArrayLike, *, most: int = MOST) -> Grouping:
    """Rows by the values of one column.

    Parameters
    ----------
    column : str
        Its name.
    values : array-like
        Strings, numbers or booleans, shape ``(N,)``. None, NaN, NA and blank text are missing and make a group of their own.
    most : int
        Different values that are allowed.

    Returns
    -------
    Grouping
        Groups in the order of their values (numbers by size), the missing one last.

    Raises
    ------
    DataError
        If there are more than `most` different values, or no rows.

    Examples
    --------
    >>> found = grouping("gender", ["w", "m", None, "w"])
    >>> found.groups, found.codes.tolist()
    ((('m',), ('w',), (None,)), [1, 0, 2, 1])
    """
    import pandas as pd

    # Object, so that None, NaN and NA of any column type are found; a hash of the values, which is O(N).
    firsts, uniques = pd.factorize(pd.Series(values, dtype="object"), use_na_sentinel=True)
    return _coded(column, firsts, list(uniques), most)


def of_rows(rows: pa.Table, name: str) -> Grouping:
    """Rows of an evaluation by `name`, a column or a crossing such as ``gender*region``; their columns are ``by.<column>``.

    Raises
    ------
    DataError
        See `grouping` and `crossing`.

    Examples
    --------
    >>> of_rows(pa.table({"by.gender": ["w", "m", None, "w"]}), "gender").groups
    (('m',), ('w',), (None,))
    """
    return crossing(*[_of_column(each, rows[PREFIX + each]) for each in crossed(name)])


def _of_column(column: str, values: pa.ChunkedArray) -> Grouping:
    """Arrow hashes its own values: a million Python objects are never made."""
    encoded = values.combine_chunks()
    encoded = encoded if pa.types.is_dictionary(encoded.type) else encoded.dictionary_encode()
    firsts = np.asarray(encoded.indices.cast(pa.int64()).fill_null(-1))
    uniques = encoded.dictionary.to_pylist()
    none = np.array([value is None for value in uniques] + [True])
    return _coded(column, np.where(none[firsts], -1, firsts), [0 if value is None else value for value in uniques], MOST)


def _coded(column: str, firsts: np.ndarray, uniques: list[Any], most: int) -> Grouping:
    """From the number of each row's value among the `uniques`, -1 where it is missing."""
    if not len(firsts):
        raise DataError("groups.empty")
    named = [str(value).strip() for value in uniques]
    found = len({name for name in named if name})
    if found > most:
        raise DataError("groups.too_many", column=column, found=found, most=most)
    shown = list(dict.fromkeys(text for value in _ordered(uniques) if (text := str(value).strip())))
    place: dict[str | None, int] = {name: at for at, name in enumerate(shown)}
    missing = len(shown)
    codes = np.array([place.get(name, missing) for name in named] + [missing])[firsts]
    return _dense((column,), codes, [*((name,) for name in shown), (None,)])


def crossing(*groupings: Grouping) -> Grouping:
    """Rows by several columns at once; only combinations that occur are groups.

    Parameters
    ----------
    *groupings : Grouping
        Of the same rows.

    Raises
    ------
    DataError
        If their rows differ in number, or more than `MOST_CROSSED` combinations occur.

    Examples
    --------
    >>> found = crossing(grouping("gender", ["w", "m", "w"]), grouping("region", ["n", "n", "s"]))
    >>> found.columns, found.groups
    (('gender', 'region'), (('m', 'n'), ('w', 'n'), ('w', 's')))
    """
    codes, groups, columns = np.zeros(len(groupings[0]), np.int64), [()], ()
    for each in groupings:
        if len(each) != len(codes):
            raise DataError("groups.lengths", name="*".join(each.columns), found=len(each), expected=len(codes))
        codes = codes * len(each.groups) + each.codes
        groups = [(*before, *group) for before in groups for group in each.groups]
        columns += each.columns
    found = _dense(columns, codes, groups)
    if len(found.groups) > MOST_CROSSED:
        raise DataError("groups.too_many_crossed", columns="*".join(columns), found=len(found.groups), most=MOST_CROSSED)
    return found


def binned(column: str, values: ArrayLike, bins: int = 4) -> Grouping:
    """Rows by quantiles of a column of numbers; a bin holds its upper edge, and equal values are in one bin.

    Parameters
    ----------
    column : str
        Its name.
    values : array-like
        Numbers, shape ``(N,)``; missing ones make a group of their own.
    bins : int
        From 2 to `MOST`; fewer come out where many values are equal.

    Raises
    ------
    DataError
        If the values are not numbers, or `bins` is out of range.

    Examples
    --------
    >>> found = binned("age", [20, 30, 40, 50], bins=2)
    >>> found.groups, found.codes.tolist()
    ((('20 – 35',), ('35 – 50',)), [0, 0, 1, 1])
    """
    import pandas as pd

    if not 2 <= bins <= MOST:
        raise DataError("groups.bins", bins=bins, most=MOST)
    given = pd.Series(values, dtype="object")
    numbers = np.asarray(pd.to_numeric(given, errors="coerce"), np.float64)
    strange = np.isnan(numbers) & given.notna().to_numpy()
    if strange.any() or not len(numbers):
        raise DataError("groups.not_numbers", column=column, rows=int(strange.sum()), n=len(numbers))
    finite = np.isfinite(numbers)
    if not finite.any():
        return _dense((column,), np.zeros(len(numbers), np.int64), [(None,)])
    edges = np.unique(np.quantile(numbers[finite], np.linspace(0, 1, bins + 1)))
    codes = np.searchsorted(edges[1:-1], numbers, side="left")
    names: list[Group] = [(f"{low:g} – {high:g}",) for low, high in pairwise(edges)]
    names = names or [(f"{edges[0]:g}",)]
    return _dense((column,), np.where(np.isnan(numbers), len(names), codes), [*names, (None,)])


def _ordered(values: list[Any]) -> list[Any]:
    """Numbers by size, else all by their text, in which numbers are ordered by size too: ``9 – 20`` before ``21 – 150``."""
    try:
        return sorted(values, key=float if not any(isinstance(value, str) for value in values) else _in_order)
    except (TypeError, ValueError):
        return sorted(values, key=_in_order)


def _in_order(value: Any) -> tuple[str | float, ...]:
    return tuple(float(part) if at % 2 else part for at, part in enumerate(_NUMBER.split(str(value))))


def _dense(columns: tuple[str, ...], codes: np.ndarray, groups: Sequence[Group]) -> Grouping:
    """Codes of the groups that have rows."""
    present = np.flatnonzero(np.bincount(codes, minlength=len(groups)))
    place = np.zeros(len(groups), np.int16 if len(present) < 32_000 else np.int64)
    place[present] = np.arange(len(present))
    return Grouping(columns, place[codes], tuple(groups[at] for at in present.tolist()))
