"""Regression scores against scikit-learn and scipy, intervals against simulated populations."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from fm_notebook.contracts.results import Score
from fm_notebook.errors import ModelError
from fm_notebook.metrics import regression
from fm_notebook.metrics.regression import evaluate, fisher, ranks

# Whole numbers give ties; quarters are exact.
NUMBERS = st.integers(-40, 40).map(lambda whole: whole / 4)


@st.composite
def pairs(draw, least=2):
    n = draw(st.integers(least, 30))
    return [draw(npst.arrays(np.float64, n, elements=NUMBERS)) for _ in ("predicted", "targets")]


def noisy(rng, n):
    """Jointly normal, r = 0.8."""
    targets = rng.normal(size=n)
    return 0.8 * targets + 0.6 * rng.normal(size=n), targets


def scores(*arguments, **options):
    return {score.name: score for score in evaluate(*arguments, **{"seed": 0, **options})}


def test_examples_in_the_docstrings_are_right():
    result = doctest.testmod(regression)
    assert result.attempted > 4
    assert not result.failed


@settings(max_examples=40, deadline=None)
@given(pairs())
def test_scores_equal_scikit_learn_and_scipy(pair):
    predicted, targets = pair
    assume(np.ptp(predicted) and np.ptp(targets))
    values = {name: score.value for name, score in scores(predicted, targets).items()}
    assert values["rmse"] ** 2 == pytest.approx(mean_squared_error(targets, predicted))
    assert values["mae"] == pytest.approx(mean_absolute_error(targets, predicted))
    assert values["r2"] == pytest.approx(r2_score(targets, predicted))
    assert values["pearson"] == pytest.approx(stats.pearsonr(predicted, targets).statistic, abs=1e-12)
    assert values["spearman"] == pytest.approx(stats.spearmanr(predicted, targets).statistic, abs=1e-12)


@given(npst.arrays(np.float64, st.integers(1, 30), elements=NUMBERS))
def test_ranks_equal_scipy(values):
    assert ranks(values).tolist() == stats.rankdata(values).tolist()


@settings(max_examples=30, deadline=None)
@given(pairs(least=4), st.floats(0.5, 0.99))
def test_the_pearson_interval_equals_scipy(pair, level):
    predicted, targets = pair
    assume(np.ptp(predicted) and np.ptp(targets))
    score = scores(predicted, targets, level=level)["pearson"]
    assume(abs(score.value) < 1 - 1e-9)
    theirs = stats.pearsonr(predicted, targets).confidence_interval(level)
    assert (score.interval.low, score.interval.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert score.interval.method == "fisher"


@settings(max_examples=30, deadline=None)
@given(pairs(least=1), st.floats(0.5, 0.99))
def test_an_interval_holds_its_score_and_a_score_that_is_not_defined_has_none(pair, level):
    for score in scores(*pair, level=level).values():
        assert score.n == len(pair[0])
        if math.isnan(score.value):
            assert score.interval is None
        if score.interval:
            slack = 1e-9 * (1 + abs(score.value))
            assert score.interval.low - slack <= score.value <= score.interval.high + slack, score


def test_intervals_cover_the_population_about_as_often_as_they_say():
    """The errors are normal with variance 0.2² + 0.6² = 0.4; of joint normals, ρ = 6/π · asin(r/2)."""
    population = {
        "rmse": math.sqrt(0.4), "mae": math.sqrt(0.4 * 2 / math.pi), "r2": 0.6, "pearson": 0.8,
        "spearman": 6 / math.pi * math.asin(0.4),
    }  # fmt: skip
    rng, held = np.random.default_rng(0), dict.fromkeys(population, 0)
    for seed in range(200):
        for name, score in scores(*noisy(rng, 150), seed=seed).items():
            held[name] += score.interval.low <= population[name] <= score.interval.high
    assert all(0.89 <= times / 200 <= 0.99 for times in held.values()), held


def test_constant_predictions_have_no_correlation_and_still_an_error():
    found = scores(np.full(8, 0.1), np.arange(8.0))
    assert math.isnan(found["pearson"].value)
    assert math.isnan(found["spearman"].value)
    assert found["pearson"].interval is found["spearman"].interval is None
    assert found["r2"].value == pytest.approx(r2_score(np.arange(8.0), np.full(8, 0.1)))
    assert found["rmse"].interval is not None
    assert math.isnan(Score.model_validate_json(found["pearson"].model_dump_json()).value)


def test_constant_targets_have_no_r2():
    found = scores(np.arange(8.0), np.full(8, 0.1))
    assert math.isnan(found["r2"].value)
    assert math.isnan(found["pearson"].value)
    assert found["mae"].value == pytest.approx(np.abs(np.arange(8) - 0.1).mean())


def test_a_single_row_is_scored_without_intervals():
    found = scores(np.array([1.0]), np.array([3.0]))
    assert (found["rmse"].value, found["mae"].value) == (2.0, 2.0)
    assert math.isnan(found["r2"].value)
    assert {score.interval for score in found.values()} == {None}


def test_a_perfect_correlation_is_not_called_certain():
    assert fisher(1.0, 50, 1.0) is None
    found = scores(2 * np.arange(9.0), np.arange(9.0))
    assert found["pearson"].value == pytest.approx(1)
    assert found["pearson"].interval is None


@pytest.mark.parametrize("scale", [1e-200, 1e100])
def test_correlations_do_not_depend_on_the_unit(scale):
    predicted, targets = noisy(np.random.default_rng(1), 20)
    assert regression.correlation(predicted * scale, targets) == pytest.approx(regression.correlation(predicted, targets))


def test_r2_does_not_lose_digits_far_from_zero():
    predicted, targets = noisy(np.random.default_rng(2), 100)
    near, far = scores(predicted, targets)["r2"], scores(predicted + 1e6, targets + 1e6)["r2"]
    assert (far.value, far.interval.low, far.interval.high) == pytest.approx(
        (near.value, near.interval.low, near.interval.high), rel=1e-6
    )


def test_predictions_that_are_no_numbers_are_an_error_that_counts_them():
    with pytest.raises(ModelError, match="1 of 2 rows the model's predictions"):
        scores(np.array([np.inf, 1.0]), np.zeros(2))


@pytest.mark.parametrize(("predicted", "targets"), [((0,), (0,)), ((2,), (3,)), ((2, 1), (2,))])
def test_shapes_that_do_not_fit_are_refused(predicted, targets):
    with pytest.raises(ValueError, match="as many numbers"):
        scores(np.zeros(predicted), np.zeros(targets))
