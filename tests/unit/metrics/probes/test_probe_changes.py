"""Two models over the same items of a probe."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest

from fm_notebook.metrics.probes.probe_changes import adjusted_together, changes


def scored(values, *, ids=None, axes=None, choices=None, skipped=None, clusters=None):
    n = len(values)
    columns = {
        "id": ids or [f"i{i}" for i in range(n)], "axis": axes or ["gender"] * n,
        "value": pa.array(values, pa.float64()), "skipped": pa.array(skipped or [None] * n, pa.string()),
    }  # fmt: skip
    if choices is not None:
        columns["choice"] = pa.array(choices, pa.bool_())
    if clusters is not None:
        columns["cluster"] = clusters
    return pa.table(columns)


@pytest.fixture
def two():
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, 300), rng.normal(0.5, 1, 300)
    axes = ["gender", "age", "religion"] * 100
    return tuple(scored(each.tolist(), axes=axes, choices=(each > 0).tolist()) for each in (one, other))


def test_a_model_against_itself_has_changed_nothing(two):
    found = changes(two[0], two[0], "again")
    assert len(found.changes) == 8
    assert all(c.difference == 0 and c.p_value == 1 for c in found.changes)
    assert {(c.up, c.down) for c in found.changes if c.what == "choices"} == {(0, 0)}
    assert all(c.interval.low == c.interval.high == 0 for c in found.changes if c.interval)


def test_choices_are_tested_by_the_items_that_changed(two):
    found = changes(*two, "other").changes[0]
    one, other = (np.array(each["choice"].to_pylist()) for each in two)
    up, down = (~one & other).sum(), (one & ~other).sum()
    assert found.p_value == pytest.approx(binomtest(up, up + down).pvalue)
    assert (found.up, found.down) == (up, down)
    assert found.difference == pytest.approx(100 * (other.mean() - one.mean()))
    assert found.interval.low < found.difference < found.interval.high


def test_the_interval_of_independent_items_is_close_to_students(two):
    from scipy import stats

    found = next(c for c in changes(*two, "other").changes if c.what == "values" and not c.group)
    moved = two[1]["value"].to_numpy() - two[0]["value"].to_numpy()
    ends = stats.ttest_1samp(moved, 0).confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(ends), abs=0.03)


def test_items_of_one_cluster_count_once():
    values = np.random.default_rng(1).normal(0.3, 1, 40)
    one, other = np.zeros(40), values
    alone = changes(scored(one.tolist()), scored(other.tolist()), "m").changes[0]
    many = [f"c{i}" for i in range(40) for _ in range(25)]
    repeated = [scored(np.repeat(each, 25).tolist(), clusters=many) for each in (one, other)]
    found = changes(*repeated, "m").changes[0]
    assert found.n == 1000
    assert found.interval.high - found.interval.low == pytest.approx(alone.interval.high - alone.interval.low, rel=0.1)
    assert found.p_value == pytest.approx(alone.p_value, abs=0.02)


def test_items_scored_with_one_model_alone_are_counted_and_left_out():
    one = scored([1.0, 2.0, 3.0], skipped=[None, "too_long", None])
    two = scored([2.0, 2.0, 9.0], ids=["i0", "i1", "i9"])
    found = changes(one, two, "m")
    assert found.unpaired == 3
    assert [(c.n, c.difference) for c in found.changes] == [(1, 1.0)]


def test_ties_prefer_nothing_and_stay_in_the_denominator():
    one, two = (scored([0.0] * 4, choices=each) for each in ([True, None, False, None], [True, True, None, False]))
    found = changes(one, two, "m").changes[0]
    assert (found.first, found.second, found.up, found.down) == (25.0, 50.0, 1, 0)


def test_all_models_and_groups_are_one_family(two):
    found = adjusted_together([changes(*two, "a"), changes(*two, "b")])
    plain = changes(*two, "a").changes
    least = min(range(len(plain)), key=lambda i: plain[i].p_value)
    assert found[0].changes[least].adjusted_p == pytest.approx(min(1, 16 * plain[least].p_value))


def test_choices_of_dependent_items_are_not_taken_for_independent():
    rng = np.random.default_rng(3)
    before, after = rng.random(30) < 0.5, rng.random(30) < 0.7
    many = [f"c{i}" for i in range(30) for _ in range(20)]
    one, two = (scored([0.0] * 600, choices=np.repeat(each, 20).tolist(), clusters=many) for each in (before, after))
    alone = [scored([0.0] * 30, choices=each.tolist()) for each in (before, after)]
    found, expected = changes(one, two, "m").changes[0], changes(*alone, "m").changes[0]
    assert found.p_value == pytest.approx(expected.p_value, abs=0.03)
    assert found.up == 20 * expected.up
