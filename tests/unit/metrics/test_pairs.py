import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, log_loss, precision_score, roc_auc_score

from fm_notebook.contracts.pairs import PairedComparison
from fm_notebook.errors import DataError
from fm_notebook.metrics import paired_tests, pairs, row_sums, seeds
from fm_notebook.metrics.calibration import ece
from fm_notebook.metrics.grouping import grouping
from fm_notebook.metrics.multiplicity import holm
from fm_notebook.metrics.paired_tests import mcnemar, paired_p, randomized
from fm_notebook.metrics.pairs import compare
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.row_sums import BLOCKS, RowSums, blocks_of, resampled
from fm_notebook.metrics.seeds import compare_seeds

LABELS = ["no", "yes"]


def model(truth, logits, positive="yes"):
    scores = 1 / (1 + np.exp(-logits))
    return Predictions.of(truth, (logits > 0).astype(int), LABELS, probabilities=np.c_[1 - scores, scores], positive=positive)


def two(rng, n, better=0.0, noise=0.6):
    """Two models of rows whose difficulty they share; the second is `better`."""
    truth = rng.integers(0, 2, n)
    shared = (2 * truth - 1) * 0.8 + rng.normal(size=n)
    first = model(truth, shared + noise * rng.normal(size=n))
    return first, model(truth, shared + better * (2 * truth - 1) + noise * rng.normal(size=n))


@pytest.mark.parametrize("tested", [pairs, paired_tests, row_sums, seeds], ids=lambda m: m.__name__.rpartition(".")[2])
def test_examples_in_the_docstrings_are_right(tested):
    result = doctest.testmod(tested)
    assert result.attempted
    assert not result.failed


# --- values --------------------------------------------------------------------------------------------------------------


def test_every_score_equals_scikit_learns():
    first, second = two(np.random.default_rng(0), 300, 0.3)
    found = compare(first, second).overall
    theirs = {
        "accuracy": lambda m: np.mean(m.truth == m.predicted),
        "macro_f1": lambda m: f1_score(m.truth, m.predicted, average="macro"),
        "selection_rate": lambda m: m.predicted.mean(),
        "tpr": lambda m: m.predicted[m.truth == 1].mean(),
        "fpr": lambda m: m.predicted[m.truth == 0].mean(),
        "ppv": lambda m: precision_score(m.truth, m.predicted),
        "auc": lambda m: roc_auc_score(m.truth, m.scores),
        "loss": lambda m: log_loss(m.truth, m.scores),
        "ece": lambda m: ece(m.scores, m.is_positive).value,
    }
    assert {change.name for change in found.changes} == set(theirs)
    for name, metric in theirs.items():
        change = found.get(name)
        assert (change.first, change.second) == pytest.approx((metric(first), metric(second))), name
        assert change.difference == pytest.approx(metric(second) - metric(first))
        assert change.interval.low <= change.difference + 1e-12
        assert change.difference <= change.interval.high + 1e-12


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_macro_f1_of_many_classes_equals_scikit_learns(seed, classes):
    rng = np.random.default_rng(seed)
    truth, one, other = rng.integers(0, classes, (3, 25))
    labels = [f"c{c}" for c in range(classes)]
    change = compare(Predictions.of(truth, one, labels), Predictions.of(truth, other, labels)).overall.get("macro_f1")
    theirs = [f1_score(truth, each, average="macro", zero_division=0) for each in (one, other)]
    assert [change.first, change.second] == pytest.approx(theirs)


def test_rows_are_drawn_once_for_both_models(plain_macro_f1, plain_auc):
    rng = np.random.default_rng(1)
    first, second = two(rng, 150, 0.3)
    draws = []
    for _ in range(250):
        rows = rng.choice(150, 150)
        draws.append(
            [plain_macro_f1(m.truth[rows], m.predicted[rows]) for m in (first, second)]
            + [plain_auc(m.is_positive[rows], m.scores[rows]) for m in (first, second)]
        )
    draws = np.array(draws)
    found = compare(first, second, seed=5).overall
    for name, column in (("macro_f1", 0), ("auc", 2)):
        expected = np.quantile(draws[:, column + 1] - draws[:, column], [0.025, 0.975])
        interval = found.get(name).interval
        assert (interval.low, interval.high) == pytest.approx(expected, abs=0.03), name
        apart = np.std(draws[:, column]) * np.sqrt(2) * 3.92  # width if the rows were not the same
        assert interval.high - interval.low < apart


def test_blocks_of_many_rows_vary_as_rows_do():
    first, second = two(np.random.default_rng(2), 3 * BLOCKS, 0.1)
    widths = []
    for blocks in (blocks_of(len(first), seed=0), np.arange(len(first))):
        sums = [RowSums.of(each, blocks) for each in (first, second)]
        drawn = [each.scores(d) for each, d in zip(sums, resampled(sums, seed=1), strict=True)]
        widths.append([np.std(drawn[1][name] - drawn[0][name]) for name in ("accuracy", "macro_f1", "auc", "tpr")])
    assert blocks_of(len(first), seed=0).max() == BLOCKS - 1
    assert widths[0] == pytest.approx(widths[1], rel=0.12)


