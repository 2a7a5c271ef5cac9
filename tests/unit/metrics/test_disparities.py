import doctest
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from fairlearn import metrics as fair
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, precision_score, roc_auc_score

from fm_notebook.contracts.groups import Disparities
from fm_notebook.metrics import disparities as module
from fm_notebook.metrics import multiplicity, permutations, power
from fm_notebook.metrics.calibration import ece
from fm_notebook.metrics.disparities import disparities
from fm_notebook.metrics.grouping import crossing, grouping
from fm_notebook.metrics.groups import by_group
from fm_notebook.metrics.multiplicity import benjamini_hochberg, holm
from fm_notebook.metrics.permutations import (
    auc_by_group,
    ece_by_group,
    macro_f1_by_group,
    p_value,
    rate_ranges,
    score_ranges,
    two_rates_p,
)
from fm_notebook.metrics.power import paired_rows_needed, rows_needed, smallest_gap, smallest_paired_gap
from fm_notebook.metrics.predictions import Predictions

BINARY = ["no", "yes"]


def gaps(given, names, **settings):
    rows = grouping("g", names)
    return disparities(by_group(given, rows, **settings), given, rows)


def made(rng, n, groups=("a", "b", "c"), effect=0.0, probabilities=False):
    """Predictions that favour the first group by `effect`."""
    names = rng.choice(groups, n)
    truth = rng.integers(0, 2, n)
    scores = np.clip(0.3 + 0.3 * truth + effect * (names == groups[0]) + 0.15 * rng.normal(size=n), 0, 1)
    shares = np.c_[1 - scores, scores] if probabilities else None
    return Predictions.of(truth, (scores > 0.45).astype(int), BINARY, probabilities=shares, positive="yes"), names


@pytest.mark.parametrize("tested", [module, multiplicity, permutations, power], ids=lambda m: m.__name__.rpartition(".")[2])
def test_examples_in_the_docstrings_are_right(tested):
    result = doctest.testmod(tested)
    assert result.attempted
    assert not result.failed


# --- values --------------------------------------------------------------------------------------------------------------


@settings(max_examples=4)
@given(st.integers(0, 2**32 - 1), st.floats(-0.2, 0.2))
def test_differences_and_ratios_equal_fairlearns(seed, effect):
    given, names = made(np.random.default_rng(seed), 150, effect=effect)
    found = gaps(given, names, min_n=1, min_positives=1)
    data = {"y_true": given.truth, "y_pred": given.predicted, "sensitive_features": names}
    pairs = {
        "demographic_parity": (fair.demographic_parity_difference, fair.demographic_parity_ratio),
        "equalized_odds": (fair.equalized_odds_difference, fair.equalized_odds_ratio),
        "equal_opportunity": (fair.equal_opportunity_difference, fair.equal_opportunity_ratio),
    }
    for name, (difference, ratio) in pairs.items():
        assert found[name].difference == pytest.approx(difference(**data)), name
        if found[name].ratio is not None:
            assert found[name].ratio == pytest.approx(ratio(**data)), name


def test_gaps_of_accuracy_f1_and_auc_equal_fairlearns_metric_frame():
    given, names = made(np.random.default_rng(1), 600, effect=0.1, probabilities=True)
    found = gaps(given, names)
    frame = fair.MetricFrame(
        metrics={"accuracy": lambda y, p: np.mean(y == p), "macro_f1": lambda y, p: f1_score(y, p, average="macro")},
        y_true=given.truth, y_pred=given.predicted, sensitive_features=pd.Series(names),
    )  # fmt: skip
    aucs = fair.MetricFrame(metrics=roc_auc_score, y_true=given.truth, y_pred=given.scores, sensitive_features=names)
    for name, theirs in {**frame.difference().to_dict(), "auc": aucs.difference()}.items():
        assert found[name].difference == pytest.approx(theirs), name
    assert found["accuracy"].worst == (frame.by_group["accuracy"].idxmin(),)


