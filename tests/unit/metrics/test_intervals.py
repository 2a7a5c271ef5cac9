import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fm_notebook.metrics import intervals
from fm_notebook.metrics.intervals import mean_t, percentile, wilson

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
