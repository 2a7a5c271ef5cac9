"""Language metrics against closed forms, scipy and simulated populations."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fm_notebook.contracts.results import Score
from fm_notebook.errors import ModelError
from fm_notebook.metrics import language
from fm_notebook.metrics.intervals import mean_t
from fm_notebook.metrics.language import evaluate, ratio_interval, text_perplexities


@st.composite
def tokens(draw):
    n = draw(st.integers(1, 40))
    losses = draw(st.lists(st.floats(0, 20), min_size=n, max_size=n))
    ranks = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    owner = draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
    return np.array(losses), np.array(ranks), np.array(owner)


def texts(rng, n, length=30):
    """Losses whose mean differs between texts; the population's mean is 3."""
    level = rng.gamma(9, 1 / 3, n)
    lengths = rng.integers(1, 2 * length, n)
    owner = np.repeat(np.arange(n), lengths)
    return rng.exponential(level[owner]), rng.integers(0, 10, len(owner)), owner


def scores(*arguments, **options):
    return {score.name: score for score in evaluate(*arguments, seed=0, **options)}


def test_examples_in_the_docstrings_are_right():
    result = doctest.testmod(language)
    assert result.attempted > 3
    assert not result.failed


@settings(max_examples=30, deadline=None)
@given(tokens())
def test_values_are_those_of_the_definitions(data):
    losses, ranks, owner = data
    found = scores(*data)
    assert found["loss"].value == pytest.approx(losses.mean())
    assert found["perplexity"].value == pytest.approx(stats.gmean(np.exp(losses)))
    assert found["top1_accuracy"].value == pytest.approx(np.mean(ranks == 0))
    assert found["top5_accuracy"].value == pytest.approx(np.mean(ranks <= 4))
    assert {score.n for score in found.values()} == {len(owner)}


@settings(max_examples=30, deadline=None)
@given(tokens(), st.floats(0.5, 0.99))
def test_every_interval_holds_its_score_and_stays_in_range(data, level):
    for name, score in scores(*data, level=level).items():
        assert (score.interval is not None) == (score.n > 1 or name.startswith("top")), score
        if score.interval:
            slack = 1e-9 * max(1.0, score.value)
            assert score.interval.low - slack <= score.value <= score.interval.high + slack, score
            assert score.interval.low >= (1 - slack if name == "perplexity" else 0), score


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
    assert scores(np.full(50, math.log(1000)), np.arange(50), np.arange(50) % 4)["perplexity"].value == pytest.approx(1000)


@given(st.lists(st.floats(5, 10), min_size=2, max_size=30))
def test_with_one_token_a_text_the_interval_is_student_t(losses):
    losses = np.array(losses)
    ours, theirs = ratio_interval(losses, np.ones(len(losses), int)), mean_t(losses)
    assert (ours.low, ours.high) == pytest.approx((max(0, theirs.low), theirs.high))


def test_the_spread_is_the_jackknife_over_texts_but_for_higher_terms():
    """Another way to a ratio's spread: leave one text out at a time."""
    losses, _, owner = texts(np.random.default_rng(0), 300)
    sums, sizes = np.bincount(owner, losses), np.bincount(owner)
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    error = math.sqrt(299 / 300 * ((left_out - left_out.mean()) ** 2).sum())
    found = ratio_interval(sums, sizes)
    assert (found.high - found.low) / 2 == pytest.approx(stats.t.ppf(0.975, 299) * error, rel=0.02)


def test_repeating_each_token_says_nothing_new():
    losses, ranks, owner = texts(np.random.default_rng(1), 30)
    once, often = scores(losses, ranks, owner), scores(*(np.repeat(one, 5) for one in (losses, ranks, owner)))
    for name in once:
        assert often[name].interval.high == pytest.approx(once[name].interval.high)
        assert often[name].interval.low == pytest.approx(once[name].interval.low)


def test_intervals_cover_the_truth_though_tokens_of_a_text_depend_on_each_other():
    rng, held, plain = np.random.default_rng(2), 0, 0
    for _ in range(300):
        losses, _, owner = texts(rng, 60)
        found, naive = ratio_interval(np.bincount(owner, losses), np.bincount(owner)), mean_t(losses)
        held += found.low <= 3 <= found.high
        plain += naive.low <= 3 <= naive.high
    assert 0.90 <= held / 300 <= 0.99
    assert plain / 300 < 0.85


def test_the_perplexity_interval_is_that_of_the_loss_carried_over():
    found = scores(*texts(np.random.default_rng(3), 20))
    loss, perplexity = found["loss"].interval, found["perplexity"].interval
    assert (perplexity.low, perplexity.high) == pytest.approx((math.exp(loss.low), math.exp(loss.high)))


def test_tokens_all_right_are_not_called_certain():
    top1 = scores(np.zeros(60), np.zeros(60, int), np.arange(60) // 20)["top1_accuracy"]
    assert (top1.value, top1.interval.method) == (1.0, "wilson")
    assert top1.interval.low == pytest.approx(stats.binomtest(3, 3).proportion_ci(method="wilson").low)


def test_of_one_text_each_token_is_a_unit():
    losses = np.array([1.0, 2.0, 4.0])
    alone, apart = (scores(losses, np.array([0, 2, 7]), owner) for owner in (np.zeros(3, int), np.arange(3)))
    assert alone == apart


def test_a_loss_beyond_the_largest_float_has_infinite_perplexity_and_survives_json():
    found = scores(np.array([800.0, 800.0]), np.array([9, 9]), np.array([0, 1]))
    assert (found["loss"].value, found["perplexity"].value) == (800.0, math.inf)
    assert Score.model_validate_json(found["perplexity"].model_dump_json()) == found["perplexity"]
    infinite = scores(np.array([math.inf, 1.0]), np.array([9, 9]), np.array([0, 1]))
    assert infinite["perplexity"].value == math.inf
    assert infinite["perplexity"].interval is None


def test_losses_that_are_no_numbers_are_an_error_that_counts_texts():
    with pytest.raises(ModelError, match="1 of 2 rows"):
        scores(np.array([math.nan, math.nan, 1.0]), np.zeros(3, int), np.array([0, 0, 1]))


@pytest.mark.parametrize("lengths", [(0, 0, 0), (2, 1, 2), (2, 2, 3)])
def test_shapes_that_do_not_fit_are_refused(lengths):
    with pytest.raises(ValueError, match="one row of tokens"):
        scores(*(np.zeros(length, int) for length in lengths))


def test_each_text_has_its_perplexity():
    losses, _, owner = texts(np.random.default_rng(4), 8)
    expected = [math.exp(losses[owner == text].mean()) for text in range(8)]
    assert text_perplexities(losses, owner) == pytest.approx(np.array(expected))
    assert text_perplexities(np.array([1e4]), np.array([0]))[0] == math.inf


def test_the_accuracy_interval_equals_a_bootstrap_that_draws_texts():
    rng = np.random.default_rng(5)
    owner = np.repeat(np.arange(50), rng.integers(1, 60, 50))
    ranks = np.where(rng.random(len(owner)) < rng.beta(1, 1, 50)[owner], 0, 7)
    found = scores(np.ones(len(owner)), ranks, owner)["top1_accuracy"].interval
    hits, sizes = np.bincount(owner, ranks == 0), np.bincount(owner)
    drawn = [rng.integers(0, 50, 50) for _ in range(1000)]
    ends = np.quantile([hits[own].sum() / sizes[own].sum() for own in drawn], [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(ends, abs=0.012)
    assert found.method == "bootstrap"