@pytest.mark.parametrize("columns", [1, 2])
def test_every_gap_of_a_rate_equals_fairlearns_metric_frame_also_of_a_crossing(columns):
    rng = np.random.default_rng(13)
    given, names = made(rng, 900, effect=0.15)
    frame = pd.DataFrame({"g": names, "h": rng.choice(["u", "v"], 900)}).iloc[:, :columns]
    rows = crossing(*[grouping(name, frame[name]) for name in frame])
    found = disparities(by_group(given, rows, min_n=1, min_positives=1), given, rows)
    theirs = fair.MetricFrame(
        metrics={
            "demographic_parity": fair.selection_rate, "equal_opportunity": fair.true_positive_rate,
            "fpr": fair.false_positive_rate, "predictive_parity": precision_score, "accuracy": accuracy_score,
        },
        y_true=given.truth, y_pred=given.predicted, sensitive_features=frame,
    )  # fmt: skip
    for name in theirs.difference().index:
        assert found[name].difference == pytest.approx(theirs.difference()[name]), name
        assert found[name].ratio == pytest.approx(theirs.ratio()[name]), name
        lowest = theirs.by_group[name].idxmin()
        assert found[name].lowest == (lowest if columns == 2 else (lowest,)), name


def test_the_worst_group_is_the_lowest_or_the_one_with_more_false_positives():
    truth = [1, 0] * 80
    predicted = [1, 1] * 40 + [1, 0] * 40
    found = gaps(Predictions.of(truth, predicted, BINARY, positive="yes"), ["a"] * 80 + ["b"] * 80)
    assert found["fpr"].worst == ("a",)
    assert found["accuracy"].worst == ("a",)
    assert found["demographic_parity"].worst is None
    assert found["equalized_odds"].worst == ("a",)


# --- small groups --------------------------------------------------------------------------------------------------------


def test_small_groups_are_in_no_gap_and_named():
    given, _ = made(np.random.default_rng(2), 200)
    truth = np.concatenate([given.truth, [1] * 5])
    predicted = np.concatenate([given.predicted, [0] * 5])  # the worst there is
    whole = Predictions.of(truth, predicted, BINARY, positive="yes")
    names = ["a"] * 100 + ["b"] * 100 + ["five"] * 5
    found, without = gaps(whole, names), gaps(given, names[:200])
    assert found.small == [("five",)]
    assert found.n_small == 1
    assert found["accuracy"].left_out == [("five",)]
    for gap in without.gaps:  # macro F1, too, whose rows are moved one by one
        assert (gap.difference, gap.p_value) == (found[gap.name].difference, found[gap.name].p_value)
    assert ("five",) not in {p.first for p in found.pairs} | {p.second for p in found.pairs}


def test_a_single_group_has_no_gaps():
    given, _ = made(np.random.default_rng(3), 60, probabilities=True)
    found = gaps(given, ["a"] * 60)
    assert (found.gaps, found.pairs) == ([], [])


def test_a_group_with_few_positives_is_in_the_other_gaps_only():
    given = Predictions.of([1] * 40 + [0] * 40 + [0] * 40 + [1] * 3, [1] * 83 + [0] * 40, BINARY, positive="yes")
    found = gaps(given, ["a"] * 80 + ["b"] * 43)
    assert found["fpr"].n_groups == 2
    assert "equal_opportunity" not in {gap.name for gap in found.gaps}


# --- p-values ------------------------------------------------------------------------------------------------------------


def shuffled_ranges(rng, hits, codes, strata, draws):
    """The greatest difference of rates with the rows' groups exchanged one by one."""
    found = []
    for _ in range(draws):
        mixed = codes.copy()
        for stratum in strata:
            mixed[stratum] = rng.permutation(mixed[stratum])
        rates = [[hits[s][mixed[s] == g].mean() for g in np.unique(codes)] for s in strata]
        found.append(max(np.ptp(each) for each in rates))
    return np.array(found)


@pytest.mark.parametrize("name", ["demographic_parity", "equal_opportunity", "equalized_odds"])
def test_p_values_equal_those_of_permuting_the_rows(name):
    rng = np.random.default_rng(4)
    given, names = made(rng, 240, effect=0.06)
    found = gaps(given, names)[name]
    codes, positive, selected = np.unique(names, return_inverse=True)[1], given.is_positive, given.selected
    strata = {
        "demographic_parity": [np.arange(240)],
        "equal_opportunity": [np.flatnonzero(positive)],
        "equalized_odds": [np.flatnonzero(positive), np.flatnonzero(~positive)],
    }[name]
    p = p_value(found.difference, shuffled_ranges(rng, selected, codes, strata, 4000))
    assert found.p_value == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 4000) + 0.003)
    assert found.permutations == 9999


