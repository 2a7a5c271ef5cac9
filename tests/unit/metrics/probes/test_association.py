"""Effect sizes and permutation tests of associations, against SciPy and against the formulas word by word."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nct, permutation_test

from fm_notebook.metrics.probes import association

RNG = np.random.default_rng(0)
numbers = st.lists(st.floats(-1, 1), min_size=2, max_size=7).filter(lambda values: len(set(values)) > 1)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other) / math.sqrt(float(one @ one) * float(other @ other))


def difference_of_means(first, second, axis):
    return first.mean(axis) - second.mean(axis)


def test_associations_are_the_published_formula_word_by_word():
    words, a, b = (RNG.normal(size=(n, 5)) for n in (4, 3, 6))
    slow = [np.mean([cosine(word, each) for each in a]) - np.mean([cosine(word, each) for each in b]) for word in words]
    assert np.allclose(association.associations(words, a, b), slow, atol=1e-12)


def test_lengths_of_vectors_mean_nothing():
    words, a, b = (RNG.normal(size=(n, 5)) for n in (4, 3, 6))
    stretched = association.associations(words * RNG.uniform(1, 9, (4, 1)), a * 3, b * RNG.uniform(1, 9, (6, 1)))
    assert np.allclose(stretched, association.associations(words, a, b), atol=1e-12)


def test_the_deviation_of_the_effect_size_is_the_samples_over_both_sets():
    first, second = RNG.normal(0.5, 1, 8), RNG.normal(0, 1, 8)
    both = [*first, *second]
    mean = sum(both) / 16
    deviation = math.sqrt(sum((value - mean) ** 2 for value in both) / 15)  # 15, not 16: the trap is ddof = 0
    assert association.effect_size(first, second) == pytest.approx((first.mean() - second.mean()) / deviation, abs=1e-12)


@pytest.mark.parametrize("size", [2, 5, 8])
def test_the_exact_p_value_is_scipys(size):
    first, second = RNG.normal(0.4, 1, size), RNG.normal(0, 1, size)
    p, is_exact = association.one_sided_p(first, second, seed=0)
    scipys = permutation_test(
        (first, second), difference_of_means, vectorized=True, n_resamples=math.comb(2 * size, size), alternative="greater"
    )
    assert is_exact
    assert p == pytest.approx(scipys.pvalue, abs=1e-12)


def test_words_in_sets_of_different_size_are_tested_as_scipy_does():
    first, second = RNG.normal(0.4, 1, 5), RNG.normal(0, 1, 7)
    scipys = permutation_test(
        (first, second), difference_of_means, vectorized=True, n_resamples=math.comb(12, 5), alternative="greater"
    )
    assert association.one_sided_p(first, second, seed=0)[0] == pytest.approx(scipys.pvalue, abs=1e-12)


def test_ties_count_as_being_as_great():
    assert association.one_sided_p(np.array([1.0, 0.0]), np.array([1.0, 0.0]), seed=0) == (5 / 6, True)


def test_drawn_p_values_come_near_the_exact_one_and_are_never_0(monkeypatch):
    first, second = RNG.normal(0.6, 1, 7), RNG.normal(0, 1, 7)
    exact, _ = association.one_sided_p(first, second, seed=0)
    monkeypatch.setattr(association, "EXACT", 0)
    drawn, is_exact = association.one_sided_p(first, second, seed=0)
    assert not is_exact
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / association.DRAWS))
    far, _ = association.one_sided_p(np.arange(100.0, 130), np.arange(30.0), seed=0)
    assert far == 1 / (1 + association.DRAWS)


@given(numbers, numbers)
def test_exchanging_the_target_sets_turns_the_sign(first, second):
    one, other = np.array(first), np.array(second)
    d, back = association.effect_size(one, other), association.effect_size(other, one)
    assert d == pytest.approx(-back, abs=1e-9, nan_ok=True)
    p, q = association.one_sided_p(one, other, seed=0)[0], association.one_sided_p(other, one, seed=0)[0]
    assert p + q >= 1  # what ties is in both
    assert 0 < p <= 1


@given(numbers, numbers, st.floats(-3, 3), st.floats(0.1, 5))
def test_the_effect_size_has_no_unit_and_is_bounded(first, second, shift, scale):
    one, other = np.array(first), np.array(second)
    d = association.effect_size(one, other)
    if not math.isnan(d) and association.deviation(one, other) > 1e-6:
        assert association.effect_size(one * scale + shift, other * scale + shift) == pytest.approx(d, abs=1e-6)
        n, m = len(one), len(other)
        assert abs(d) <= math.sqrt((n + m - 1) * (n + m) / (n * m)) + 1e-9  # 2 and a bit for equal sizes


def test_equal_associations_have_no_effect_size():
    same = np.full(4, 0.1) + np.array([0, 1e-17, 0, 0])
    assert math.isnan(association.effect_size(same, same))
    assert association.effect_interval(same, same) is None


@pytest.mark.parametrize("shift", [-1.5, 0.0, 0.3, 2.0])
def test_at_the_ends_of_the_interval_the_noncentral_t_has_its_tails(shift):
    first, second = RNG.normal(shift, 1, 8), RNG.normal(0, 1, 12)
    found = association.effect_interval(first, second)
    assert found is not None
    pooled = math.sqrt((7 * first.var(ddof=1) + 11 * second.var(ddof=1)) / 18)
    root = math.sqrt(8 * 12 / 20)
    t = (first.mean() - second.mean()) / pooled * root
    share = 8 / 20
    tails = []
    for d in (found.low, found.high):
        delta = d / math.sqrt(1 - d * d * share * (1 - share))  # back from the deviation of both sets to that within them
        tails.append(nct.cdf(t, 18, delta * root))
    assert tails == pytest.approx([0.975, 0.025], abs=1e-6)
    assert found.low < association.effect_size(first, second) < found.high


def test_the_interval_of_normal_associations_holds_the_truth_about_as_often_as_it_says():
    held = 0
    for _ in range(400):
        first, second = RNG.normal(0.8, 1, 8), RNG.normal(0, 1, 8)
        found = association.effect_interval(first, second)
        assert found is not None
        held += found.low <= 0.8 / math.sqrt(1 + 0.16) <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_means_of_units_stand_in_the_order_of_the_units():
    found = association.unit_means(np.array([1.0, 2, 3, 4, 5]), np.array(["z", "a", "z", "m", "a"]))
    assert found.tolist() == [2.0, 3.5, 4.0]
