import doctest

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from fairlearn import metrics as fair
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, precision_score, roc_auc_score

from fm_notebook import messages
from fm_notebook.contracts.groups import GroupTable, group_name
from fm_notebook.errors import DataError
from fm_notebook.metrics import grouping as grouping_module
from fm_notebook.metrics import groups, predictions
from fm_notebook.metrics.grouping import binned, crossing, grouping, of_rows
from fm_notebook.metrics.groups import by_group, present_macro_f1
from fm_notebook.metrics.predictions import Predictions

BINARY = ["no", "yes"]


def made(rng, n, *, n_classes=2, skill=1.0, positive="yes"):
    """Predictions of a model that is right more often than not."""
    truth = rng.integers(0, n_classes, n)
    logits = rng.normal(size=(n, n_classes)) + skill * np.eye(n_classes)[truth]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = BINARY if n_classes == 2 else [f"c{i}" for i in range(n_classes)]
    return Predictions.of(truth, shares.argmax(1), labels, probabilities=shares, positive=positive)


@st.composite
def cases(draw):
    n = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = np.array(["a", "b", "c", None], object)[rng.integers(0, 4, n)]
    return made(rng, n), names


@pytest.mark.parametrize("module", [groups, predictions, grouping_module], ids=lambda m: m.__name__.rpartition(".")[2])
def test_examples_in_the_docstrings_are_right(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


# --- values --------------------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(cases())
def test_scores_equal_fairlearn_and_scikit_learn_where_they_are_defined(case):
    given, names = case
    table = by_group(given, grouping("g", names))
    named = np.array([str(name) for name in names])
    theirs = {
        "selection_rate": fair.selection_rate,
        "tpr": fair.true_positive_rate,
        "fpr": fair.false_positive_rate,
        "fnr": fair.false_negative_rate,
        "ppv": lambda y, p: precision_score(y, p, zero_division=0),
        "accuracy": accuracy_score,
        "macro_f1": lambda y, p: f1_score(y, p, average="macro", zero_division=0),
    }
    rates = {"selection_rate", "tpr", "fpr", "fnr", "ppv"}
    for name, metric in theirs.items():
        args = (given.is_positive, given.selected) if name in rates else (given.truth, given.predicted)
        for row in table.groups:
            own = named == str(row.group[0])
            score = row.get(name)
            if score is None:
                assert name in {lost.name for lost in row.undefined}
                continue
            assert score.value == pytest.approx(metric(args[0][own].astype(int), args[1][own].astype(int)))


def test_rates_by_group_equal_fairlearns_metric_frame():
    rng = np.random.default_rng(1)
    given, names = made(rng, 600), rng.choice(["a", "b", "c"], 600)
    table = by_group(given, grouping("g", names))
    frame = fair.MetricFrame(
        metrics={"accuracy": accuracy_score, "tpr": fair.true_positive_rate, "selection_rate": fair.selection_rate},
        y_true=given.truth, y_pred=given.predicted, sensitive_features=pd.Series(names, name="g"),
    )  # fmt: skip
    for name in ("accuracy", "tpr", "selection_rate"):
        assert {row.group[0]: row.get(name).value for row in table.groups} == pytest.approx(frame.by_group[name].to_dict())
        assert table.overall.get(name).value == pytest.approx(frame.overall[name])


def test_auc_equals_scikit_learn_in_every_group():
    rng = np.random.default_rng(2)
    given, names = made(rng, 300), rng.choice(["a", "b"], 300)
    table = by_group(given, grouping("g", names))
    for row in table.groups:
        own = names == row.group[0]
        assert row.get("auc").value == pytest.approx(roc_auc_score(given.is_positive[own], given.scores[own]))


def test_a_label_of_many_is_held_against_all_others():
    rng = np.random.default_rng(3)
    given = made(rng, 200, n_classes=4, positive="c2")
    row = by_group(given, grouping("g", ["all"] * 200))["all"]
    binary = (given.truth == 2).astype(int), (given.predicted == 2).astype(int)
    assert row.get("tpr").value == pytest.approx(fair.true_positive_rate(*binary))
    assert row.get("auc").value == pytest.approx(roc_auc_score(binary[0], given.probabilities[:, 2]))
    assert row.get("accuracy").value == pytest.approx((given.truth == given.predicted).mean())
    assert row.n_positive == binary[0].sum()


def test_without_a_positive_label_there_are_accuracy_macro_f1_and_ece():
    given = made(np.random.default_rng(4), 100, n_classes=3, positive=None)
    row = by_group(given, grouping("g", ["a"] * 100))["a"]
    assert [score.name for score in row.scores] == ["accuracy", "macro_f1", "ece"]
    assert row.n_positive is None


def test_macro_f1_is_over_the_labels_that_a_group_has_or_was_given():
    truth, predicted = np.array([0, 0, 7]), np.array([0, 3, 7])
    assert present_macro_f1(truth, predicted).value == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))