def test_the_p_value_of_two_groups_is_fishers_one_minus_what_lies_between():
    hits, rows = np.array([14, 6]), np.array([20, 20])
    p = p_value(0.4, rate_ranges(hits, rows, seed=0))
    exact = stats.fisher_exact([[14, 6], [6, 14]]).pvalue  # equal margins: both tails are those of the range
    assert p == pytest.approx(exact, abs=0.006)


@pytest.mark.parametrize("name", ["macro_f1", "auc", "ece"])
def test_statistics_by_group_equal_those_of_each_group_alone(name):
    rng = np.random.default_rng(5)
    given, names = made(rng, 200, probabilities=True)
    given = Predictions.of(
        given.truth, given.predicted, BINARY, probabilities=np.round(given.probabilities, 1), positive="yes"
    )  # ties
    codes = np.unique(names, return_inverse=True)[1].astype(np.int16)
    ours = {
        "macro_f1": macro_f1_by_group(given, 3),
        "auc": auc_by_group(given.scores, given.is_positive, 3),
        "ece": ece_by_group(given, 3),
    }[name](codes)
    for g in range(3):
        own = given.take(codes == g)
        theirs = {
            "macro_f1": f1_score(own.truth, own.predicted, average="macro"),
            "auc": roc_auc_score(own.is_positive, own.scores),
            "ece": ece(own.scores, own.is_positive).value,
        }[name]
        assert ours[g] == pytest.approx(theirs)


def test_areas_over_ranks_are_next_to_those_over_scores(monkeypatch):
    rng = np.random.default_rng(11)
    positive, codes = rng.random(4000) < 0.3, rng.integers(0, 4, 4000)
    scores = rng.normal(size=4000) + positive
    exact = auc_by_group(scores, positive, 4)(codes)
    assert exact == pytest.approx([roc_auc_score(positive[codes == g], scores[codes == g]) for g in range(4)])
    monkeypatch.setattr(permutations, "RANKS", 64)
    coarse = auc_by_group(scores, positive, 4)(codes)
    assert (coarse != exact).any()
    assert np.abs(coarse - exact).max() < 0.002  # chance moves them by .02


def test_a_group_whose_value_is_missing_has_a_row_and_is_in_no_gap():
    rng = np.random.default_rng(12)
    given, names = made(rng, 400, probabilities=True)
    names = names.astype(object)
    names[names == names[0]] = None
    rows = grouping("g", names)
    table = by_group(given, rows)
    found = disparities(table, given, rows)
    assert table.groups[-1].group == (None,)
    assert table.groups[-1].n >= table.min_n
    assert all((None,) in gap.left_out for gap in found.gaps)
    assert not any((None,) in (pair.first, pair.second) for pair in found.pairs)
    known = np.array([name is not None for name in names])
    alone = given.take(known)
    without = disparities(by_group(alone, grouping("g", names[known])), alone, grouping("g", names[known]))
    assert [gap.p_value for gap in found.gaps] == [gap.p_value for gap in without.gaps]


def test_rows_exchange_groups_only_within_their_true_label():
    truth, codes = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
    kept = score_ranges({"x": (lambda c: np.bincount(c, truth, 2), np.array([0, 1]))}, codes, truth, seed=0)
    assert set(kept["x"].tolist()) == {2.0}  # label and group are the same thing: nothing can be exchanged


@settings(max_examples=60)
@given(st.integers(1, 50), st.integers(1, 50), st.data())
def test_the_n_minus_1_test_is_the_variance_of_the_permutations(n, m, data):
    k, j = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    if k + j in (0, n + m):
        assert two_rates_p((k, n), (j, m)) == 1
        return
    total, hits = n + m, k + j  # the moments of the hypergeometric distribution, as any textbook has them
    mean = n * hits / total
    z = (k - mean) / np.sqrt(mean * (1 - hits / total) * m / (total - 1))
    assert two_rates_p((k, n), (j, m)) == pytest.approx(2 * stats.norm.sf(abs(z)))


