import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn_metrics

from fm_notebook.metrics import auc as module
from fm_notebook.metrics import curves
from fm_notebook.metrics.auc import auc, auc_score, counts, delong, variance
from fm_notebook.metrics.curves import MOST_LABELS, POINTS, precision_recall_curve, roc_curve
from fm_notebook.metrics.curves import curves as all_curves
from fm_notebook.metrics.predictions import Predictions


@st.composite
def ranked(draw, least=2):
    """Scores with ties, and labels of both kinds."""
    n = draw(st.integers(least, 40))
    scores = np.array(draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))) / 8
    positive = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    positive[0], positive[-1] = True, False
    return scores, positive


def scored(rng, n, shift=1.0):
    positive = rng.random(n) < 0.4
    return rng.normal(size=n) + shift * positive, positive


@pytest.mark.parametrize("tested", [module, curves], ids=["auc", "curves"])
def test_examples_in_the_docstrings_are_right(tested):
    result = doctest.testmod(tested)
    assert result.attempted
    assert not result.failed


@settings(max_examples=40)
@given(ranked())
def test_the_area_equals_scikit_learn_and_mann_whitney(pair):
    scores, positive = pair
    assert auc(scores, positive) == pytest.approx(sklearn_metrics.roc_auc_score(positive, scores))
    u = stats.mannwhitneyu(scores[positive], scores[~positive]).statistic
    assert auc(scores, positive) == pytest.approx(u / (positive.sum() * (~positive).sum()))


@given(ranked())
def test_turning_scores_round_mirrors_the_area(pair):
    scores, positive = pair
    assert auc(-scores, positive) == pytest.approx(1 - auc(scores, positive))


def test_there_is_no_area_with_one_class():
    assert auc(np.array([0.1, 0.2]), np.array([True, True])) is None
    assert auc_score("auc", np.array([0.1]), np.array([False])) is None


def test_delongs_variance_equals_that_of_its_definition():
    scores, positive = scored(np.random.default_rng(0), 60)
    scores = np.round(scores, 1)
    psi = (scores[positive][:, None] > scores[~positive]) + 0.5 * (scores[positive][:, None] == scores[~positive])
    by_definition = psi.mean(1).var(ddof=1) / positive.sum() + psi.mean(0).var(ddof=1) / (~positive).sum()
    assert variance(*counts(scores, positive)) == pytest.approx(by_definition)


def test_the_interval_agrees_with_a_bootstrap_of_many_rows():
    rng = np.random.default_rng(2)
    scores, positive = scored(rng, 500)
    own = [np.flatnonzero(positive), np.flatnonzero(~positive)]
    draws = [auc(scores[r], positive[r]) for r in (np.concatenate([rng.choice(o, len(o)) for o in own]) for _ in range(600))]
    found = delong(*counts(scores, positive))
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.01)


def test_the_interval_mostly_holds_the_truth_of_few_rows():
    """The small sister of benchmarks/coverage.py."""
    rng, truth = np.random.default_rng(3), stats.norm.cdf(1 / np.sqrt(2))
    found = [auc_score("auc", *scored(rng, 100)).interval for _ in range(300)]
    assert np.mean([each.low <= truth <= each.high for each in found]) == pytest.approx(0.95, abs=0.04)


@settings(max_examples=25)
@given(ranked())
def test_the_interval_holds_the_area_and_stays_within_0_and_1(pair):
    found = auc_score("auc", *pair)
    assert 0 <= found.interval.low <= found.value <= found.interval.high <= 1


def test_perfect_ranking_of_few_rows_is_not_certain():
    found = auc_score("auc", np.arange(6.0), np.arange(6) > 2)
    assert found.value == 1
    assert found.interval.low == pytest.approx(stats.binomtest(3, 3).proportion_ci(method="wilson").low)