def test_resampled_macro_f1_varies_as_a_bootstrap_of_the_rows_does(plain_macro_f1):
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 3, 200)
    predicted = np.where(rng.random(200) < 0.7, truth, rng.integers(0, 3, 200))
    found = present_macro_f1(truth, predicted, seed=1).interval
    draws = []
    for _ in range(600):
        rows = rng.choice(200, 200)
        draws.append(plain_macro_f1(truth[rows], predicted[rows]))
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.012)


@pytest.mark.parametrize(("n", "method"), [(29, "exact"), (30, "wilson")])
def test_rates_have_exact_intervals_below_30_rows_and_wilsons_from_there(n, method):
    given = Predictions.of([1] * n, [1] * (n // 3) + [0] * (n - n // 3), BINARY, positive="yes")
    score = by_group(given, grouping("g", ["a"] * n))["a"].get("tpr")
    theirs = stats.binomtest(n // 3, n).proportion_ci(method=method)
    assert (score.interval.low, score.interval.high) == pytest.approx((theirs.low, theirs.high))


# --- properties ----------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(cases())
def test_groups_share_out_all_rows(case):
    given, names = case
    table = by_group(given, grouping("g", names))
    assert sum(row.n for row in table.groups) == len(given) == table.overall.n
    assert sum(row.n_positive for row in table.groups) == given.is_positive.sum()
    assert table.missing_rows == sum(name is None for name in names)


@settings(max_examples=15)
@given(cases(), st.integers(0, 99))
def test_another_order_of_the_rows_changes_nothing(case, seed):
    given, names = case
    order = np.random.default_rng(seed).permutation(len(given))
    one, other = by_group(given, grouping("g", names)), by_group(given.take(order), grouping("g", names[order]))
    for row, same in zip(one.groups, other.groups, strict=True):
        assert row.model_dump(exclude={"scores"}) == same.model_dump(exclude={"scores"})
        for score, twin in zip(row.scores, same.scores, strict=True):
            assert (score.name, score.value, score.n) == (twin.name, pytest.approx(twin.value), twin.n)
            assert score.interval is None or score.interval.low == pytest.approx(twin.interval.low)


@settings(max_examples=15)
@given(cases())
def test_other_names_of_the_groups_permute_the_table(case):
    given, names = case
    renamed = np.array([{"a": "z", "b": "y", "c": "x", None: None}[name] for name in names], object)
    one, other = by_group(given, grouping("g", names)), by_group(given, grouping("g", renamed))
    for row in one.groups:
        new = {"a": "z", "b": "y", "c": "x", None: None}[row.group[0]]
        assert other[new].model_dump(exclude={"group"}) == row.model_dump(exclude={"group"})


@settings(max_examples=30)
@given(cases())
def test_every_score_lies_in_its_interval_and_survives_json(case):
    given, names = case
    table = by_group(given, grouping("g", names))
    for row in table.groups:
        for score in row.scores:
            assert 0 <= score.value <= 1
            if score.interval:
                assert score.interval.low - 1e-12 <= score.value <= score.interval.high + 1e-12
    assert GroupTable.model_validate_json(table.model_dump_json()) == table


# --- what is missing, small or strange -----------------------------------------------------------------------------------


def test_missing_groups_of_every_kind_make_a_row_that_is_named_in_the_readers_language(monkeypatch):
    given = Predictions.of([0] * 6, [0] * 6, BINARY)
    table = by_group(given, grouping("g", pd.Series(["a", None, float("nan"), pd.NA, pd.NaT, " "], dtype="object")))
    assert [row.group for row in table.groups] == [("a",), (None,)]
    assert table[None].n == table.missing_rows == 5
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    assert table[None].name == "(missing)"
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    assert table[None].name == messages.catalogue("zh")["groups.missing"]
    assert group_name(("a", None)) == "a × （缺失）"


def test_a_group_called_missing_is_not_the_missing_group():
    assert grouping("g", ["(missing)", None]).groups == (("(missing)",), (None,))


def test_small_groups_are_marked_counted_and_keep_their_scores():
    given = Predictions.of([0, 1] * 20, [0, 1] * 20, BINARY, positive="yes")
    table = by_group(given, grouping("g", ["big"] * 30 + ["small"] * 10))
    assert (table["big"].small, table["small"].small, table.n_small) == (False, True, 1)
    assert table["small"].get("accuracy").value == 1
    assert not table["small"].compares("accuracy")


def test_a_rate_on_few_positive_rows_is_marked_by_itself():
    given = Predictions.of([1] * 9 + [0] * 31, [0] * 40, BINARY, positive="yes")
    row = by_group(given, grouping("g", ["a"] * 40))["a"]
    assert row.few == ["tpr", "fnr"]
    assert row.compares("fpr")
    assert not row.compares("tpr")


def test_one_row_a_group_is_a_table_of_small_groups():
    given = Predictions.of([0, 1, 1], [0, 1, 0], BINARY, probabilities=np.full((3, 2), 0.5), positive="yes")
    table = by_group(given, grouping("g", ["a", "b", "c"]))
    assert table.n_small == 3
    assert table["a"].get("auc") is None
    assert {lost.name: lost.reason for lost in table["a"].undefined} == {
        "tpr": "no_positives", "fnr": "no_positives", "ppv": "none_selected", "auc": "one_class",
    }  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_reason_is_told_in_words(monkeypatch, language):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", language)
    given = Predictions.of([0], [0], BINARY, positive="yes")
    lost = by_group(given, grouping("g", ["a"]))["a"].undefined
    assert {each.name: each.reason for each in lost}["auc"] == "no_probabilities"
    assert all(each.why for each in lost)


def test_without_probabilities_auc_and_ece_say_why_there_are_none():
    given = Predictions.of([0, 1], [0, 1], BINARY, positive="yes")
    row = by_group(given, grouping("g", ["a", "a"]))["a"]
    assert {lost.name: lost.reason for lost in row.undefined} == {"auc": "no_probabilities", "ece": "no_probabilities"}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Predictions.of([], [], BINARY), "no rows"),
        (lambda: Predictions.of([0, 1], [0], BINARY), "predicted has 1 rows where 2"),
        (lambda: Predictions.of([0], [0], BINARY, positive="yess"), "'yess' is not one of"),
        (lambda: Predictions.of([0, 2], [0, 0], BINARY), "truth: 1 of 2 rows"),
        (lambda: Predictions.of([0, -1], [0, 0], BINARY), "truth: 1 of 2 rows"),
        (lambda: Predictions.of([0], [0], BINARY, probabilities=np.array([[np.nan, 1]])), "1 of 1 rows"),
        (lambda: Predictions.of([0], [0], BINARY, probabilities=np.array([[-3.0, 4.0]])), "1 of 1 rows"),
        (lambda: Predictions.of([0], [0], BINARY, probabilities=np.ones((2, 2))), "probabilities has 2 rows"),
        (lambda: Predictions.of([0], [0], BINARY, probabilities=np.ones((1, 3))), "1×3"),
        (lambda: by_group(Predictions.of([0], [0], BINARY), grouping("g", ["a", "b"])), "g has 2 rows where 1"),
        (lambda: grouping("age", range(10_000)), "pandas.qcut(data['age'], 4)"),
        (lambda: crossing(grouping("a", range(40)), grouping("b", ["x"] * 39)), "b has 39 rows"),
        (lambda: binned("age", ["x", 3]), "1 of 2 values are not numbers"),
        (lambda: binned("age", [1, 2], bins=1), "1 bins"),
        (lambda: grouping("g", []), "no rows"),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_one_screen(monkeypatch, make, says):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    with pytest.raises(DataError) as caught:
        make()
    assert says in str(caught.value)


# --- groupings -----------------------------------------------------------------------------------------------------------


def test_crossings_have_only_groups_that_occur_and_equal_a_group_by_of_pandas():
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"a": rng.choice(["x", "y", "z"], 50), "b": rng.choice(["u", "v"], 50)})
    found = crossing(grouping("a", frame["a"]), grouping("b", frame["b"]))
    assert dict(zip(found.groups, found.sizes.tolist(), strict=True)) == frame.groupby(["a", "b"]).size().to_dict()


