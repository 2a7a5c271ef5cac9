"""Weights are those of the closed form, and under them the label says nothing about the group."""

import numpy as np
import pyarrow as pa
import pytest

from fm_notebook.contracts.protocols import TrainingRows
from fm_notebook.mitigations.reweighing import Spec, mitigation, weights

GROUPS = ["w"] * 10 + ["m"] * 20
LABELS = [1] * 2 + [0] * 8 + [1] * 15 + [0] * 5  # 2 of 10 women, 15 of 20 men


def rows(labels=LABELS, names=("no", "yes"), **groups) -> TrainingRows:
    columns = {f"by.{name}": values for name, values in groups.items()}
    table = pa.table({"text": ["x"] * len(labels), "label": pa.array(labels, pa.int32()), "row": range(len(labels)), **columns})
    return TrainingRows(table, np.ones(len(labels)), list(names))


def apply(given, **fields):
    return mitigation.apply(given, Spec(**fields), seed=0)


def share(given: TrainingRows, found: np.ndarray, column: str, group, label: int) -> float:
    """P(label | group) in the weighted rows."""
    inside = np.array(given.rows[f"by.{column}"].to_pylist(), object) == group
    return found[inside & (given.rows["label"].to_numpy() == label)].sum() / found[inside].sum()


def test_weights_are_those_of_a_hand_made_table():
    found, _ = apply(rows(gender=GROUPS), by="gender")
    n, women, men, yes, no = 30, 10, 20, 17, 13  # w(g, y) = n_g n_y / (n n_gy)
    expected = [women * yes / (n * 2)] * 2 + [women * no / (n * 8)] * 8 + [men * yes / (n * 15)] * 15 + [men * no / (n * 5)] * 5
    assert found.weights == pytest.approx(expected)
    assert found.weights.mean() == pytest.approx(1)


def test_they_are_those_of_aif360_for_two_groups_and_two_labels():
    """Its formula, of ``Reweighing.fit``: ``w_p_fav = n_fav n_p / (n n_p_fav)`` and so on."""
    found, _ = apply(rows(gender=GROUPS), by="gender")
    privileged, favourable = np.array(GROUPS) == "m", np.array(LABELS) == 1
    for p in (privileged, ~privileged):
        for f in (favourable, ~favourable):
            expected = f.sum() * p.sum() / (len(GROUPS) * (p & f).sum())
            assert found.weights[p & f] == pytest.approx(np.full((p & f).sum(), expected))


def test_the_label_is_as_frequent_in_every_group_once_weighted():
    rng = np.random.default_rng(0)
    gender, region = rng.choice(["w", "m", "x"], 900), rng.choice(["n", "s"], 900)
    labels = np.where(rng.random(900) < 0.7, (gender == "w").astype(int) + (region == "n"), rng.integers(0, 3, 900))
    given = rows(labels.tolist(), ("a", "b", "c"), gender=gender.tolist(), region=region.tolist())
    found, _ = apply(given, by="gender*region")
    overall = [found.weights[labels == label].sum() / found.weights.sum() for label in range(3)]
    assert overall == pytest.approx([(labels == label).mean() for label in range(3)])
    for cell in {(g, r) for g in "wmx" for r in "ns"}:
        inside = (gender == cell[0]) & (region == cell[1])
        shares = [found.weights[inside & (labels == label)].sum() / found.weights[inside].sum() for label in range(3)]
        assert shares == pytest.approx(overall)


def test_balanced_within_label_makes_all_groups_of_a_label_count_alike():
    given = rows(gender=GROUPS)
    found, _ = apply(given, by="gender", variant="balanced-within-label")
    group, label = np.array(GROUPS), np.array(LABELS)
    for y in (0, 1):
        sums = [found.weights[(group == g) & (label == y)].sum() for g in "wm"]
        assert sums[0] == pytest.approx(sums[1])
        assert sum(sums) == pytest.approx((label == y).sum())


def test_rows_without_a_group_weigh_one_and_are_told_of():
    found, notes = apply(rows([*LABELS, 1, 0], gender=[*GROUPS, None, None]), by="gender")
    without, _ = apply(rows(gender=GROUPS), by="gender")
    assert found.weights[:-2] == pytest.approx(without.weights)
    assert found.weights[-2:].tolist() == [1, 1]
    assert [(note.key, note.values.get("n")) for note in notes] == [
        ("mitigation.reweighed", 32),
        ("mitigation.reweighed_missing", 2),
    ]


def test_a_pair_without_rows_is_named():
    _, notes = apply(rows([1, 1, 0, 1], gender=["w", "w", "m", "m"]), by="gender")
    assert notes[-1].values == {"n": 1, "pairs": "w / no"}
    assert notes[-1].level == "warning"


def test_the_rows_that_tell_as_much_are_counted():
    _, notes = apply(rows(gender=GROUPS), by="gender")
    found = weights(np.array([g == "m" for g in GROUPS], int), np.array(LABELS))
    assert notes[0].values["effective"] == round(found.sum() ** 2 / (found**2).sum())
    assert notes[0].values["low"] == pytest.approx(found.min())


def test_weights_that_rows_have_already_are_kept():
    given = rows(gender=GROUPS)
    twice = TrainingRows(given.rows, np.full(30, 2.0), given.labels)
    assert apply(twice, by="gender")[0].weights == pytest.approx(2 * apply(given, by="gender")[0].weights)


def test_groups_that_do_not_matter_change_nothing():
    found, _ = apply(rows([0, 1, 0, 1], gender=["w", "w", "m", "m"]), by="gender")
    assert found.weights.tolist() == [1, 1, 1, 1]


def test_the_columns_of_a_crossing_are_asked_for():
    assert mitigation.groups(Spec(by="gender * mentions:age")) == ("gender", "mentions:age")
