import doctest
import math

import numpy as np
import pytest
from scipy import stats

from fm_notebook.metrics import two_way_clusters as module
from fm_notebook.metrics.intervals import wilson
from fm_notebook.metrics.two_way_clusters import Estimate, difference_of, mean_of, ratio_of


def test_examples_in_the_docstrings_are_right():
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_each_item_its_own_cluster_gives_students_interval():
    values = np.random.default_rng(0).normal(size=40)
    found = mean_of(values, [np.arange(40)])
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert found.interval().low == pytest.approx(expected.low)
    assert found.interval().high == pytest.approx(expected.high)
    assert found.p_value() == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_equal_clusters_in_one_way_give_the_t_test_of_their_means():
    rng = np.random.default_rng(1)
    values = (rng.normal(size=12)[:, None] + rng.normal(size=(12, 5))).ravel()
    found = mean_of(values, [np.repeat(np.arange(12), 5)])
    assert found.p_value() == pytest.approx(stats.ttest_1samp(values.reshape(12, 5).mean(1), 0).pvalue)


def test_the_two_way_variance_is_that_of_the_slow_double_sum():
    rng = np.random.default_rng(2)
    rows, columns = np.repeat(np.arange(8), 6), np.tile(np.arange(6), 8)
    values = rng.normal(size=8)[rows] + rng.normal(size=6)[columns] + rng.normal(size=48)
    u = (values - values.mean()) / 48
    same = lambda codes: sum(u[i] * u[j] for i in range(48) for j in range(48) if codes[i] == codes[j])  # noqa: E731
    a, b, ab = 8 / 7 * same(rows), 6 / 5 * same(columns), 48 / 47 * same(list(zip(rows, columns, strict=True)))
    assert mean_of(values, [rows, columns]).variance == pytest.approx(max(a + b - ab, a, b))


def covers(rng, clusters_of):
    a, b = rng.normal(size=30), rng.normal(size=20)
    rows, columns = np.repeat(np.arange(30), 20), np.tile(np.arange(20), 30)
    values = a[rows] + b[columns] + rng.normal(size=600)
    interval = mean_of(values, clusters_of(rows, columns)).interval()
    return interval.low <= 0 <= interval.high


def test_templates_and_terms_that_are_both_drawn_need_both_ways():
    rng = np.random.default_rng(3)
    two = np.mean([covers(rng, lambda rows, columns: [rows, columns]) for _ in range(400)])
    one = np.mean([covers(rng, lambda rows, _: [rows]) for _ in range(400)])
    none = np.mean([covers(rng, lambda rows, _: [np.arange(len(rows))]) for _ in range(400)])
    assert 0.92 <= two <= 0.98
    assert one < 0.85
    assert none < 0.5


def test_a_way_with_one_cluster_is_left_out_and_one_cluster_in_all_tells_nothing():
    values = np.array([1.0, 2.0, 4.0])
    assert mean_of(values, [np.arange(3), np.zeros(3)]) == mean_of(values, [np.arange(3)])
    alone = mean_of(values, [np.zeros(3)])
    assert alone.interval() is None
    assert alone.p_value() is None
    assert alone.smallest is None


def test_the_variance_is_never_below_that_of_one_way_alone():
    values = np.array([1.0, -1.0, -1.0, 1.0])  # the interaction alone: a plain difference of the three is negative
    assert mean_of(values, [np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])]).variance >= 0


def test_a_share_of_independent_items_has_about_wilsons_interval():
    hits = np.r_[np.ones(30), np.zeros(70)]
    found, expected = mean_of(hits, [np.arange(100)]).share_interval(), wilson(30, 100)
    assert found.low == pytest.approx(expected.low, abs=0.003)
    assert found.high == pytest.approx(expected.high, abs=0.003)


def test_where_all_items_are_alike_the_clusters_are_the_trials():
    interval = mean_of(np.zeros(100), [np.repeat(np.arange(10), 10)]).share_interval()
    assert interval.low == 0
    assert 0.2 < interval.high < 0.45  # of 100 items it would be below .04


def test_a_difference_of_groups_in_the_same_clusters_is_sharper_than_of_groups_in_others():
    rng = np.random.default_rng(4)
    templates, first = np.tile(np.arange(20), 2), np.repeat([True, False], 20)
    values = 3 * rng.normal(size=20)[templates] + first + 0.1 * rng.normal(size=40)
    paired, apart = difference_of(values, first, [templates]), difference_of(values, first, [np.arange(40)])
    assert paired.value == pytest.approx(values[:20].mean() - values[20:].mean())
    assert paired.variance < apart.variance / 50
    assert paired.variance == pytest.approx((values[:20] - values[20:]).var(ddof=1) / 20)


def test_a_ratio_counts_only_what_is_counted():
    found = ratio_of(np.array([1, 1, 0, 0]), np.array([1, 1, 1, 0]), [np.arange(4)])
    assert found.value == pytest.approx(2 / 3)


def test_the_smallest_deviation_is_found_with_the_power_that_is_said():
    rng = np.random.default_rng(5)
    samples = rng.normal(loc=0.0, size=(2000, 200))
    smallest = mean_of(samples[0], [np.arange(200)]).smallest
    found = np.mean([mean_of(each + smallest, [np.arange(200)]).p_value() < 0.05 for each in samples])
    assert found == pytest.approx(0.8, abs=0.06)


def test_no_way_and_three_ways_are_refused():
    with pytest.raises(ValueError, match="one way or two"):
        mean_of(np.zeros(2), [])


def test_a_value_at_the_neutral_one_is_no_evidence():
    assert Estimate(0.0, math.nan, 1).p_value() == 1.0
