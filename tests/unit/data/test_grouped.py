"""Columns to group by come along, row by row, whatever their type."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fm_notebook.data import stored
from fm_notebook.data.encoding import encode
from fm_notebook.data.reading import Reading
from fm_notebook.errors import DataError

FRAME = pd.DataFrame(
    {
        "text": ["a", " ", "c", "d"], "label": ["n", "p", "p", None], "age": [30, None, 41, 5], "old": [True, False, True, False],
        "region": pd.Categorical(["north", "south", None, "north"]), "share": [0.25, 0.5, np.nan, 1.0], "row": list("wxyz"),
    }
)  # fmt: skip


def by(*names, frame=FRAME):
    table = encode(pa.Table.from_pandas(frame), Reading(groups=names), field="data").table
    return {name: table[f"by.{name}"].to_pylist() for name in names} | {"rows": table["row"].to_pylist()}


def test_groups_follow_their_rows_where_others_are_left_out():
    assert by("region", "old") == {"region": ["north", None], "old": [True, True], "rows": [0, 2]}


def test_whole_numbers_that_pandas_made_fractions_are_whole_again():
    assert by("age")["age"] == [30, 41]
    assert by("share")["share"] == [0.25, None]


def test_a_group_may_be_called_like_a_canonical_column():
    assert by("row") == {"row": ["w", "y"], "rows": [0, 2]}


def test_groups_come_along_in_batches_too(monkeypatch):
    monkeypatch.setattr(stored, "BATCH_ROWS", 2)
    frame = pd.concat([FRAME] * 5, ignore_index=True)
    found = by("region", frame=frame)
    assert found["region"] == ["north", None] * 5
    assert found["rows"] == [i for i in range(20) if i % 4 in (0, 2)]


def test_a_column_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(DataError, match="regoin") as caught:
        by("regoin")
    assert "region" in str(caught.value)


def test_lists_are_no_groups():
    frame = FRAME.assign(tags=[["x"], ["y"], ["z"], []])
    with pytest.raises(DataError, match="tags"):
        by("tags", frame=frame)
