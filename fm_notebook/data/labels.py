"""Class labels: which there are, in which order, and the number of each value's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa

from fm_notebook.data.columns import Place, is_text, value_type
from fm_notebook.data.wording import listed, shown
from fm_notebook.errors import DataError, did_you_mean

MOST_LABELS = 1000
NUMBERED = re.compile(r"(?:LABEL_)?(\d+)", re.ASCII)


class Classes:
    """The names of classes in the order of their numbers.

    Parameters
    ----------
    names : sequence of str
        Two categories of one name are one class.
    """

    def __init__(self, names: Iterable[str]):
        self.names = tuple(dict.fromkeys(names))

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """Number by name; where the names are nothing but numbered (``LABEL_0`` or ``0``), also by number."""
        return {**self._forms(), **{name: i for i, name in enumerate(self.names)}}

    def check(self, names: Sequence[str], place: Place) -> None:
        """Refuse data that hold other classes.

        Raises
        ------
        DataError
            If one of `names` is unknown.
        """
        if unseen := [name for name in names if name not in self.numbers]:
            hint = did_you_mean(unseen[0], [shown(name) for name in self.names])
            told = place.told("label", labels=listed(unseen, 10), known=listed(self.names), hint=hint)
            raise DataError("data.label.unseen", **told)

    def _forms(self) -> dict[str, int]:
        found = [NUMBERED.fullmatch(name) for name in self.names]
        if [int(m[1]) if m else -1 for m in found] != list(range(len(self.names))):
            return {}
        return {form.format(i): i for i in range(len(self.names)) for form in ("{}", "LABEL_{}")}


def codes(array: pa.Array, numbers: Mapping[str, int]) -> np.ndarray:
    """Number of each value by its name, shape ``(N,)``, -1 where there is none: null, NaN, blank or not in `numbers`."""
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    values = _values(encoded.dictionary)
    found = np.array([-1 if value is None else numbers.get(str(value), -1) for value in values] + [-1], np.int32)
    return found[np.asarray(encoded.indices.cast(pa.int64()).fill_null(-1))]


def occurring(arrays: Iterable[pa.Array], kind: pa.DataType, place: Place) -> tuple[str, ...]:
    """Names of the classes in `arrays` of type `kind`: in the order of the data's own categories, else of numbers, else of text.

    Null, NaN and empty text are no label. Whole floats are integers: pandas makes them of integers with gaps.

    Raises
    ------
    DataError
        If labels are fractions, nested, or more than `MOST_LABELS`.
    """
    _check_kind(kind, place)
    if pa.types.is_dictionary(kind):
        values = _categories(arrays)
    else:
        distinct = pa.chunked_array([array.dictionary_encode().dictionary for array in arrays], kind)
        values = _values(distinct.combine_chunks().dictionary_encode().dictionary)
    values = [value for value in dict.fromkeys(values) if value is not None]
    if any(isinstance(value, float) for value in values):
        raise DataError("data.label.continuous", **place.told("label"))
    if len(values) > MOST_LABELS:
        raise DataError("data.label.many", **place.told("label", count=len(values), most=MOST_LABELS))
    return tuple(dict.fromkeys(map(str, values if pa.types.is_dictionary(kind) else sorted(values))))


def _categories(arrays: Iterable[pa.Array]) -> list:
    """The categories that occur, in the order of the arrays' dictionaries, which are mostly one."""
    order: dict[object, bool] = {}
    for array in arrays:
        values = _values(array.dictionary)
        order |= {value: False for value in values if value not in order}
        order |= {values[i]: True for i in array.indices.drop_null().unique().to_pylist()}
    return [value for value, used in order.items() if used]


def _values(dictionary: pa.Array) -> list:
    """The values as Python's, whole floats as integers, None for what is no label."""
    return [_value(value) for value in dictionary.to_pylist()]


def _value(value: object) -> object:
    if isinstance(value, float):
        return None if np.isnan(value) else int(value) if value.is_integer() else value
    return None if isinstance(value, str) and not value.strip() else value


def _check_kind(kind: pa.DataType, place: Place) -> None:
    kind = value_type(kind)
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    if not (is_text(kind) or any(fits(kind) for fits in numbers)):
        raise DataError("data.label.kind", **place.told("label", kind=str(kind)))
