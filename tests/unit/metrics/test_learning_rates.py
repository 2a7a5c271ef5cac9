"""Rules of thumb on curves whose answer is known."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.metrics import learning_rates as rules

RATES = np.logspace(-6, -1, 51)  # ten steps a decade
AT = {round(float(np.log10(rate)), 6): i for i, rate in enumerate(RATES)}


def logistic(middle: float) -> np.ndarray:
    """Falls fastest at ``10**middle``."""
    return 2 - 1 / (1 + np.exp(-4 * (np.log10(RATES) - middle)))


@pytest.mark.parametrize("middle", [-4.0, -3.0, -2.0])
def test_the_steepest_descent_of_a_logistic_fall_is_in_its_middle(middle):
    found = rules.steepest(RATES, logistic(middle))
    assert abs(np.log10(found) - middle) <= 0.1 + 1e-9  # between its two neighbours


@pytest.mark.parametrize("lowest", [-4.0, -2.5])
def test_a_tenth_of_the_minimum_of_a_parabola(lowest):
    assert rules.minimum_tenth(RATES, (np.log10(RATES) - lowest) ** 2) == pytest.approx(10 ** (lowest - 1))


@given(st.lists(st.integers(0, 50), min_size=2, max_size=10, unique=True))
def test_the_valley_lies_halfway_through_the_second_third_of_the_longest_fall(values):
    losses = np.asarray(values, float)
    n = len(losses)
    falls = [c for k in range(1, n + 1) for c in combinations(range(n), k) if all(np.diff(losses[list(c)]) < 0)]
    longest = max(map(len, falls))
    end = min(c[-1] for c in falls if len(c) == longest)
    start = max(0, end - longest)
    third = (end - start) / 3
    assert rules.valley(np.arange(n) + 1.0, losses) == start + int(third) + int(third / 2) + 1


def test_smoothing_keeps_a_constant_and_weighs_the_past():
    assert rules.smooth([3.0] * 20) == pytest.approx([3.0] * 20)
    values = np.random.default_rng(0).normal(size=30)
    weights = rules.DECAY ** np.arange(29, -1, -1)
    assert rules.smooth(values.tolist())[-1] == pytest.approx(float(weights @ values / weights.sum()))


@pytest.mark.parametrize(("smoothed", "expected"), [([1.0, 0.5, 1.9], False), ([1.0, 0.5, 2.1], True), ([1.0, np.nan], True),
                                                    ([1.0, np.inf], True), ([], False)])  # fmt: skip
def test_divergence_is_four_times_the_lowest_or_no_number(smoothed, expected):
    assert rules.has_diverged(smoothed) is expected


def test_no_rule_speaks_of_a_curve_that_never_falls_or_is_too_short():
    assert rules.suggestions(RATES.tolist(), np.linspace(1, 2, 51).tolist()) == {}
    assert rules.suggestions([1e-3] * 9, [1.0] * 9) == {}


def test_the_young_start_the_last_steps_and_what_is_no_number_are_left_out():
    losses = logistic(-3.0)
    losses[:3], losses[-2:] = -9.0, np.nan
    found = rules.suggestions(RATES.tolist(), losses.tolist())
    assert abs(np.log10(found["steepest"]) + 3.0) <= 0.1 + 1e-9
    assert set(found) == {"steepest", "valley", "minimum_tenth"}
