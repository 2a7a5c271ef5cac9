import doctest

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from fm_notebook.metrics.intervals import clopper_pearson, wilson
from fm_notebook.metrics.probes import pair_alignment, preferences
from fm_notebook.metrics.probes.preferences import (
    adjusted_by_name,
    clustered_preference,
    mean_difference,
    pairs_needed,
    preference,
)


@pytest.mark.parametrize("module", [preferences, pair_alignment])
def test_examples_computed_by_hand(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(("prefers", "n", "interval"), [(48, 87, wilson), (12, 20, clopper_pearson)])
def test_a_preference_has_the_interval_of_its_size_and_the_exact_test(prefers, n, interval):
    found, expected = preference("s", prefers, n), interval(prefers, n)
    assert (found.interval.low, found.interval.high) == pytest.approx((100 * expected.low, 100 * expected.high))
    assert found.p_value == pytest.approx(binomtest(prefers, n).pvalue)


def test_ties_stay_in_the_share_and_are_left_out_of_the_test():
    found = preference("s", 6, 10, ties=3)
    assert (found.value, found.n, found.ties) == (60.0, 10, 3)
    assert found.p_value == pytest.approx(binomtest(6, 7).pvalue)
    assert preference("s", 0, 4, ties=4).p_value == 1.0


@pytest.mark.parametrize(("share", "n"), [(0.55, 805), (0.575, 365), (0.6, 199), (0.65, 90)])
def test_the_power_is_that_of_the_reference(share, n):
    """The reference gives the first number that suffices; ours is the one from which on all do, a step or two above."""
    assert n <= pairs_needed(share) <= n * 1.08 + 3


@pytest.mark.parametrize(("n", "smallest"), [(60, 67.7), (84, 65.1), (105, 63.5), (262, 58.6), (516, 56.2), (1508, 53.6)])
def test_the_smallest_share_that_so_many_pairs_show_is_that_of_the_reference(n, smallest):
    """The reference searches whole numbers of pairs, and the exact test's power is not monotone: to 1.6 points."""
    assert 50 + preferences.smallest_deviation(n) == pytest.approx(smallest, abs=1.6)


def test_independent_pairs_have_wilsons_interval_whether_or_not_they_are_told_as_clusters():
    rng = np.random.default_rng(1)
    prefers = rng.random(400) < 0.6
    found = clustered_preference("s", prefers, np.zeros(400, bool), [np.arange(400)])
    plain = preference("s", int(prefers.sum()), 400)
    assert found.value == plain.value
    assert found.interval.low == pytest.approx(plain.interval.low, abs=0.1)
    assert np.log10(found.p_value) == pytest.approx(np.log10(plain.p_value), abs=0.2)


@pytest.mark.slow
def test_the_test_of_clustered_pairs_rejects_as_often_as_it_says_where_nothing_is():
    """32 templates and 24 terms, whose effects are as large as the noise; taken as independent, far too many are found."""
    rng, rejected, naive = np.random.default_rng(0), 0, 0
    template, term = np.repeat(np.arange(32), 4), np.arange(128) % 24
    for _ in range(400):
        latent = rng.normal(size=32)[template] + rng.normal(size=24)[term] + rng.normal(size=128)
        prefers = latent > 0
        rejected += clustered_preference("s", prefers, np.zeros(128, bool), [template, term]).p_value < 0.05
        naive += binomtest(int(prefers.sum()), 128).pvalue < 0.05
    assert 0.01 <= rejected / 400 <= 0.09
    assert naive / 400 > 0.15


def test_pairs_that_all_prefer_the_stereotype_count_as_their_clusters():
    found = clustered_preference("s", np.ones(40, bool), np.zeros(40, bool), [np.arange(40) // 4])
    assert (found.value, found.n) == (100.0, 40)
    assert found.interval.low < 80


def test_ties_alone_prefer_nothing():
    found = clustered_preference("s", np.zeros(8, bool), np.ones(8, bool), [np.arange(8) // 2])
    assert (found.ties, found.p_value) == (8, 1.0)


def test_a_mean_difference_has_students_test():
    values = np.random.default_rng(0).normal(0.3, 1, 50)
    found, expected = mean_difference("m", values), ttest_1samp(values, 0)
    assert found.p_value == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))


def test_holm_goes_over_the_groups_of_one_name_and_leaves_the_whole_alone():
    made = [
        preference("s", 30, 40),
        *(preference("s", k, 40, group=g) for k, g in ((34, "a"), (27, "b"))),
        preference("t", 30, 40, group="a"),
    ]
    found = adjusted_by_name(made)
    assert found[0].adjusted_p is None
    assert found[1].adjusted_p == pytest.approx(2 * made[1].p_value)
    assert found[2].adjusted_p == pytest.approx(made[2].p_value)
    assert found[3].adjusted_p == pytest.approx(made[3].p_value)


def test_pairs_that_happen_to_be_alike_in_all_clusters_count_as_no_more_than_they_are():
    """Each template prefers the stereotype in two of four: what is seen between templates is no spread at all."""
    found = clustered_preference("s", np.tile([True, False], 40), np.zeros(80, bool), [np.arange(80) // 4])
    plain = preference("s", 40, 80)
    assert found.interval.low <= plain.interval.low
    assert found.smallest == pytest.approx(plain.smallest, abs=0.5)
    assert found.p_value == 1.0


def test_a_mean_difference_says_what_it_could_have_shown():
    values = np.random.default_rng(0).normal(0.0, 1, 100)
    found = mean_difference("m", values)
    assert found.smallest == pytest.approx(2.8016 * values.std(ddof=1) / 10, rel=1e-4)
    assert found.needed == pytest.approx(100 * (found.smallest / found.value) ** 2, abs=1)
