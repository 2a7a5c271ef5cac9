import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.data.splits import held_out

SHARES = st.floats(0.01, 0.99)
LABELS = st.lists(st.integers(0, 4), min_size=2, max_size=80).map(np.array)
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def grouped(draw):
    labels = draw(LABELS)
    groups = draw(st.lists(st.integers(0, 30), min_size=len(labels), max_size=len(labels)))
    return labels, np.array(groups, dtype=np.uint64)


@given(LABELS, SHARES, SEEDS)
def test_every_row_is_on_one_side_and_both_sides_have_rows(labels, share, seed):
    split = held_out(labels, share, seed)
    assert len(split.train) >= 1
    assert len(split.eval) >= 1
    assert sorted([*split.train, *split.eval]) == list(range(len(labels)))
    assert list(split.eval) == sorted(split.eval)


@given(LABELS, SHARES, SEEDS)
def test_each_class_gives_its_share_to_within_one_row_and_is_never_held_out_whole(labels, share, seed):
    split = held_out(labels, share, seed)
    counts = np.bincount(labels, minlength=5)
    if split.stratified:
        held = np.bincount(labels[split.eval], minlength=5)
        assert (held[counts > 0] < counts[counts > 0]).all()
        exact = counts * share
        assert (held <= exact + 1).all()
        assert (held >= np.minimum(np.floor(exact), counts - 1))[counts > 0].all()
    assert split.stratified == (counts[counts > 0].min() >= 2)


@given(grouped(), SHARES, SEEDS)
def test_a_text_is_never_on_both_sides(data, share, seed):
    labels, groups = data
    split = held_out(labels, share, seed, groups)
    assert sorted([*split.train, *split.eval]) == list(range(len(labels)))
    assert len(split.train) >= 1
    assert len(split.eval) >= 1
    if len(np.unique(groups)) > 1:
        assert not set(groups[split.train].tolist()) & set(groups[split.eval].tolist())


def test_a_seed_gives_the_same_rows_on_every_platform():
    labels = np.arange(20) % 2
    first = held_out(labels, 0.3, 7)
    assert first.eval.tolist() == held_out(labels, 0.3, 7).eval.tolist()
    assert first.eval.tolist() != held_out(labels, 0.3, 8).eval.tolist()
    # By hand: three of each class, the first of PCG64's permutations, class by class.
    rng = np.random.Generator(np.random.PCG64(7))
    expected = [*rng.permutation(np.arange(0, 20, 2))[:3], *rng.permutation(np.arange(1, 20, 2))[:3]]
    assert first.eval.tolist() == sorted(expected)


def test_shares_of_three_classes_are_those_of_the_data():
    labels = np.repeat([0, 1, 2], [1000, 200, 50])
    assert np.bincount(labels[held_out(labels, 0.1, 0).eval]).tolist() == [100, 20, 5]


def test_a_text_too_frequent_for_the_share_stays_in_train():
    groups = np.array([0] * 50 + list(range(1, 51)), dtype=np.uint64)
    for seed in range(60):
        split = held_out(np.zeros(100, dtype=int), 0.1, seed, groups)
        assert len(split.eval) == 10
        assert 0 not in groups[split.eval]


def test_one_text_throughout_is_split_by_rows():
    split = held_out(np.array([0, 1, 0, 1]), 0.5, 0, np.zeros(4, dtype=np.uint64))
    assert len(split.eval) == 2


def test_a_single_row_cannot_be_split():
    with pytest.raises(ValueError, match="two rows"):
        held_out(np.array([0]), 0.5, 0)
