import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fm_notebook.data.values import from_rows, from_value
from fm_notebook.errors import DataError

HOSTILE = "<img src=x onerror=alert(1)>"


def read(value):
    return from_value(value, field="train", line=3)


def test_a_frame_loses_its_index_and_keeps_missing_values():
    frame = pd.DataFrame({"text": ["a", None, float("nan")], "label": [1, 2, 3]}, index=[7, 8, 9])
    table = read(frame)
    assert table.column_names == ["text", "label"]
    assert table["text"].to_pylist() == ["a", None, None]


def test_a_categorical_keeps_the_order_of_its_categories():
    frame = pd.DataFrame({"label": pd.Categorical(["low", "high", None], categories=["low", "mid", "high"])})
    assert read(frame)["label"].combine_chunks().dictionary.to_pylist() == ["low", "mid", "high"]


def test_a_column_of_mixed_types_becomes_text():
    table = read(pd.DataFrame({"text": ["a", 5, None, float("nan"), pd.NA]}, dtype=object))
    assert table["text"].to_pylist() == ["a", "5", None, None, None]


def test_column_names_that_are_numbers_become_text():
    assert read(pd.DataFrame([["a", 1]])).column_names == ["0", "1"]


def test_hostile_column_names_and_values_survive_as_they_are():
    table = read([{HOSTILE: HOSTILE}])
    assert table.to_pydict() == {HOSTILE: [HOSTILE]}


def test_selected_and_shuffled_rows_of_a_dataset_are_honoured():
    whole = datasets.Dataset.from_dict({"text": list("abcdef"), "label": [0, 1, 0, 1, 0, 1]})
    chosen = whole.shuffle(seed=1).select([0, 2, 4])
    assert read(chosen).to_pydict() == chosen.to_dict()


def test_class_labels_of_a_dataset_keep_names_and_order_and_minus_one_is_missing():
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])})
    column = read(datasets.Dataset.from_dict({"text": list("abc"), "label": [1, -1, 0]}, features=features))["label"]
    assert column.to_pylist() == ["neg", None, "pos"]
    assert column.combine_chunks().dictionary.to_pylist() == ["pos", "neg"]


def test_a_dataset_with_several_splits_is_refused_and_names_them():
    one = datasets.Dataset.from_dict({"text": ["a"]})
    with pytest.raises(DataError, match="train, test") as error:
        read(datasets.DatasetDict({"train": one, "test": one}))
    assert error.value.faults[0].line == 3


def test_a_series_is_refused_in_words():
    with pytest.raises(DataError, match="Series"):
        read(pd.Series(["a", "b"]))


class Capsule:
    """What polars, DuckDB and others offer."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


class ToArrow:
    def __init__(self, table):
        self.table = table

    def to_arrow(self):
        return self.table


@pytest.mark.parametrize("wrap", [Capsule, ToArrow, lambda table: table])
def test_anything_that_speaks_arrow_is_read(wrap):
    table = pa.table({"text": pa.array(["a", "b"], pa.string_view()), "label": [0, 1]})
    assert read(wrap(table)).to_pydict() == {"text": ["a", "b"], "label": [0, 1]}


def test_dicts_with_different_keys_are_filled_with_missing_values():
    assert from_rows([{"a": 1}, {"b": "x", "a": None}]).to_pydict() == {"a": [1, None], "b": [None, "x"]}


def test_a_dict_of_lists_and_arrays_is_read():
    assert read({"text": ("a", "b"), "label": np.array([0, 1])}).to_pydict() == {"text": ["a", "b"], "label": [0, 1]}


def test_columns_of_different_length_are_named():
    with pytest.raises(DataError, match=r"text \(2\), label \(1\)"):
        read({"text": ["a", "b"], "label": [0]})


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(DataError, match="same name: text"):
        read(pd.DataFrame([["a", "b"]], columns=["text", "text"]))


@pytest.mark.parametrize("value", [5, None, ["a", "b"], {"text": "abc"}, {}, object(), [{"a": 1}, "b"]])
def test_any_other_value_is_refused_by_its_type(value):
    with pytest.raises(DataError, match=type(value).__name__):
        read(value)