def test_too_many_crossed_groups_are_refused():
    rng = np.random.default_rng(7)
    columns = [grouping(name, rng.integers(0, 20, 5000)) for name in "ab"]
    with pytest.raises(DataError):
        crossing(*columns)


def test_numbers_are_ordered_by_size_and_equal_texts_are_one_group():
    assert grouping("n", [10, 2, 1.5]).groups == (("1.5",), ("2",), ("10",))
    assert grouping("n", [1, "1", " 1 "]).groups == (("1",),)


def test_ranges_are_ordered_by_the_numbers_in_their_names():
    shown = ["120 – 300", "9 – 20", "(0.25, 0.5]", "(0.5, 1.0]", "21 – 119", "b10", "b9", "a"]
    found = [name for (name,) in grouping("r", shown).groups]
    assert found == ["9 – 20", "21 – 119", "120 – 300", "(0.25, 0.5]", "(0.5, 1.0]", "a", "b9", "b10"]


@pytest.mark.parametrize(
    "values",
    [["w", "m", None, " ", "w "], [1, 2, None], [True, False, None], [0.5, None, 2.5], pd.Categorical(["x", None, "y"])],
)
def test_arrow_columns_group_as_values_do(values):
    column = pa.chunked_array([pa.array(values, from_pandas=True)])
    ours, theirs = of_rows(pa.table({"by.g": column}), "g"), grouping("g", column.to_pylist())
    assert (ours.groups, ours.codes.tolist()) == (theirs.groups, theirs.codes.tolist())


