"""Groups by the number of characters: ranges of even size that hold their rows."""

import doctest
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.data import lengths as module
from fm_notebook.data.encoding import encode
from fm_notebook.data.lengths import by_length
from fm_notebook.data.reading import Reading
from fm_notebook.errors import DataError


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def by(*columns, bins=""):
    return by_length([pa.chunked_array([pa.array(column, pa.large_string())]) for column in columns], bins).to_pylist()


def test_examples_in_the_docstrings_are_right():
    assert doctest.testmod(module).failed == 0


@given(st.lists(st.one_of(st.none(), st.integers(0, 500)), min_size=1, max_size=60), st.sampled_from(["", "2", "7"]))
def test_each_text_lies_in_its_range_and_ranges_do_not_overlap(sizes, bins):
    found = by([None if size is None else "x" * size for size in sizes], bins=bins)
    ranges = {}
    for size, name in zip(sizes, found, strict=True):
        assert (name is None) == (size is None)
        if name is not None:
            low, high = map(int, re.findall(r"\d+", name))
            assert low <= size <= high
            ranges[low] = high
    ends = sorted(ranges.items())
    assert all(high < low for (_, high), (low, _) in pairwise(ends))
    assert len(ends) <= int(bins or 4)


def test_quartiles_hold_a_quarter_of_the_rows_each():
    sizes = np.random.default_rng(0).permutation(400)
    assert pd.Series(by(["x" * size for size in sizes])).value_counts().tolist() == [100] * 4


def test_chinese_characters_count_one_each_and_pairs_are_added():
    assert by(["科技", "a"], ["b", "cccc"], bins="2") == ["3 – 4 characters", "5 – 5 characters"]


@pytest.mark.parametrize("bins", ["1", "21", "x", "-3"])
def test_a_number_of_ranges_that_is_none_is_refused(bins):
    with pytest.raises(DataError, match=f"length:{bins}"):
        by(["a", "b"], bins=bins)


def grouped(frame, name):
    return encode(pa.Table.from_pandas(frame), Reading(groups=(name,)), field="data").table[f"by.{name}"].to_pylist()


def test_length_is_a_group_of_any_rows_unless_they_have_a_column_of_that_name():
    frame = pd.DataFrame({"text": ["a", "bb", "cccc", "dddddddd"], "label": list("npnp")})
    assert grouped(frame, "length:2") == ["1 – 3 characters"] * 2 + ["4 – 8 characters"] * 2
    assert grouped(frame.assign(length=[7, 7, 9, 9]), "length") == [7, 7, 9, 9]