def test_another_order_of_the_rows_gives_the_same_gaps():
    rng = np.random.default_rng(6)
    given, names = made(rng, 200, probabilities=True)
    order = rng.permutation(200)
    one, other = gaps(given, names), gaps(given.take(order), names[order])
    assert {g.name: g.p_value for g in one.gaps} == {g.name: g.p_value for g in other.gaps}


def test_a_planted_gap_is_found_and_none_where_there_is_none():
    found = gaps(*made(np.random.default_rng(7), 1200, effect=0.15, probabilities=True))
    assert found["demographic_parity"].p_value < 0.001
    assert found["demographic_parity"].highest == ("a",)
    assert found["demographic_parity"].interval.low > 0
    none = gaps(*made(np.random.default_rng(8), 1200, probabilities=True))
    assert all(gap.p_value > 0.01 for gap in none.gaps)
    assert none["demographic_parity"].interval.low < 0


@pytest.mark.slow
def test_the_omnibus_test_seldom_rejects_and_the_interval_holds_0_where_no_group_differs():
    """The small sister of benchmarks/coverage.py: 3 to 7 % there, and 3 standard errors more here."""
    rng, wrong, outside = np.random.default_rng(9), 0, 0
    for repeat in range(300):
        hits = rng.binomial(100, 0.3, 4)
        drawn = rate_ranges(hits, np.full(4, 100), seed=repeat, size=499)
        wrong += p_value(np.ptp(hits) / 100, drawn) <= 0.05
        given = Predictions.of([0] * 400, np.repeat([1, 0] * 4, np.c_[hits, 100 - hits].ravel()), BINARY, positive="yes")
        if repeat < 20:
            outside += gaps(given, np.repeat(list("abcd"), 100))["demographic_parity"].interval.low > 0
    assert wrong / 300 < 0.07 + 0.04
    assert outside <= 5


# --- pairs ---------------------------------------------------------------------------------------------------------------


def test_every_two_groups_are_a_pair_with_newcombes_interval():
    given, names = made(np.random.default_rng(10), 300)
    found = gaps(given, names)
    pairs = [p for p in found.pairs if p.name == "tpr"]
    assert [(p.first, p.second) for p in pairs] == list(combinations([("a",), ("b",), ("c",)], 2))
    for pair in pairs:
        own, other = (given.selected[(names == group[0]) & given.is_positive] for group in (pair.first, pair.second))
        assert pair.difference == pytest.approx(own.mean() - other.mean())
        one, two = (stats.binomtest(int(x.sum()), len(x)).proportion_ci(method="wilson") for x in (own, other))
        low = pair.difference - np.hypot(own.mean() - one.low, two.high - other.mean())
        assert pair.interval.low == pytest.approx(low)
        assert pair.interval.method == "newcombe"


def test_p_values_are_adjusted_over_all_pairs_and_scores():
    found = gaps(*made(np.random.default_rng(11), 300, effect=0.1, probabilities=True))
    raw = np.array([p.p_value for p in found.pairs])
    assert [p.adjusted_p for p in found.pairs] == pytest.approx(holm(raw).tolist())
    assert {p.name for p in found.pairs} == {"selection_rate", "tpr", "fpr", "ppv", "accuracy", "macro_f1", "auc"}


def test_benjamini_hochberg_is_there_for_many_slices():
    given, names = made(np.random.default_rng(12), 300, effect=0.1)
    rows = grouping("g", names)
    found = disparities(by_group(given, rows), given, rows, adjustment="benjamini-hochberg")
    raw = np.array([p.p_value for p in found.pairs])
    assert [p.adjusted_p for p in found.pairs] == pytest.approx(stats.false_discovery_control(raw).tolist())


def test_with_a_reference_pairs_are_against_it():
    given, names = made(np.random.default_rng(13), 300)
    rows = grouping("g", names)
    found = disparities(by_group(given, rows), given, rows, reference=("b",))
    assert {(p.first, p.second) for p in found.pairs} == {(("a",), ("b",)), (("c",), ("b",))}


