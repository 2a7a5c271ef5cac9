"""Runs that differ by their seed alone are one way of training."""

import numpy as np
import pytest

from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.metrics.grouping import grouping
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.session.seeds import Entry, over_seeds

N = 120
TRUTH = np.arange(N) % 2
GROUPS = grouping("g", ["a", "b", "b"] * (N // 3))


def spec(seed, **changes):
    data = DataRef(source="frame", kind="value", fingerprint="f" * 64)
    return FinetuneSpec(model=ModelRef(source="m", kind="folder", location="/m"), train=data, seed=seed, **changes)


def entry(name, seed, wrong, **changes):
    """A run that is wrong in the rows `wrong`."""
    said = TRUTH.copy()
    said[wrong] = 1 - said[wrong]
    return Entry(name, spec(seed, **changes), Predictions.of(TRUTH, said, ["no", "yes"], positive="yes"))


def entries(seeds=3):
    plain = [entry(f"plain.{s}", s, np.arange(20 + s)) for s in range(seeds)]
    fair = [entry(f"fair.{s}", s, np.arange(100, 110 + s), epochs=1.0, base="plain.0") for s in range(seeds)]
    return [each for pair in zip(plain, fair, strict=True) for each in pair]  # in no order


def test_means_over_the_seeds_of_either_way_are_held_against_each_other():
    (found,) = over_seeds(entries(), [GROUPS])
    assert (found.first, found.second) == (["plain.0", "plain.1", "plain.2"], ["fair.0", "fair.1", "fair.2"])
    change = found.over_all.overall.get("accuracy")
    assert change.first == pytest.approx(1 - 21 / N)
    assert change.second == pytest.approx(1 - 11 / N)
    assert change.difference == pytest.approx(10 / N)
    assert change.interval.low < 10 / N < change.interval.high
    assert found.over_all.seeds_resampled
    assert [each.columns for each in found.by] == [["g"]]
    of_a = found.by[0].groups[0]
    expected = np.mean([np.isin(np.arange(N)[::3], range(20 + s)).mean() for s in range(3)])
    assert of_a.get("accuracy").first == pytest.approx(1 - expected)


def test_two_seeds_a_side_are_averaged_and_the_interval_is_of_these_models():
    (found,) = over_seeds(entries(2), [])
    assert not found.over_all.seeds_resampled
    assert found.over_all.overall.get("accuracy").first == pytest.approx(1 - 20.5 / N)


@pytest.mark.parametrize(
    "given",
    [
        [entry("a", 0, [0]), entry("b", 0, [1], epochs=1.0)],  # one seed of each
        [entry("a", 0, [0]), entry("a2", 1, [1]), entry("a3", 2, [2])],  # one way alone
        [entry("a", 0, [0]), entry("a2", 1, [1], epochs=1.0), entry("a3", 2, [2], epochs=2.0)],  # three ways
    ],
)
def test_without_several_seeds_of_a_way_or_with_one_way_there_is_nothing_to_average(given):
    assert over_seeds(given, []) == []


def test_a_model_that_is_no_run_is_a_way_by_itself():
    model = entry("m", 0, [5])._replace(spec=None)
    (found,) = over_seeds([model, entry("a", 0, [0]), entry("a2", 1, [1])], [])
    assert (found.first, found.second) == (["m"], ["a", "a2"])


def test_runs_of_one_seed_are_no_seeds_of_each_other():
    assert over_seeds([entry("a", 0, [0]), entry("again", 0, [1]), entry("b", 0, [1], epochs=1.0)], []) == []
