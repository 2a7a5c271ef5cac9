"""What the field `by` may hold, and what cannot be told apart: each in words, before a model is loaded."""

import numpy as np
import pandas as pd
import pytest

from fm_notebook.errors import DataError, FMError, SpecError
from fm_notebook.session.binding import bind_evaluate
from fm_notebook.session.given import Assigned
from fm_notebook.session.groupings import groupings

N = 120
FRAME = pd.DataFrame(
    {
        "text": [f"film {i} {'x' * (i % 7)}" for i in range(N)], "label": ["no", "yes"] * (N // 2), "age": np.arange(N) % 60,
        "region": (["north", "south", None] * N)[:N],
    }
)  # fmt: skip


@pytest.fixture
def model(home):
    """A folder that looks like a model of two labels, for whoever does not load it."""
    folder = home / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def bind(model):
    def bind(data=FRAME, **values):
        fields = {"model": str(model), "data": data, **values}
        return bind_evaluate({name: Assigned(value, line=line) for line, (name, value) in enumerate(fields.items(), 2)})

    return bind


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (None, ()), ("region", ("region",)), (["region", "region*age", "region"], ("region", "region*age")),
        ({"young": FRAME.age < 30}, ("young",)), (FRAME.region, ("region",)), (np.zeros(3), ("by",)),
        (["region", {"old": [True] * N}], ("region", "old")),
    ],
)  # fmt: skip
def test_names_and_values_may_be_given(given, names):
    assert groupings(Assigned(given)).names == names
    assert groupings(None).names == ()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("frame.age", "age"),
        ('frame["age"]', "age"),
        ("frame['age']", "age"),
        ("frame.age < 30", "frame.age < 30"),
        ("a * 2", "age"),
    ],
)
def test_what_is_reckoned_from_a_column_is_not_called_like_it(source, name):
    assert groupings(Assigned(FRAME.age, source)).names == (name,)


@pytest.mark.parametrize("given", [7, [3], {"young": 30}, {"a*b": FRAME.age}, {"x": "region"}, {1: FRAME.age}, np.zeros((3, 2))])
def test_what_is_no_value_for_each_row_is_refused(given):
    with pytest.raises(SpecError, match="by:"):
        groupings(Assigned(given))


def test_values_come_with_the_rows_and_may_be_crossed(bind):
    bound = bind(by=[{"young": FRAME.age < 30}, "region*young"])
    assert bound.spec.by == ("young", "region*young")
    assert bound.tables["eval"]["by.young"].to_pylist() == (FRAME.age < 30).tolist()
    assert bound.tables["eval"]["by.region"].to_pylist()[:3] == ["north", "south", None]
    assert bound.key != bind(by=[{"young": FRAME.age < 20}, "region*young"]).key


def test_length_needs_no_column(bind):
    assert len(set(bind(by="length").tables["eval"]["by.length"].to_pylist())) == 4


def test_a_positive_label_needs_no_groups(bind):
    assert bind().spec.positive == "yes"
    assert bind(positive="no").spec.positive == "no"
    with pytest.raises(SpecError, match="yess"):
        bind(positive="yess")


# --- bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"by": [{"id": [f"u{i}" for i in range(N)]}]}, "'id' has 120 different values"),
        ({"by": {"score": np.linspace(0, 1, N)}}, "pandas.qcut"),
        ({"by": {"short": [1, 2, 3]}}, "short has 3 rows where 120"),
        ({"by": pd.Series(range(N), index=range(1, N + 1), name="moved")}, "index of moved"),
        ({"by": ["age*region", {"many": np.arange(N) % 50}, "many*age"]}, "50"),
        ({"by": "regoin"}, "region"),
        ({"by": "length:99"}, "length:99"),
        ({"by": "region", "label": "age", "problem": "regression"}, "by"),
        ({"positive": "yes", "label": "age", "problem": "regression"}, "positive"),
        ({"by": "region", "task": "token-classification", "label": "label"}, "token-classification"),
        ({"data": FRAME.iloc[:0], "by": "region"}, "FRAME|no row|rows"),
        ({"data": FRAME.assign(label=None), "by": "region"}, "label"),
    ],
)
def test_each_is_told_in_words_and_with_its_line(bind, values, says):
    with pytest.raises(FMError, match=says) as caught:
        bind(**values)
    assert all(fault.line for fault in caught.value.faults)


def test_rows_with_missing_labels_or_texts_are_left_out_and_counted(bind):
    label = FRAME.label.astype(object)
    label[:5], label[5:8] = np.nan, ""
    bound = bind(FRAME.assign(label=label, text=FRAME.text.mask(FRAME.index == 20)), by="region")
    assert bound.facts.missing_rows == 9
    assert bound.tables["eval"].num_rows == N - 9
    assert bound.tables["eval"]["by.region"].to_pylist()[:2] == [None, "north"]  # of rows 8 and 9


def test_a_label_that_the_model_does_not_have_is_refused(bind, model):
    (model / "config.json").write_text(
        '{"id2label": {"0": "no", "1": "perhaps"}, "architectures": ["BertForSequenceClassification"]}'
    )
    with pytest.raises(DataError, match="yes"):
        bind(by="region")


def test_fifty_groups_are_compared_and_fifty_one_are_not(bind):
    assert bind(by={"g": np.arange(N) % 50}).spec.by == ("g",)
    with pytest.raises(DataError, match="51"):
        bind(by={"g": np.arange(N) % 51})
