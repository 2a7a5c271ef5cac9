import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.data.encoding import encode
from fm_notebook.data.reading import Reading
from fm_notebook.data.values import from_value
from fm_notebook.errors import DataError


def run(label, kind="auto", text=None, **more):
    rows = (
        label if isinstance(label, pa.Table) else pa.table({"text": text or [f"t{i}" for i in range(len(label))], "label": label})
    )
    return encode(rows, Reading(kind), field="train", **more)


def failure(label, kind="auto", **more):
    with pytest.raises(DataError) as error:
        run(label, kind, **more)
    return error.value.faults[0].key


def test_lists_are_sets_of_classes_in_order_and_empty_is_an_answer():
    encoded = run([["b", "a", "b"], [], None, ["c"], ["a", None]])
    assert encoded.kind == "multi-label"
    assert encoded.labels == ("a", "b", "c")
    assert encoded.table.schema.field("label").type == pa.list_(pa.int32())
    assert encoded.table["label"].to_pylist() == [[0, 1], [], [2]]
    assert encoded.table["row"].to_pylist() == [0, 1, 3]
    assert encoded.missing_rows == 2


@pytest.mark.parametrize("kind", [pa.large_list(pa.string()), pa.list_(pa.string_view()), pa.list_(pa.string(), 2)])
def test_lists_of_any_storage_are_read(kind):
    assert run(pa.array([["b", "a"], ["c", "b"]], kind)).table["label"].to_pylist() == [[0, 1], [1, 2]]


def test_categories_in_lists_keep_their_order():
    encoded = run(pa.array([["b", "a"], ["c", "b"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))))
    assert encoded.labels == ("b", "a", "c")
    assert encoded.table["label"].to_pylist() == [[0, 1], [0, 2]]


@given(st.lists(st.none() | st.lists(st.sampled_from("abcde"), max_size=4), min_size=1, max_size=12))
def test_sets_are_those_of_plain_python(rows):
    texts = ["" if i % 5 == 4 else f"t{i}" for i in range(len(rows))]
    kept = [row for row, text in zip(rows, texts, strict=True) if text and row is not None]
    if not kept:
        return
    names = sorted({name for row in kept for name in row})
    encoded = run(pa.array(rows, pa.list_(pa.string())), text=texts)
    assert list(encoded.labels) == names
    assert encoded.table["label"].to_pylist() == [sorted({names.index(name) for name in row}) for row in kept]


def test_sets_are_matched_to_the_labels_of_a_model():
    encoded = run([["b"], ["a", "b"]], "multi-label", labels=("b", "a", "z"))
    assert (encoded.table["label"].to_pylist(), encoded.labels) == ([[0], [0, 1]], ("b", "a", "z"))
    assert failure([["q"]], "multi-label", labels=("b",)) == "data.label.unseen"


def test_fractions_are_numbers_and_whole_ones_classes():
    encoded = run([0.5, 2.0, float("nan"), None, float("inf")])
    assert (encoded.kind, encoded.labels, encoded.missing_rows) == ("regression", ("label",), 3)
    assert encoded.table["label"].to_pylist() == [0.5, 2.0]
    assert encoded.table.schema.field("label").type == pa.float64()
    assert run([1.0, 2.0, float("nan")]).kind == "single-label"
    assert run(["x", "y"]).kind == "single-label"


@pytest.mark.parametrize(
    "column", [[1, 3, None], [True, False], pa.array([1, 2], pa.decimal128(5, 1)), pa.array([1.0, 2.0]).dictionary_encode()]
)
def test_any_numbers_can_be_predicted_if_asked_for(column):
    assert run(column, "regression").table["label"].to_pylist() == [
        float(value) for value in pa.array(column).to_pylist() if value is not None
    ]


def test_numbers_keep_the_name_that_the_model_has_for_them():
    assert run([0.5, 1.5], "regression", labels=("stars",)).labels == ("stars",)


@pytest.mark.parametrize(
    ("column", "kind", "key"),
    [
        ([0.5, 1.5], "single-label", "data.label.continuous"),
        ([["a"], ["b"]], "single-label", "data.label.lists"),
        ([["a"], ["b"]], "regression", "data.label.lists"),
        (["a", "b"], "regression", "data.label.not_numbers"),
        (["a", "b"], "multi-label", "data.label.not_lists"),
        ([[0, 1, 0], [1, 1, 0]], "auto", "data.label.multi_hot"),
        ([[{"a": 1}], [{"a": 2}]], "auto", "data.label.kind"),
        ([[0.5], [1.5]], "auto", "data.label.continuous"),
        (pa.nulls(2), "auto", "data.all_missing"),
        (pa.array([None, None], pa.list_(pa.string())), "auto", "data.all_missing"),
    ],
)
def test_what_does_not_fit_the_problem_is_refused(column, kind, key):
    assert failure(column, kind) == key


def test_a_column_of_lists_and_words_is_refused_as_mixed():
    rows = from_value(pd.DataFrame({"text": ["x", "y"], "label": [["a"], "b"]}), field="train")
    assert failure(rows) == "data.label.mixed"
    assert run(from_value(pd.DataFrame({"text": ["x", "y"], "label": [1, "b"]}), field="train")).labels == ("1", "b")


def test_numbers_of_two_classes_in_short_lists_are_classes():
    assert run([[0], [1, 0], [1]]).labels == ("0", "1")
