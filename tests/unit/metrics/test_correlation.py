"""Pearson's correlation against SciPy."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from fm_notebook.metrics.correlation import correlation


@pytest.mark.parametrize("n", [4, 12, 60])
def test_value_p_and_interval_are_scipys(n):
    rng = np.random.default_rng(n)
    first = rng.normal(size=n)
    second = first + rng.normal(size=n)
    found, scipys = correlation("r", first, second, "group"), pearsonr(first, second)
    assert found is not None
    assert (found.value, found.p_value) == pytest.approx((scipys.statistic, scipys.pvalue))
    ends = scipys.confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((ends.low, ends.high), abs=1e-5)
    assert (found.n, found.group, found.neutral) == (n, "group", 0.0)


def test_what_60_pairs_show_is_seen_by_60_pairs_with_the_power_that_is_said():
    rng = np.random.default_rng(0)
    found = correlation("r", rng.normal(size=60), rng.normal(size=60))
    assert found is not None
    truth, hits = found.smallest, 0
    for _ in range(500):
        first = rng.normal(size=60)
        second = truth * first + np.sqrt(1 - truth**2) * rng.normal(size=60)
        hits += pearsonr(first, second).pvalue < 0.05
    assert 0.74 < hits / 500 < 0.86


@pytest.mark.parametrize(
    ("first", "second"), [([1, 2, 3], [1, 2, 3]), ([1, 1, 1, 1], [1, 2, 3, 4]), ([1, 2, 3, 4], [0, 0, 0, 0])]
)
def test_too_few_pairs_or_a_number_that_never_differs_have_none(first, second):
    assert correlation("r", np.array(first, float), np.array(second, float)) is None


def test_a_perfect_correlation_is_no_error():
    found = correlation("r", np.arange(5.0), np.arange(5.0) * 2)
    assert found is not None
    assert found.value == pytest.approx(1)
