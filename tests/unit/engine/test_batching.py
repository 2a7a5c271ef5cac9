"""Which examples meet, and in what form."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig

from fm_notebook.engine import parts
from fm_notebook.engine.batching import Budget, Examples, collate, largest_piece, micro_batches
from fm_notebook.engine.plans import EpochPlan, LengthGroupedPlan
from fm_notebook.engine.tokens import Tokens, tokenize

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


@given(n=st.integers(1, 300), size=st.integers(1, 20), seed=st.integers(0, 99))
def test_length_groups_show_every_example_once(n, size, seed):
    plan = LengthGroupedPlan(n, size, seed, lengths=np.random.default_rng(seed).integers(1, 60, n))
    rows = [plan.rows(step) for step in range(plan.steps_per_epoch)]
    assert sorted(np.concatenate(rows)) == list(range(n))
    assert all(len(each) == size for each in rows[:-1])


def test_length_groups_pad_little():
    lengths = np.random.default_rng(0).integers(1, 60, 800)
    grouped, random = LengthGroupedPlan(800, 8, 0, lengths=lengths), EpochPlan(800, 8, 0)
    padded = [sum(8 * lengths[plan.rows(step)].max() for step in range(100)) for plan in (grouped, random)]
    assert padded[0] < 1.1 * lengths.sum() < 0.7 * padded[1]
    assert grouped.rows(0).tolist() != grouped.rows(100).tolist()


def examples_of(lengths, level="text"):
    """Texts whose tokens are numbered through, so that a token tells where it came from."""
    total = int(np.sum(lengths))
    tokens = Tokens(np.arange(total, dtype=np.int32), np.concatenate([[0], np.cumsum(lengths)]), None, 0, 64, 0, 0, total)
    n = len(lengths) if level == "text" else total
    targets = np.where(np.arange(n) % 3 == 0, -100, np.arange(n)) if level == "token" else np.arange(n)
    return Examples(tokens, targets, np.linspace(1, 2, n, dtype=np.float32), np.arange(len(lengths)) + 500, level)


texts = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@given(texts, st.integers(1, 9), st.integers(1, 120), st.booleans())
def test_micro_batches_keep_the_budget_and_lose_nothing(lengths, most_texts, most_tokens, padded):
    batch, budget = examples_of(lengths, "token").batch(np.arange(len(lengths))), Budget(most_texts, most_tokens)
    pieces = list(micro_batches(batch, budget, padded=padded))
    for piece in pieces:
        cost = len(piece) * piece.lengths.max() if padded else piece.lengths.sum()
        assert len(piece) == 1 or (len(piece) <= most_texts and cost <= most_tokens)
        assert piece.total == batch.total
    assert sorted(np.concatenate([piece.ids for piece in pieces])) == batch.ids.tolist()
    assert sorted(np.concatenate([piece.targets for piece in pieces])) == sorted(batch.targets)
    assert largest_piece(batch, budget, padded=padded) == max(map(len, pieces))


@given(texts, st.randoms(use_true_random=False))
def test_a_batch_of_tokens_is_a_gather_of_its_texts(lengths, random):
    examples, which = examples_of(lengths, "token"), np.arange(len(lengths))
    random.shuffle(which)
    batch, bounds = examples.batch(which), examples.tokens.offsets
    assert batch.ids.tolist() == [t for i in which for t in range(bounds[i], bounds[i + 1])]
    assert batch.targets.tolist() == examples.targets[batch.ids].tolist()
    assert batch.rows.tolist() == (which + 500).tolist()
    assert batch.counts.tolist() == [sum(examples.targets[bounds[i] : bounds[i + 1]] != -100) for i in which]
    assert batch.total == pytest.approx(float(batch.weights[batch.targets != -100].sum()) or 1.0)


def test_halving_a_budget_ends_at_one_text():
    budget = Budget(32, 2048)
    assert budget.halved(32) == Budget(16, 1024)
    assert budget.halved(3) == Budget(1, 1024)


@pytest.mark.parametrize("pairs", [None, ["bad plot", "it", "a"]])
def test_a_batch_is_what_the_tokenizer_would_pad(tokenizer, pairs):
    texts = ["good film", "the plot was bad and dull and cold we saw", "quite"]
    tokens = tokenize(tokenizer, texts, pairs, 32)
    rows = np.array([2, 0, 1])
    batch = collate(Examples(tokens, np.zeros(3), np.ones(3, np.float32), np.arange(3)).batch(rows), CPU)
    again = None if pairs is None else [pairs[i] for i in rows]
    expected = tokenizer([texts[i] for i in rows], again, padding=True, pad_to_multiple_of=8, return_tensors="pt")
    assert batch["input_ids"].shape[1] % 8 == 0
    for name, tensor in batch.items():
        assert torch.equal(tensor, expected[name])


def test_rounding_up_never_passes_the_models_limit(tokenizer):
    tokens = tokenize(tokenizer, ["a " * 40], None, 13)
    examples = Examples(tokens, np.zeros(1), np.ones(1, np.float32), np.arange(1))
    assert collate(examples.batch(np.array([0])), CPU)["input_ids"].shape == (1, 13)


@pytest.mark.parametrize(("head", "tokens"), [("TokenClassification", parts.CPU_TOKENS), ("MaskedLM", 2**25 // 100_000)])
def test_few_classes_a_token_do_not_make_micro_batches_as_small_as_a_vocabulary_does(head, tokens):
    config = BertConfig(vocab_size=100_000, hidden_size=2, num_hidden_layers=1, num_attention_heads=1, intermediate_size=2)
    model = getattr(transformers, f"BertFor{head}")(config)
    assert parts.budget(model, SimpleNamespace(level="token"), 32) == Budget(32, tokens)
