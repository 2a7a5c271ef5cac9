"""Which examples meet, and in what form."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.engine.batching import EpochPlan, collate, micro_batches
from fm_notebook.engine.tokens import tokenize

CPU = torch.device("cpu")


@given(n=st.integers(1, 50), size=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_an_epoch_shows_every_example_once(n, size, seed):
    plan = EpochPlan(n, size, seed)
    rows = [plan.rows(step) for step in range(plan.steps_per_epoch)]
    assert sorted(np.concatenate(rows)) == list(range(n))
    assert all(len(each) == size for each in rows[:-1])


def test_epochs_differ_and_a_plan_entered_in_the_middle_is_the_same():
    straight, jumped = EpochPlan(30, 7, 3), EpochPlan(30, 7, 3)
    steps = [straight.rows(step).tolist() for step in range(15)]
    assert jumped.rows(11).tolist() == steps[11]
    assert steps[:5] != steps[5:10]
    assert EpochPlan(30, 7, 4).rows(0).tolist() != steps[0]


def test_micro_batches_are_the_batch_in_pieces():
    assert [piece.tolist() for piece in micro_batches(np.arange(5), 2)] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("pairs", [None, ["bad plot", "it", "a"]])
def test_a_batch_is_what_the_tokenizer_would_pad(tokenizer, pairs):
    texts = ["good film", "the plot was bad and dull and cold we saw", "quite"]
    tokens = tokenize(tokenizer, texts, pairs, 32)
    rows = np.array([2, 0, 1])
    batch = collate(tokens, rows, CPU)
    again = None if pairs is None else [pairs[i] for i in rows]
    expected = tokenizer([texts[i] for i in rows], again, padding=True, pad_to_multiple_of=8, return_tensors="pt")
    assert batch["input_ids"].shape[1] % 8 == 0
    for name, tensor in batch.items():
        assert torch.equal(tensor, expected[name])


def test_rounding_up_never_passes_the_models_limit(tokenizer):
    tokens = tokenize(tokenizer, ["a " * 40], None, 13)
    assert collate(tokens, np.array([0]), CPU)["input_ids"].shape == (1, 13)
