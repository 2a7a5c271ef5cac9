import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from fm_notebook.engine import checkpoints, optim
from fm_notebook.engine.kernels.vocabulary import CompactVocabulary, fits, occurring
from fm_notebook.engine.state import RunState

KEPT = occurring([np.arange(5, 30)], special=[0, 1])  # what the tiny batches hold


def table(model: torch.nn.Module) -> torch.Tensor:
    return model.get_parameter("bert.embeddings.word_embeddings.weight")


def test_occurring_ids_come_once_and_in_order():
    assert occurring([np.array([7, 3, 7], np.int32), np.array([5])], [0, 3]).tolist() == [0, 3, 5, 7]


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_losses_and_all_vectors_are_those_of_the_whole_table(tiny, decay):
    plain, mine = tiny.model(), tiny.model()
    right = tiny.train(plain, weight_decay=decay)
    compact = CompactVocabulary(mine, KEPT)
    assert table(mine).shape == (27, 32)
    begun = []

    def follow(optimizer: torch.optim.Optimizer) -> None:
        if not begun:
            begun.append(compact.decay(optimizer))

    found = tiny.train(mine, weight_decay=decay, between=follow)
    assert found == pytest.approx(right, abs=1e-6)
    compact.restore()
    torch.testing.assert_close(table(mine), table(plain), rtol=1e-5, atol=1e-7)
    assert mine.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(tiny.loss(mine, tiny.batch(99)), tiny.loss(plain, tiny.batch(99)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_twice_the_same_bits(tiny, precision):
    losses = []
    for _ in range(2):
        CompactVocabulary(model := tiny.model(0.1), KEPT)
        losses.append(tiny.train(model, 10, precision=precision))
    assert losses[0] == losses[1]


def test_other_words_can_be_scored_but_not_trained_on(tiny):
    model, ids = tiny.model().eval(), torch.tensor([[7, 40, 9]])
    right = model.get_input_embeddings()(ids)
    CompactVocabulary(model, KEPT)
    assert torch.equal(model.get_input_embeddings()(ids), right)
    with pytest.raises(IndexError):
        model.train().get_input_embeddings()(ids)


def test_a_saved_model_is_whole_and_training_goes_on(tiny, tmp_path):
    right, mine = tiny.model(), tiny.model()
    compact = CompactVocabulary(mine, KEPT)
    tiny.train(mine, 3)
    tiny.train(right, 3)
    with compact.whole():
        mine.save_pretrained(tmp_path)
    assert table(mine).shape == (27, 32)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(right.state_dict())
    loaded = BertForSequenceClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(table(loaded), table(right))
    assert json.loads((tmp_path / "config.json").read_text())["vocab_size"] == tiny.vocabulary
    assert tiny.train(mine, 5) == pytest.approx(tiny.train(right, 5), abs=1e-6)


def test_a_state_dict_carries_the_decay_of_absent_words(tiny):
    compact = CompactVocabulary(model := tiny.model(), KEPT)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5, fused=True)
    compact.decay(optimizer)
    tiny.loss(model, tiny.batch(0)).backward()
    optimizer.step()
    again = CompactVocabulary(other := tiny.model(), KEPT)
    other.load_state_dict(model.state_dict())
    absent = table(tiny.model())[40]
    for each, owner in ((compact, model), (again, other)):
        each.restore()
        torch.testing.assert_close(table(owner)[40], absent * 0.95)


def test_a_checkpoint_resumes_with_the_same_bits(tiny, tmp_path):
    def begin() -> tuple:
        compact = CompactVocabulary(model := tiny.model(0.1), KEPT)
        optimizer = optim.adamw(optim.parameter_groups(model, 0.1), 1e-2)
        compact.decay(optimizer)
        return model, optimizer, compact

    def step(model, optimizer, i: int) -> None:
        tiny.loss(model, tiny.batch(i)).backward()
        optimizer.step()
        optimizer.zero_grad()

    torch.manual_seed(0)
    model, optimizer, compact = begin()
    step(model, optimizer, 0)
    checkpoints.save(tmp_path, RunState(8, 512, "fp32", "packed", 1, step=1), model, optimizer)
    step(model, optimizer, 1)
    again, other, other_compact = begin()
    checkpoints.restore(checkpoints.newest(tmp_path), again, other)
    step(again, other, 1)
    compact.restore()
    other_compact.restore()
    assert torch.equal(table(again), table(model))
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_padding_gets_no_gradient(tiny):
    CompactVocabulary(model := tiny.model(), KEPT)
    model.get_input_embeddings()(torch.tensor([0, 5])).sum().backward()
    gradient = table(model).grad
    assert not gradient[0].any()
    assert gradient[2].all()


def test_only_a_table_of_its_own_that_is_trained_fits(tiny):
    assert fits(tiny.model())
    sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    assert not fits(BertForMaskedLM(BertConfig(**sizes)))
    assert not fits(tiny.model().requires_grad_(False))