@settings(max_examples=40)
@given(ranked())
def test_the_roc_curve_equals_scikit_learns(pair):
    scores, positive = pair
    fpr, tpr, thresholds = sklearn_metrics.roc_curve(positive, scores, drop_intermediate=False)
    found = roc_curve(scores, positive)
    assert (found.x, found.y) == (pytest.approx(fpr.tolist()), pytest.approx(tpr.tolist()))
    assert found.thresholds == pytest.approx(thresholds.tolist())


@settings(max_examples=40)
@given(ranked())
def test_the_precision_recall_curve_and_average_precision_equal_scikit_learns(pair):
    scores, positive = pair
    precision, recall, thresholds = sklearn_metrics.precision_recall_curve(positive, scores)
    found = precision_recall_curve(scores, positive)
    assert found.x == pytest.approx(recall[-2::-1].tolist())
    assert found.y == pytest.approx(precision[-2::-1].tolist())
    assert found.thresholds == pytest.approx(thresholds[::-1].tolist())
    assert found.area.value == pytest.approx(sklearn_metrics.average_precision_score(positive, scores))
    assert found.area.interval.low <= found.area.value <= found.area.interval.high


def test_curves_of_many_rows_keep_their_ends_and_few_points():
    scores, positive = scored(np.random.default_rng(4), 20_000)
    found = roc_curve(scores, positive)
    assert len(found.x) == POINTS
    assert (found.x[0], found.y[0], found.x[-1], found.y[-1]) == (0, 0, 1, 1)
    assert len(found.to_pandas()) == POINTS


def test_thinned_curves_of_a_rare_class_keep_their_shape():
    """Evenly over rows, nearly all points would lie where the curve is flat."""
    rng = np.random.default_rng(5)
    positive = rng.random(30_000) < 0.01
    scores = rng.normal(size=30_000) + 3.0 * positive
    fpr, tpr, _ = sklearn_metrics.roc_curve(positive, scores)
    found = roc_curve(scores, positive)
    assert len(found.x) <= POINTS
    away = np.abs(fpr[:, None] - found.x) + np.abs(tpr[:, None] - found.y)
    assert away.min(1).max() < 0.02
    assert np.abs(sklearn_metrics.auc(found.x, found.y) - found.area.value) < 0.005
    recall = precision_recall_curve(scores, positive).x
    assert np.diff(recall).max() < 0.02


def three_labels(positive=None, n=300):
    rng = np.random.default_rng(6)
    truth = rng.integers(0, 3, n)
    logits = rng.normal(size=(n, 3)) + np.eye(3)[truth]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return Predictions.of(truth, shares.argmax(1), ["a", "b", "c"], probabilities=shares, positive=positive)


def test_without_a_positive_label_each_label_has_curves_against_all_others():
    given = three_labels()
    found = all_curves(given)
    assert [(curve.label, curve.kind) for curve in found] == [(x, kind) for x in "abc" for kind in ("roc", "precision-recall")]
    for at, curve in enumerate(found[::2]):
        assert curve.area.value == pytest.approx(sklearn_metrics.roc_auc_score(given.truth == at, given.probabilities[:, at]))
        assert curve.base_rate == pytest.approx((given.truth == at).mean())
    assert {curve.label for curve in all_curves(three_labels("b"))} == {"b"}


def test_labels_that_no_row_has_and_models_without_probabilities_have_no_curves():
    shares = np.full((4, 3), 1 / 3)
    given = Predictions.of([0, 1, 0, 1], [0, 0, 0, 0], ["a", "b", "c"], probabilities=shares)
    assert {curve.label for curve in all_curves(given)} == {"a", "b"}
    assert all_curves(Predictions.of([0, 1], [0, 1], ["a", "b"])) == []


def test_of_many_labels_the_most_frequent_have_curves():
    labels = [f"l{i}" for i in range(12)]
    truth = np.repeat(np.arange(12), np.arange(1, 13))
    given = Predictions.of(truth, truth, labels, probabilities=np.eye(12)[truth])
    assert list(dict.fromkeys(curve.label for curve in all_curves(given))) == labels[-MOST_LABELS:]
