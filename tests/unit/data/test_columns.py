import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fm_notebook.data.encoding import encode
from fm_notebook.data.reading import Reading
from fm_notebook.data.values import from_value
from fm_notebook.errors import DataError

HOSTILE = "<img src=x onerror=alert(1)>"


def table(label, text=None):
    return pa.table({"text": text or [f"t{i}" for i in range(len(label))], "label": label})


def run(rows, **more):
    columns = {name: more.pop(name) for name in ("kind", "text", "text_pair", "label") if name in more}
    return encode(rows, Reading(**columns), **({"field": "train", "lines": {"train": 3, "text": 5, "label": 6}} | more))


def failure(rows, **more):
    with pytest.raises(DataError) as error:
        run(rows, **more)
    fault = error.value.faults[0]
    return fault.key, fault.line, str(error.value)


def test_canonical_columns_have_their_types_and_row_numbers():
    encoded = run(table(["b", "a", "b"]))
    assert encoded.table.schema.names == ["text", "label", "row"]
    assert encoded.table.schema.types == [pa.large_string(), pa.int32(), pa.int64()]
    assert encoded.labels == ("a", "b")
    assert encoded.table.to_pydict() == {"text": ["t0", "t1", "t2"], "label": [1, 0, 1], "row": [0, 1, 2]}


@pytest.mark.parametrize(
    ("column", "names", "codes"),
    [
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([10, 2, 10], ("2", "10"), [1, 0, 1]),
        ([1.0, 0.0, 1.0], ("0", "1"), [1, 0, 1]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        (pa.array([1, 0, 1], pa.int8()), ("0", "1"), [1, 0, 1]),
        (pa.DictionaryArray.from_arrays([2, 0, 2], ["z", "never", "a"]), ("z", "a"), [1, 0, 1]),
        (
            pa.chunked_array([pa.array(["b"]).dictionary_encode(), pa.array(["a", "b"]).dictionary_encode()]),
            ("b", "a"),
            [0, 1, 0],
        ),
        (pa.array(["b", "a", "b"], pa.string_view()), ("a", "b"), [1, 0, 1]),
    ],
)
def test_labels_keep_their_own_order_or_are_sorted(column, names, codes):
    encoded = run(table(column))
    assert encoded.labels == names
    assert encoded.table["label"].to_pylist() == codes


def test_a_categorical_of_pandas_keeps_its_order():
    kinds = pd.Categorical(["low", "high", "low", None], categories=["low", "mid", "high"])
    encoded = run(from_value(pd.DataFrame({"text": list("abcd"), "label": kinds}), field="train"))
    assert encoded.labels == ("low", "high")
    assert encoded.missing_rows == 1


def test_missing_texts_and_labels_are_left_out_and_counted():
    texts = ["a", None, "  \n\u3000", "d", "e", "f"]
    encoded = run(table(["x", "x", "y", None, "", "y"], texts))
    assert encoded.table["row"].to_pylist() == [0, 5]
    assert encoded.missing_rows == 4


def test_integers_with_gaps_from_pandas_are_integers():
    frame = pd.DataFrame({"text": list("abc"), "label": [1, 0, np.nan]})
    assert run(from_value(frame, field="train")).labels == ("0", "1")
    assert run(pa.table({"text": list("abc"), "label": pa.array([1.0, 0.0, float("nan")])})).missing_rows == 1


def test_a_class_that_lost_all_its_rows_is_no_class():
    encoded = run(table(["a", "b", "c"], ["x", None, "z"]))
    assert encoded.labels == ("a", "c")
    assert encoded.table["label"].to_pylist() == [0, 1]


def test_hostile_labels_columns_and_texts_stay_plain_text():
    rows = pa.table({HOSTILE: [HOSTILE, "b"], "label": [HOSTILE, "b"]})
    encoded = run(rows, text=HOSTILE)
    assert encoded.labels == (HOSTILE, "b")
    assert encoded.table["text"][0].as_py() == HOSTILE
    assert HOSTILE in failure(rows)[2]


def test_control_characters_of_a_name_do_not_reach_the_terminal():
    assert "\x1b" not in failure(pa.table({"\x1b[2Jx": ["a"], "label": ["a"]}))[2]


def test_pairs_need_both_texts():
    rows = pa.table({"text": ["a", "b", "c"], "hypothesis": ["x", " ", "z"], "label": [0, 1, 1]})
    encoded = run(rows, text_pair="hypothesis")
    assert encoded.table.select(["text", "text_pair"]).to_pydict() == {"text": ["a", "c"], "text_pair": ["x", "z"]}


def test_unlabelled_rows_have_no_label_column():
    encoded = run(pa.table({"text": ["a", ""]}), label=None, labels=("x", "y"))
    assert encoded.table.to_pydict() == {"text": ["a"], "row": [0]}
    assert encoded.labels == ("x", "y")


@pytest.mark.parametrize(
    ("labels", "column", "codes"),
    [
        (("neg", "pos"), ["pos", "neg", None], [1, 0]),
        (("LABEL_0", "LABEL_1", "LABEL_2"), [2, 0], [2, 0]),
        (("0", "1"), [1, 0], [1, 0]),
        (("0", "1"), [1.0, float("nan")], [1]),
        (("0", "1"), ["LABEL_1"], [1]),
        (("LABEL_0", "LABEL_1"), ["1", "LABEL_0"], [1, 0]),
        (("1", "0"), ["1"], [0]),
        (("neg", "pos"), pa.DictionaryArray.from_arrays([1], ["never", "neg"]), [0]),
    ],
)
def test_given_labels_are_matched_by_name_or_number(labels, column, codes):
    encoded = run(table(column), labels=labels)
    assert encoded.table["label"].to_pylist() == codes
    assert encoded.labels == labels


def test_an_unseen_label_is_named_with_those_that_are_known():
    key, line, told = failure(table(["pos", "positve"]), labels=("neg", "pos", "positive"), field="eval", lines={"eval": 9})
    assert (key, line) == ("data.label.unseen", 9)
    assert "positve" in told
    assert "Did you mean positive" in told


def test_numbers_do_not_stand_for_labels_that_have_names():
    assert failure(table([0, 1]), labels=("neg", "pos"))[0] == "data.label.unseen"


def test_an_unknown_column_names_those_there_and_what_they_look_like():
    rows = pa.table({"review": [f"words {i}" for i in range(20)], "stars": [1, 2] * 10})
    key, line, told = failure(rows)
    assert (key, line) == ("data.column.unknown", 5)
    assert "review, stars" in told
    assert "look like text: review" in told
    _, line, told = failure(rows, text="review")
    assert line == 6
    assert "look like labels: stars" in told
    assert "Did you mean review" in failure(rows, text="reviews")[2]


@pytest.mark.parametrize(
    ("rows", "key"),
    [
        (table([], []), "data.empty"),
        (table(["a", "b"], [1, 2]), "data.text.numbers"),
        (table(["a", "b"], [["x"], ["y"]]), "data.text.kind"),
        (table(["a", "b"], pa.nulls(2)), "data.all_missing"),
        (table(["a", "b"], ["", " "]), "data.all_missing"),
        (table(["a", "a"]), "data.label.one"),
        (table([0.5, 1.5]), "data.label.continuous"),
        (table([[0], [1]]), "data.label.lists"),
        (table([{"a": 0}, {"a": 1}]), "data.label.kind"),
        (table(list(range(1001))), "data.label.many"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused(rows, key):
    assert failure(rows)[0] == key


def test_one_class_is_enough_to_evaluate():
    assert run(table(["a", "a"]), labels=("a", "b")).table.num_rows == 2
