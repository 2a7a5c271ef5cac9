import doctest

import numpy as np
import pytest
from scipy import stats

from fm_notebook.contracts.tpr_gaps import TprGaps
from fm_notebook.metrics import tpr_gaps as module
from fm_notebook.metrics.grouping import grouping
from fm_notebook.metrics.multiplicity import holm
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.tpr_gaps import tpr_gaps

LABELS = [f"job {i}" for i in range(5)]


def made(rng, n, effect=0.0):
    """Women are many in late classes; a positive effect has a group found more often where it is at home."""
    truth = rng.integers(0, 5, n)
    woman = rng.random(n) < (truth + 1) / 6
    skill = 0.7 + effect * (truth - 2) * np.where(woman, 1, -1)
    predicted = np.where(rng.random(n) < skill, truth, (truth + 1) % 5)
    return Predictions.of(truth, predicted, LABELS), np.where(woman, "w", "m")


def test_examples_in_the_docstrings_are_right():
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_gaps_and_their_root_mean_square_equal_their_definition():
    given, names = made(np.random.default_rng(0), 2000, 0.05)
    found = tpr_gaps(given, grouping("g", names))
    women = names == "w"
    by_definition = [
        (given.right[(given.truth == y) & women].mean() - given.right[(given.truth == y) & ~women].mean()) for y in range(5)
    ]
    men, own = found.groups
    assert own.group == ("w",)
    assert [gap.difference for gap in own.gaps] == pytest.approx(by_definition)
    assert own.rms.value == pytest.approx(np.sqrt(np.mean(np.square(by_definition))))
    assert [gap.difference for gap in men.gaps] == pytest.approx([-gap for gap in by_definition])
    share = [women[given.truth == y].mean() for y in range(5)]
    assert own.correlation == pytest.approx(stats.pearsonr(by_definition, share).statistic)
    assert own.correlation > 0.8


def test_the_rest_is_all_other_known_groups():
    given, names = made(np.random.default_rng(1), 3000)
    three = names.astype(object)
    three[::3], three[1::7] = "x", None
    found = tpr_gaps(given, grouping("g", three))
    at = next(each for each in found.groups if each.group == ("x",))
    rest = np.array([name is not None and name != "x" for name in three])
    y = given.truth == 2
    assert at.gaps[2].difference == pytest.approx(given.right[y & (three == "x")].mean() - given.right[y & rest].mean())
    assert at.gaps[2].n_rest == (y & rest).sum()
    assert (None,) not in [each.group for each in found.groups] + found.small


def test_the_p_value_is_that_of_permuting_groups_within_classes():
    rng = np.random.default_rng(2)
    given, names = made(rng, 600, 0.03)
    found = next(each for each in tpr_gaps(given, grouping("g", names)).groups if each.group == ("w",))
    women, drawn = names == "w", []
    for _ in range(1500):
        mixed = women.copy()
        for y in range(5):
            mixed[given.truth == y] = rng.permutation(mixed[given.truth == y])
        own = [given.truth == y for y in range(5)]
        drawn.append(np.sqrt(np.mean([(given.right[o & mixed].mean() - given.right[o & ~mixed].mean()) ** 2 for o in own])))
    assert found.by_chance == pytest.approx(np.mean(drawn), rel=0.06)
    assert found.p_value == pytest.approx(np.mean(np.array(drawn) >= found.rms.value), abs=0.05)


def test_classes_with_few_rows_are_left_out_and_named():
    given = Predictions.of([0] * 40 + [1] * 40 + [2] * 4, [0] * 84, ["a", "b", "c"])
    found = tpr_gaps(given, grouping("g", ["x", "y"] * 42)).groups[0]
    assert found.left_out == ["c"]
    assert [gap.label for gap in found.gaps] == ["a", "b"]


def test_small_groups_are_named():
    given = Predictions.of([0, 1] * 40, [0, 1] * 40, ["a", "b"])
    found = tpr_gaps(given, grouping("g", ["x"] * 70 + ["y"] * 10))
    assert found.small == [("y",)]
    assert found.groups[0].gaps == []  # the rest is too small as well
    assert found.groups[0].rms is None


def test_p_values_are_adjusted_over_classes_and_groups_and_the_result_survives_json():
    given, names = made(np.random.default_rng(3), 800, 0.04)
    found = tpr_gaps(given, grouping("g", names))
    gaps = [gap for each in found.groups for gap in each.gaps]
    assert [g.adjusted_p for g in gaps] == pytest.approx(holm(np.array([g.p_value for g in gaps])).tolist())
    assert TprGaps.model_validate_json(found.model_dump_json()) == found
    assert len(found.to_pandas()) == len(gaps) == 10