def test_the_loss_has_students_interval_and_test():
    first, second = two(np.random.default_rng(3), 120, 0.3)
    losses = [-np.log(m.probabilities[np.arange(120), m.truth]) for m in (second, first)]
    theirs = stats.ttest_rel(*losses)
    found = compare(first, second).overall.get("loss")
    assert found.p_value == pytest.approx(theirs.pvalue)
    assert found.interval.low == pytest.approx(theirs.confidence_interval().low)


# --- tests ---------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_equals_the_exact_binomial_test(mended, broken):
    n = mended + broken
    assert mcnemar(mended, broken) == pytest.approx(stats.binomtest(mended, n).pvalue if n else 1.0)


def test_rates_are_tested_on_the_rows_that_they_are_about():
    first, second = two(np.random.default_rng(4), 200, 0.4)
    for name, rows in (("tpr", first.truth == 1), ("fpr", first.truth == 0), ("selection_rate", slice(None))):
        one, other = first.selected[rows], second.selected[rows]
        n = int((one != other).sum())
        assert paired_p(name, first, second) == ("mcnemar", pytest.approx(stats.binomtest(int((other & ~one).sum()), n).pvalue))


def test_randomisation_equals_swapping_the_rows_one_by_one(plain_macro_f1):
    rng = np.random.default_rng(5)
    first, second = two(rng, 80, 0.4)
    seen, drawn = randomized("macro_f1", first, second, seed=0)
    by_rows = []
    for _ in range(250):
        swap = rng.random(80) < 0.5
        one, other = np.where(swap, second.predicted, first.predicted), np.where(swap, first.predicted, second.predicted)
        by_rows.append(plain_macro_f1(first.truth, other) - plain_macro_f1(first.truth, one))
    assert seen == pytest.approx(compare(first, second).overall.get("macro_f1").difference)
    assert np.quantile(drawn, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(by_rows, [0.1, 0.5, 0.9]), abs=0.03)


def test_delongs_test_is_that_of_its_definition():
    first, second = two(np.random.default_rng(6), 90, 0.3)
    positive, parts = first.is_positive, []
    for m in (first, second):
        above = m.scores[positive][:, None] > m.scores[~positive]
        parts.append((above.mean(1), above.mean(0)))
    (v10, v01), (w10, w01) = parts
    variance = (w10 - v10).var(ddof=1) / positive.sum() + (w01 - v01).var(ddof=1) / (~positive).sum()
    z = (w10.mean() - v10.mean()) / np.sqrt(variance)
    assert paired_p("auc", first, second) == ("delong", pytest.approx(2 * stats.norm.sf(abs(z))))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "ppv", "auc", "loss"])
def test_tests_seldom_reject_where_models_are_equally_good(name):
    rng = np.random.default_rng(7)
    p = [paired_p(name, *two(rng, 120), seed=i)[1] for i in range(150)]
    assert np.mean(np.array(p) <= 0.05) <= 0.11


def test_a_model_against_itself_changes_nothing_with_p_1():
    first, _ = two(np.random.default_rng(8), 100)
    names = grouping("g", ["a", "b"] * 50)
    found = compare(first, first, names)
    for part in (found.overall, *found.groups):
        assert (part.flips.mended, part.flips.broken, part.flips.p_value) == (0, 0, 1)
        for change in part.changes:
            assert change.difference == 0
            assert change.p_value in (1, None)
            assert change.interval.low <= 0 <= change.interval.high
            if change.name not in ("loss", "ece"):
                assert change.interval.high == pytest.approx(stats.binomtest(0, change.n).proportion_ci(method="wilson").high)


def test_turning_the_models_round_turns_the_differences_round():
    first, second = two(np.random.default_rng(9), 120, 0.3)
    one, other = compare(first, second).overall, compare(second, first).overall
    assert (one.flips.mended, one.flips.broken) == (other.flips.broken, other.flips.mended)
    for change in one.changes:
        twin = other.get(change.name)
        assert (change.difference, change.interval.low) == pytest.approx((-twin.difference, -twin.interval.high))
        assert change.p_value == pytest.approx(twin.p_value, abs=0.02)  # randomisation draws anew


# --- by group ------------------------------------------------------------------------------------------------------------


def test_groups_are_compared_on_their_own_rows_and_small_ones_are_not_adjusted():
    first, second = two(np.random.default_rng(10), 120, 0.3)
    names = np.array(["a"] * 60 + ["b"] * 50 + [None] * 10, object)
    found = compare(first, second, grouping("g", names))
    a, b, missing = found.groups
    assert [part.group for part in found.groups] == [("a",), ("b",), (None,)]
    alone = compare(first.take(names == "b"), second.take(names == "b")).overall
    assert [change.difference for change in b.changes] == [change.difference for change in alone.changes]
    assert b.flips == alone.flips
    assert (missing.small, found.n_small) == (True, 1)
    assert all(change.adjusted_p is None for change in missing.changes)
    family = [c for part in (found.overall, a, b) for c in part.changes if c.p_value is not None]
    assert [c.adjusted_p for c in family] == pytest.approx(holm(np.array([c.p_value for c in family])).tolist())


