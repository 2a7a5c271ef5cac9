import doctest
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.metrics import brier_score_loss

from fm_notebook.contracts.calibration import Calibration
from fm_notebook.errors import DataError
from fm_notebook.metrics import calibration as module
from fm_notebook.metrics import temperature as temperature_module
from fm_notebook.metrics.calibration import calibration, ece, ece_if_calibrated, reliability
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.temperature import of_shares, temperature


@st.composite
def outcomes(draw):
    n = draw(st.integers(1, 80))
    scores = np.array(draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))
    return scores, np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))


def made(rng, n, n_classes=3, positive=None):
    shares = rng.dirichlet(np.ones(n_classes), n)
    labels = [f"c{i}" for i in range(n_classes)]
    return Predictions.of(rng.integers(0, n_classes, n), shares.argmax(1), labels, probabilities=shares, positive=positive)


def test_examples_in_the_docstrings_are_right():
    results = [doctest.testmod(each) for each in (module, temperature_module)]
    assert sum(result.attempted for result in results) > 8
    assert not any(result.failed for result in results)


def ece_of_guo(scores, came_true, bins=15):
    """As the reference loop of Guo et al. has it: bins (lower, upper]."""
    total, edges = 0.0, np.linspace(0, 1, bins + 1)
    for low, high in pairwise(edges):
        inside = (scores > low) & (scores <= high) | ((low == 0) & (scores == 0))
        if inside.any():
            total += inside.mean() * abs(scores[inside].mean() - came_true[inside].mean())
    return total


@given(outcomes())
def test_ece_equals_the_loop_over_bins(pair):
    assert ece(*pair).value == pytest.approx(ece_of_guo(*pair))


@settings(max_examples=40)
@given(outcomes())
def test_the_interval_of_the_ece_holds_it_and_stays_within_0_and_1(pair):
    found = ece(*pair)
    assert 0 <= found.interval.low <= found.value <= found.interval.high <= 1


def test_the_interval_of_a_calibrated_models_ece_reaches_0():
    rng = np.random.default_rng(0)
    scores = rng.random((40, 300))
    reached = [ece(s, rng.random(300) < s).interval.low == 0 for s in scores]
    assert sum(reached) >= 36  # of 95 %


def test_the_interval_of_a_wrong_models_ece_does_not_reach_0_and_mostly_holds_the_truth():
    rng = np.random.default_rng(1)
    found = [ece(np.full(400, 0.9), rng.random(400) < 0.7).interval for _ in range(60)]
    assert all(each.low > 0 for each in found)
    assert sum(each.low <= 0.2 <= each.high for each in found) >= 52


def test_more_rows_make_the_interval_of_the_ece_narrower():
    rng = np.random.default_rng(2)
    wide, narrow = (ece(np.full(n, 0.9), rng.random(n) < 0.7).interval for n in (100, 10_000))
    assert narrow.high - narrow.low < (wide.high - wide.low) / 5


def test_the_ece_of_rows_that_are_all_right_and_sure_is_not_certain():
    found = ece(np.ones(20), np.ones(20, bool))
    assert found.value == 0
    assert found.interval.high == pytest.approx(stats.binomtest(0, 20).proportion_ci(method="wilson").high)


def test_the_ece_expected_by_chance_is_that_of_simulated_calibrated_rows():
    rng = np.random.default_rng(3)
    scores = rng.random(2000)
    drawn = [ece_of_guo(scores, rng.random(2000) < scores) for _ in range(200)]
    assert ece_if_calibrated(scores) == pytest.approx(np.mean(drawn), rel=0.03)


@pytest.mark.parametrize("positive", [None, "c1"])
def test_brier_equals_scikit_learn(positive):
    given = made(np.random.default_rng(4), 200, positive=positive)
    found = calibration(given).brier
    if positive is None:
        theirs = brier_score_loss(given.truth, given.probabilities, labels=range(3), scale_by_half=False)
    else:
        theirs = brier_score_loss(given.is_positive, given.scores)
    assert found.value == pytest.approx(theirs)
    assert found.interval.low < found.value < found.interval.high


def test_the_reliability_curve_holds_all_rows_with_wilsons_intervals():
    rng = np.random.default_rng(5)
    scores = rng.random(500)
    came_true = rng.random(500) < scores
    found = reliability(scores, came_true)
    assert sum(each.n for each in found) == 500
    assert sum(each.n * each.rate for each in found) == pytest.approx(came_true.sum())
    one = found[7]
    inside = (scores > one.low) & (scores <= one.high)
    theirs = stats.binomtest(int(came_true[inside].sum()), int(inside.sum())).proportion_ci(method="wilson")
    assert (one.mean_score, one.interval.low) == (pytest.approx(scores[inside].mean()), pytest.approx(theirs.low))


def test_empty_bins_are_there_without_a_rate():
    found = reliability(np.array([0.1]), np.array([True]), n_bins=2)
    assert (found[1].n, found[1].mean_score, found[1].rate, found[1].interval) == (0, None, None, None)


