"""The change of a gap between groups equals that of a slow, plain bootstrap, and leaves out what may not be compared."""

import doctest

import numpy as np
import pytest

from fm_notebook.metrics import gap_changes as tested
from fm_notebook.metrics.gap_changes import gap_changes
from fm_notebook.metrics.grouping import grouping
from fm_notebook.metrics.groups import by_group
from fm_notebook.metrics.predictions import Predictions

SLOW = {
    "demographic_parity": lambda truth, given, score: given.mean(),
    "equal_opportunity": lambda truth, given, score: given[truth == 1].mean(),
    "accuracy": lambda truth, given, score: (truth == given).mean(),
}


def model(truth, scores):
    given = np.c_[1 - scores, scores]
    return Predictions.of(truth, (scores > 0.5).astype(int), ["no", "yes"], probabilities=given, positive="yes")


def two(rng, names, unfair=(1.2, 0.2)):
    """Two models that see group "b" worse, by as much as `unfair` says."""
    truth = rng.integers(0, 2, len(names))
    signal = (2 * truth - 1) * 1.0 + rng.normal(size=len(names))
    worse = np.array(names) == "b"
    return [model(truth, 1 / (1 + np.exp(-(signal - each * worse + 0.3 * rng.normal(size=len(names)))))) for each in unfair]


def changes(first, second, groups, **settled):
    rows = grouping("g", groups)
    tables = tuple(by_group(each, rows, **settled) for each in (first, second))
    return {each.name: each for each in gap_changes(first, second, rows, tables)}


def test_the_example_in_the_docstring_is_right():
    result = doctest.testmod(tested)
    assert result.attempted
    assert not result.failed


def test_changes_and_intervals_equal_those_of_a_plain_loop(plain_macro_f1, plain_auc):
    slower = {
        "macro_f1": lambda truth, given, score: plain_macro_f1(truth, given),
        "auc": lambda truth, given, score: plain_auc(truth == 1, score),
    }
    rng = np.random.default_rng(0)
    names = rng.choice(["a", "b", "c"], 300, p=[0.5, 0.3, 0.2])
    first, second = two(rng, names)
    found = changes(first, second, names)
    inside = [np.flatnonzero(names == name) for name in "abc"]

    def gap(each, metric, rows):
        return np.ptp([metric(each.truth[at], each.predicted[at], each.scores[at]) for at in rows])

    drawn = [[rng.choice(at, len(at)) for at in inside] for _ in range(3000)]
    for name, metric in (SLOW | slower).items():
        change = found[name]
        assert change.first == pytest.approx(gap(first, metric, inside))
        assert change.difference == pytest.approx(gap(second, metric, inside) - gap(first, metric, inside))
        resampled = [gap(second, metric, rows) - gap(first, metric, rows) for rows in drawn[: 150 if name in slower else None]]
        low, high = (2 * change.difference - end for end in np.quantile(resampled, [0.975, 0.025]))
        assert (change.interval.low, change.interval.high) == pytest.approx((low, high), abs=0.1 if name in slower else 0.035), (
            name
        )


def test_equalised_odds_is_the_worse_of_both_rates():
    rng = np.random.default_rng(1)
    names = rng.choice(["a", "b"], 240)
    found = changes(*two(rng, names), names)
    worse = [max(getattr(found[name], side) for name in ("equal_opportunity", "fpr")) for side in ("first", "second")]
    assert [found["equalized_odds"].first, found["equalized_odds"].second] == worse


def test_a_model_against_itself_changes_no_gap():
    rng = np.random.default_rng(2)
    names = rng.choice(["a", "b"], 120)
    first, _ = two(rng, names)
    for change in changes(first, first, names).values():
        assert change.difference == 0
        assert change.interval.low < 0 < change.interval.high  # nothing was seen to vary: Wilson's, not [0, 0]


def test_groups_that_are_small_or_stand_on_few_rows_are_named_and_in_no_gap():
    rng = np.random.default_rng(3)
    names = np.array(["a"] * 100 + ["b"] * 100 + ["c"] * 10)
    first, second = two(rng, names)
    found = changes(first, second, names)
    assert found["accuracy"].n_groups == 2
    assert found["accuracy"].left_out == [("c",)]
    alone = np.array(["a"] * 205 + ["c"] * 5)
    assert changes(first, second, alone) == {}


def test_groups_are_drawn_apart_from_one_another():
    """Groups of one size must not get the same draws, or their difference would hardly vary."""
    truth = np.tile([0, 1] * 30, 2)
    scores = np.tile(np.linspace(0.05, 0.95, 60), 2)
    first, second = model(truth, scores), model(truth, scores[::-1])
    names = ["a"] * 60 + ["b"] * 60
    change = changes(first, second, names)["accuracy"]
    assert change.interval.high - change.interval.low > 0.05