def test_a_group_of_one_class_lacks_the_scores_that_need_two():
    first, second = two(np.random.default_rng(11), 80)
    found = compare(first, second, grouping("y", np.array(["n", "p"])[first.truth]))
    negative = found.groups[0]
    assert {"tpr", "auc"}.isdisjoint(change.name for change in negative.changes)
    assert negative.get("fpr").n == negative.n


def test_comparisons_survive_json_and_become_a_frame():
    first, second = two(np.random.default_rng(12), 80)
    found = compare(first, second, grouping("g", ["a", "b"] * 40))
    assert PairedComparison.model_validate_json(found.model_dump_json()) == found
    frame = found.to_pandas()
    assert len(frame) == 27
    assert frame["group"].isna().sum() == 9


@pytest.mark.parametrize(
    ("other", "key"),
    [
        (Predictions.of([0, 1], [0, 1], ["no", "maybe"]), "labels"),
        (Predictions.of([0], [0], LABELS), "lengths"),
        (Predictions.of([1, 1], [0, 1], LABELS), "truth"),
        (Predictions.of([0, 1], [0, 1], LABELS, positive="no"), "positive"),
    ],
)
def test_models_of_other_rows_are_not_compared(other, key):
    with pytest.raises(DataError) as caught:
        compare(Predictions.of([0, 1], [0, 1], LABELS), other)
    assert caught.value.args == (f"pairs.{key}",)
    assert str(caught.value)


# --- several seeds -------------------------------------------------------------------------------------------------------


def family(rng, n, n_seeds, spread, base=0.8):
    """Runs of one recipe on the same rows, which are better or worse by their seed."""
    truth = rng.integers(0, 2, n)
    return truth, lambda: [
        model(truth, (2 * truth - 1) * (base + spread * rng.normal()) + rng.normal(size=n)) for _ in range(n_seeds)
    ]


def test_scores_of_several_seeds_are_means():
    truth, runs = family(np.random.default_rng(13), 200, 3, 0.1)
    one, other = runs(), runs()
    found = compare_seeds(one, other, grouping("g", ["a", "b"] * 100))
    mean = [np.mean([np.mean(m.predicted == truth) for m in side]) for side in (one, other)]
    change = found.overall.get("accuracy")
    assert (change.first, change.second) == pytest.approx(tuple(mean))
    assert (found.first_seeds, found.second_seeds, found.seeds_resampled) == (3, 3, True)
    assert [part.n for part in found.groups] == [100, 100]
    assert change.interval.low < change.difference < change.interval.high


def test_two_seeds_are_not_drawn():
    _, runs = family(np.random.default_rng(14), 200, 2, 0.5)
    assert not compare_seeds(runs(), runs()).seeds_resampled


def test_the_spread_of_seeds_widens_the_interval():
    rng = np.random.default_rng(15)
    _, alike = family(rng, 400, 5, 0.0)
    _, apart = family(rng, 400, 5, 0.5)
    narrow, wide = (compare_seeds(runs(), runs()).overall.get("accuracy").interval for runs in (alike, apart))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


@pytest.mark.slow
def test_intervals_over_seeds_hold_no_difference_where_the_recipe_is_the_same():
    rng, held = np.random.default_rng(16), 0
    for seed in range(40):
        _, runs = family(rng, 150, 5, 0.3)
        interval = compare_seeds(runs(), runs(), seed=seed).overall.get("accuracy").interval
        held += interval.low <= 0 <= interval.high
    assert held >= 33  # with rows alone it would be about 20


# --- few rows ------------------------------------------------------------------------------------------------------------


def test_scores_on_few_rows_of_their_label_are_marked_and_not_adjusted():
    rng = np.random.default_rng(11)
    truth = np.array([1] * 6 + [0] * 94)
    first, second = (model(truth, rng.normal(size=100) + 2 * truth) for _ in range(2))
    found = compare(first, second).overall
    for name in ("auc", "tpr"):
        assert found.get(name).few
        assert found.get(name).p_value is not None
        assert found.get(name).adjusted_p is None
    for name in ("accuracy", "fpr", "macro_f1"):
        assert not found.get(name).few
        assert found.get(name).adjusted_p is not None
    assert compare(first, second, min_positives=6).overall.get("auc").few is False
    assert set(compare(first, second).to_pandas().query("few")["metric"]) >= {"auc", "tpr"}


def test_intervals_of_shares_stay_among_shares():
    both = Predictions.of([0, 1], [1, 0], LABELS), Predictions.of([0, 1], [0, 1], LABELS)
    interval = compare(*both).overall.get("accuracy").interval
    assert interval.high <= 1
