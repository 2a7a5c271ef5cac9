"""Values for the rows that stand beside them: by position, or by the index that pandas gave them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fm_notebook.data.given_groups import with_given
from fm_notebook.data.prepare import prepare_rows
from fm_notebook.data.reading import Reading
from fm_notebook.errors import DataError

FRAME = pd.DataFrame({"text": list("abcdef"), "label": list("npnpnp"), "age": [20, 30, 40, 50, 60, 70], "region": list("xyxyxy")})


def given(values, data=FRAME, name="young"):
    table = with_given(pa.Table.from_pandas(data, preserve_index=False), {name: values}, data, 3)
    return table[name].to_pylist()


@pytest.mark.parametrize("values", [FRAME.age < 45, (FRAME.age < 45).to_numpy(), (FRAME.age < 45).tolist()])
def test_values_stand_beside_their_rows(values):
    assert given(values) == [True] * 3 + [False] * 3


def test_a_series_of_the_whole_frame_is_aligned_with_a_part_of_it():
    part = FRAME[FRAME.region == "y"].iloc[::-1]
    assert given(FRAME.age, part) == [70, 50, 30] == part.age.tolist()


def test_a_series_with_another_index_is_refused_rather_than_taken_by_position():
    other = pd.Series(FRAME.age.to_numpy(), index=range(100, 106))
    with pytest.raises(DataError, match="index") as caught:
        given(other)
    assert caught.value.faults[0].line == 3
    assert given(other.to_numpy()) == FRAME.age.tolist()


@pytest.mark.parametrize("values", [[1, 2], np.arange(7), pd.Series(range(9), index=range(50, 59))])
def test_more_values_or_fewer_are_refused_with_both_numbers(values):
    with pytest.raises(DataError, match=f"{len(values)} rows where 6"):
        given(values)


def test_given_values_go_before_a_column_of_that_name():
    assert given(["s"] * 6, name="region") == ["s"] * 6


def test_bins_of_pandas_are_groups_by_their_names():
    found = given(pd.cut(FRAME.age.mask(FRAME.age > 60), [0, 40, 80]))
    assert found == ["(0.0, 40.0]"] * 3 + ["(40.0, 80.0]"] * 2 + [None] or found == ["(0, 40]"] * 3 + ["(40, 80]"] * 2 + [None]


def prepared(groups):
    names = tuple(groups)
    return prepare_rows(FRAME, reading=Reading(groups=names), labels=["n", "p"], source="frame", groups=groups)


def test_other_values_make_other_data():
    young, old = prepared({"young": FRAME.age < 30}), prepared({"young": FRAME.age < 60})
    assert young.ref.fingerprint != old.ref.fingerprint
    assert prepared({"young": (FRAME.age < 30).tolist()}).ref.fingerprint == young.ref.fingerprint
    assert young.table["by.young"].to_pylist() == [True] + [False] * 5