def test_the_p_value_of_an_auc_gap_is_below_5_percent_just_where_its_interval_excludes_0():
    for seed in range(3):
        found = gaps(*made(np.random.default_rng(seed), 200, effect=0.1, probabilities=True))
        for pair in found.pairs:
            if pair.name in ("auc", "macro_f1"):
                assert (pair.p_value < 0.05) == (pair.interval.low > 0 or pair.interval.high < 0)


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_just_what_stepping_down_rejects(values):
    p, adjusted = np.array(values), holm(np.array(values))
    for alpha in (0.01, 0.05, 0.3):
        rejected, order = set(), np.argsort(p, kind="stable")
        for step, at in enumerate(order):
            if p[at] * (len(p) - step) > alpha:
                break
            rejected.add(at)
        assert rejected == set(np.flatnonzero(adjusted <= alpha))


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_benjamini_hochberg_rejects_just_what_stepping_up_rejects(values):
    p, m = np.array(values), len(values)
    found = benjamini_hochberg(p)
    for level in (0.01, 0.05, 0.2, 0.5):
        under = [k for k in range(1, m + 1) if np.sort(p)[k - 1] <= k * level / m]
        assert (found <= level + 1e-12).sum() == pytest.approx((p <= np.sort(p)[max(under) - 1]).sum() if under else 0)
    assert benjamini_hochberg(np.zeros(0)).shape == (0,)


# --- crossings, results --------------------------------------------------------------------------------------------------


def test_crossed_groups_are_compared_where_they_have_rows_enough():
    rng = np.random.default_rng(14)
    given, names = made(rng, 400, ("w", "m"))
    regions = np.where(rng.random(400) < 0.05, "far", "near")
    rows = crossing(grouping("gender", names), grouping("region", regions))
    found = disparities(by_group(given, rows), given, rows)
    assert set(found.small) == {("m", "far"), ("w", "far")}
    assert found["accuracy"].n_groups == 2


def test_gaps_survive_json_and_become_a_frame():
    found = gaps(*made(np.random.default_rng(15), 200, probabilities=True))
    assert Disparities.model_validate_json(found.model_dump_json()) == found
    frame = found.to_pandas()
    assert len(frame) == len(found.gaps) + len(found.pairs)
    assert set(frame["kind"]) == {"all", "pair"}
    assert frame.loc[0, "difference"] == found.gaps[0].difference


# --- power ---------------------------------------------------------------------------------------------------------------


def test_published_sample_sizes_are_reproduced():
    assert rows_needed(0.80, 0.75) == 1094
    assert paired_rows_needed(0.2, 0.05) == 626
    assert paired_rows_needed(0.2, 0.03) == 1742


@settings(max_examples=60)
@given(st.floats(0.02, 0.98), st.integers(5, 5000), st.integers(5, 5000))
def test_the_smallest_gap_needs_about_as_many_rows_as_there_are(rate, n, m):
    gap = smallest_gap(rate, n, m)
    if gap is None:
        assert min(n, m) < 40
        return
    assert 0 < gap <= max(rate, 1 - rate)
    if n == m:
        others = [other for other in (rate + gap, rate - gap) if -1e-9 <= other <= 1 + 1e-9]
        assert min(abs(rows_needed(rate, min(max(o, 0), 1)) - n) for o in others) <= 1


def test_the_smallest_gap_is_found_four_times_in_five():
    rng, n = np.random.default_rng(16), 300
    gap = smallest_gap(0.6, n, n)
    k, j = rng.binomial(n, 0.6, 1000), rng.binomial(n, 0.6 + gap, 1000)
    found = np.mean([two_rates_p((a, n), (b, n)) < 0.05 for a, b in zip(k.tolist(), j.tolist(), strict=True)])
    assert found == pytest.approx(0.8, abs=0.04)


@settings(max_examples=40)
@given(st.floats(0.02, 0.9), st.integers(20, 5000))
def test_the_smallest_paired_gap_is_the_inverse_of_the_rows_needed(flips, n):
    gap = smallest_paired_gap(flips, n)
    if gap is not None:
        assert paired_rows_needed(flips, gap) == pytest.approx(n, abs=1.01)
