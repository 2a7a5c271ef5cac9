import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fm_notebook.contracts.results import Interval
from fm_notebook.metrics import intervals
from fm_notebook.metrics.intervals import clopper_pearson, mean_t, mover, newcombe, percentile, wilson

LEVELS = st.floats(0.01, 0.999)


@st.composite
def counts(draw):
    n = draw(st.integers(1, 10_000))
    return draw(st.integers(0, n)), n


def test_examples_in_the_docstrings_are_right():
    result = doctest.testmod(intervals)
    assert result.attempted > 2
    assert not result.failed


@given(counts(), LEVELS)
def test_wilson_equals_scipy(pair, level):
    k, n = pair
    found = wilson(k, n, level)
    theirs = stats.binomtest(k, n).proportion_ci(level, method="wilson")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(counts(), LEVELS)
def test_wilson_holds_the_proportion_and_stays_within_0_and_1(pair, level):
    k, n = pair
    found = wilson(k, n, level)
    assert found is not None
    assert 0 <= found.low <= k / n <= found.high <= 1


@given(counts())
def test_wilson_of_the_failures_is_the_mirror_image(pair):
    k, n = pair
    ours, mirrored = wilson(k, n), wilson(n - k, n)
    assert ours is not None
    assert mirrored is not None
    assert ours.low == pytest.approx(1 - mirrored.high, abs=1e-12)


@given(counts(), LEVELS)
def test_a_higher_level_gives_a_wider_wilson_interval(pair, level):
    k, n = pair
    narrow, wide = wilson(k, n, level), wilson(k, n, (1 + level) / 2)
    assert narrow is not None
    assert wide is not None
    assert wide.high - wide.low > narrow.high - narrow.low


@pytest.mark.parametrize(("p", "n"), [(0.5, 30), (0.05, 50), (0.98, 100), (0.764, 2000)])
def test_wilson_covers_about_as_often_as_it_says(p, n):
    """Exact coverage by the binomial law, not by chance."""
    held = [k for k in range(n + 1) if (found := wilson(k, n)) and found.low <= p <= found.high]
    assert stats.binom.pmf(held, n, p).sum() == pytest.approx(0.95, abs=0.03)


def test_nothing_is_known_of_no_trials():
    assert wilson(0, 0) is None


@pytest.mark.parametrize("arguments", [(3, 2), (-1, 2), (1, 2, 0.0), (1, 2, 1.0)])
def test_impossible_counts_and_levels_are_refused(arguments):
    with pytest.raises(ValueError, match="must lie"):
        wilson(*arguments)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50).filter(lambda v: np.std(v) > 1e-6), LEVELS)
def test_mean_interval_equals_scipy(values, level):
    found = mean_t(np.array(values), level)
    low, high = stats.t.interval(level, len(values) - 1, np.mean(values), stats.sem(values))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.inf], [1.0, math.nan]])
def test_a_mean_without_a_spread_has_no_interval(values):
    assert mean_t(np.array(values)) is None


def test_percentile_ends_are_quantiles_of_the_resamples():
    found = percentile(50.0, np.arange(101.0), 0.9)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((5.0, 95.0))
    assert found.method == "bootstrap"


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.floats(0, 1), LEVELS)
def test_a_percentile_interval_holds_the_value(resampled, value, level):
    found = percentile(value, np.array(resampled), level)
    assert found is None or found.low <= value <= found.high


def test_resamples_that_never_differ_give_no_interval():
    assert percentile(1.0, np.ones(10)) is None


@given(counts(), LEVELS)
def test_clopper_pearson_equals_scipy(pair, level):
    k, n = pair
    found = clopper_pearson(k, n, level)
    theirs = stats.binomtest(k, n).proportion_ci(level, method="exact")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize("n", [5, 29])
def test_clopper_pearson_never_covers_too_little(n):
    intervals_of = [clopper_pearson(k, n) for k in range(n + 1)]
    for p in (0.01, 0.2, 0.5, 0.83):
        held = [stats.binom.pmf(k, n, p) for k, i in enumerate(intervals_of) if i is not None and i.low <= p <= i.high]
        assert sum(held) >= 0.95


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_newcombe_reproduces_the_published_intervals(first, second, low, high):
    """Newcombe (1998), table II, method 10."""
    found = newcombe(first, second)
    assert found is not None
    assert (round(found.low, 4), round(found.high, 4)) == pytest.approx((low, high), abs=2e-4)


@given(counts(), counts(), LEVELS)
def test_newcombe_holds_the_difference_stays_within_1_and_turns_round(first, second, level):
    found, turned = newcombe(first, second, level), newcombe(second, first, level)
    assert found is not None
    assert turned is not None
    gap = first[0] / first[1] - second[0] / second[1]
    assert -1 - 1e-12 <= found.low <= gap + 1e-12
    assert gap - 1e-12 <= found.high <= 1 + 1e-12
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low), abs=1e-12)


def test_nothing_is_known_of_a_difference_without_trials():
    assert newcombe((0, 0), (1, 2)) is None
    assert clopper_pearson(0, 0) is None


def test_mover_of_normal_intervals_is_the_normal_interval_of_the_difference():
    one, other = (Interval(low=m - 1.96 * s, high=m + 1.96 * s, method="t") for m, s in ((3.0, 0.3), (1.0, 0.4)))
    found = mover(3.0, one, 1.0, other)
    assert (found.low, found.high) == pytest.approx((2 - 1.96 * 0.5, 2 + 1.96 * 0.5))


@pytest.mark.parametrize("method", [wilson, clopper_pearson])
def test_more_successes_than_trials_are_refused(method):
    with pytest.raises(ValueError, match="successes"):
        method(3, 2)
