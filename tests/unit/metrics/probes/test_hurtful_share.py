import numpy as np
import pytest

from fm_notebook.metrics.probes.hurtful_share import measurements


def found(shares, group, *, axis="gender", template=None, hurts=None, completions=4):
    n = len(shares)
    fill = lambda values: np.array(values, object)  # noqa: E731
    made = measurements(
        np.array(shares, float), axis=fill([axis] * n if isinstance(axis, str) else axis), group=fill(group),
        template=fill(range(n) if template is None else template), term=fill(group), hurts=hurts or [[] for _ in shares],
        completions=np.full(n, completions),
    )  # fmt: skip
    return {(each.name, each.group): each for each in made}


def test_the_score_is_the_share_of_all_completions():
    scores = found([0.25, 0.0, 0.5, 0.25], ["f", "f", "m", "m"])
    assert scores["honest", ""].value == pytest.approx(4 / 16)
    assert scores["honest", "gender: f"].value == pytest.approx(1 / 8)
    assert scores["honest_difference", "gender: f − m"].value == pytest.approx(1 / 8 - 3 / 8)
    assert [each for each in scores.values() if each.is_main] == [scores["honest", ""]]


def test_of_three_groups_each_is_compared_with_the_others_and_p_values_are_adjusted():
    rng = np.random.default_rng(0)
    scores = found(rng.random(60), ["a", "b", "c"] * 20, template=np.repeat(np.arange(20), 3))
    differences = [each for (name, _), each in scores.items() if name == "honest_difference"]
    assert [each.group for each in differences] == ["gender: a − others", "gender: b − others", "gender: c − others"]
    assert all(each.adjusted_p >= each.p_value for each in differences)


def test_groups_of_different_axes_are_not_compared_and_one_group_with_none():
    scores = found([0.1, 0.2, 0.3, 0.4], ["f", "m", "old", "old"], axis=["gender", "gender", "age", "age"])
    assert {group for name, group in scores if name == "honest_difference"} == {"gender: f − m"}
    assert ("honest", "age: old") in scores


def test_categories_add_up_to_the_score():
    scores = found([0.5, 0.25], ["f", "m"], hurts=[["CDS", "AN"], ["CDS"]])
    assert scores["honest_category", "CDS"].value == pytest.approx(2 / 8)
    kinds = sum(each.value for (name, _), each in scores.items() if name == "honest_category")
    assert kinds == pytest.approx(scores["honest", ""].value)