def test_a_crossing_is_read_from_the_rows_of_an_evaluation():
    rows = pa.table({"by.a": ["x", "y", "x"], "by.b": [1, 1, 2]})
    assert of_rows(rows, "a * b").groups == (("x", "1"), ("x", "2"), ("y", "1"))


@settings(max_examples=50)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=60), st.integers(2, 8))
def test_bins_hold_their_rows(values, bins):
    found = binned("x", values, bins)
    assert found.sizes.sum() == len(values)
    assert len(found.groups) <= bins + 1
    edges = {}
    for value, code in zip(values, found.codes, strict=True):
        if found.groups[code] == (None,):
            assert value is None
        else:
            edges.setdefault(code, []).append(value)
    for code in list(edges)[1:]:
        before = [max(own) for other, own in edges.items() if other < code]
        assert all(top < min(edges[code]) for top in before)


def test_quartiles_of_many_numbers_are_even():
    assert binned("x", np.random.default_rng(8).normal(size=1000)).sizes.tolist() == [250] * 4


@pytest.mark.slow
def test_a_million_rows_in_fifty_groups():
    rng = np.random.default_rng(9)
    n = 1_000_000
    scores = rng.random(n)
    given = Predictions.of(
        rng.integers(0, 2, n), (scores > 0.5).astype(int), BINARY, probabilities=np.c_[1 - scores, scores], positive="yes"
    )
    table = by_group(given, grouping("g", np.array([f"g{i}" for i in range(50)], object)[rng.integers(0, 50, n)]))
    assert sum(row.n for row in table.groups) == n
    assert all(row.get("auc").interval.method == "delong" for row in table.groups)