def test_without_a_positive_label_the_top_labels_confidence_is_calibrated():
    given = made(np.random.default_rng(6), 300)
    found = calibration(given)
    top, right = given.probabilities.max(1), given.probabilities.argmax(1) == given.truth
    assert found.positive is None
    assert found.ece.value == pytest.approx(ece_of_guo(top, right))
    assert found.in_the_large.value == pytest.approx(top.mean() - right.mean())
    theirs = stats.ttest_rel(top, right.astype(float)).confidence_interval()
    assert (found.in_the_large.interval.low, found.in_the_large.interval.high) == pytest.approx((theirs.low, theirs.high))


def test_calibration_survives_json_and_becomes_a_frame():
    found = calibration(made(np.random.default_rng(7), 50, positive="c0"))
    assert Calibration.model_validate_json(found.model_dump_json()) == found
    assert len(found.to_pandas()) == 15


def test_calibration_without_probabilities_is_refused():
    with pytest.raises(DataError):
        calibration(Predictions.of([0], [0], ["a", "b"]))


def softmax_loss(logits, truth, t):
    raised = logits / t - np.log(np.exp(logits / t).sum(1, keepdims=True))
    return -raised[np.arange(len(truth)), truth].mean()


def test_the_temperature_is_the_one_that_made_the_logits_too_sharp():
    rng = np.random.default_rng(8)
    logits = rng.normal(size=(20_000, 3))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (shares.cumsum(1) < rng.random((20_000, 1))).sum(1)
    found = temperature(2.5 * logits, truth)
    assert found.temperature == pytest.approx(2.5, rel=0.05)
    assert not found.at_bound
    assert found.loss_before == pytest.approx(softmax_loss(2.5 * logits, truth, 1.0))
    best = optimize.minimize(lambda x: softmax_loss(2.5 * logits, truth, math.exp(x[0])), [0.0])
    assert found.loss_after == pytest.approx(best.fun)


def test_logarithms_of_probabilities_serve_as_logits():
    rng = np.random.default_rng(9)
    logits, truth = rng.normal(size=(200, 4)), rng.integers(0, 4, 200)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert temperature(np.log(shares), truth).temperature == pytest.approx(temperature(logits, truth).temperature, rel=1e-4)


def test_a_temperature_at_the_bound_is_marked():
    assert temperature(np.array([[3.0, 0.0], [0.0, 3.0]]), np.array([0, 1])).at_bound


def test_logits_that_are_no_numbers_are_refused():
    with pytest.raises(DataError):
        temperature(np.array([[np.nan, 0.0]]), np.array([0]))


def drawn(rng, n, classes, true):
    logits = 2 * rng.normal(size=(n, classes))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return true * logits, (shares.cumsum(1) < rng.random((n, 1))).sum(1).clip(0, classes - 1)


@pytest.mark.parametrize(("classes", "true"), [(2, 2.5), (4, 0.6)])
def test_the_interval_of_the_temperature_covers_the_true_one(classes, true):
    rng = np.random.default_rng(10)
    found = [temperature(*drawn(rng, 200, classes, true)).interval for _ in range(200)]
    assert 0.9 <= np.mean([each.low <= true <= each.high for each in found]) <= 0.99


def test_the_interval_of_the_temperature_is_as_wide_as_a_bootstrap():
    rng = np.random.default_rng(11)
    logits, truth = drawn(rng, 400, 3, 1.5)
    rows = [rng.integers(0, 400, 400) for _ in range(150)]
    spread = np.std([math.log(temperature(logits[some], truth[some]).temperature) for some in rows])
    found = temperature(logits, truth).interval
    assert math.log(found.high / found.low) / 2 / 1.96 == pytest.approx(spread, rel=0.2)
    assert temperature(np.array([[3.0, 0.0], [0.0, 3.0]]), np.array([0, 1])).interval is None


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_labels_that_the_model_does_not_have_are_no_part_of_the_temperature():
    logits, truth = drawn(np.random.default_rng(12), 300, 3, 2.0)
    shares = np.insert(softmax(logits), 1, 0.0, axis=1)  # an output that is impossible
    at = np.where(truth > 0, truth + 1, truth)
    at[:5] = 1
    found = of_shares(Predictions.of(at, shares.argmax(1), list("abcd"), probabilities=shares))
    expected = temperature(logits[5:], truth[5:])
    assert (found.n, found.temperature) == (295, pytest.approx(expected.temperature, rel=1e-3))
    with pytest.raises(DataError):
        of_shares(Predictions.of([0], [0], ["a", "b"]))


def test_a_probability_that_underflowed_spoils_nothing():
    shares = np.vstack([softmax(np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.0]])), [[1.0, 0.0]]])
    found = of_shares(Predictions.of([0, 1, 1, 0], [0, 1, 0, 0], ["a", "b"], probabilities=shares))
    assert math.isfinite(found.loss_before)


def test_of_many_rows_a_part_is_fitted(monkeypatch):
    monkeypatch.setattr(temperature_module, "MOST_FITTED", 100)
    logits, truth = drawn(np.random.default_rng(13), 250, 2, 2.0)
    found = of_shares(Predictions.of(truth, truth, ["a", "b"], probabilities=softmax(logits)))
    assert found.n == 84
    assert found.temperature == pytest.approx(temperature(logits[::3], truth[::3]).temperature, rel=1e-3)
