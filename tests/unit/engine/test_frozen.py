"""A frozen backbone: what learns, and that cached features give the losses of the plain forward."""

import copy

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from fm_notebook.engine.frozen import features, freeze_backbone, head
from fm_notebook.errors import SpecError

WORDS = {"vocab_size": 40, "pad_token_id": 0, "num_labels": 3}
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64,
}  # fmt: skip
MAKERS = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**WORDS, **SIZES)),
    "distilbert": lambda: DistilBertForSequenceClassification(
        DistilBertConfig(**WORDS, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
    ),
    "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**WORDS, **SIZES)),
    "electra": lambda: ElectraForSequenceClassification(ElectraConfig(**WORDS, **SIZES, embedding_size=16)),
}
FAMILIES = pytest.mark.parametrize("family", MAKERS)
TARGETS = torch.tensor([0, 2, 1, 1])


def make(family):
    torch.manual_seed(1)
    return MAKERS[family]()


def batch():
    ids = torch.randint(3, 40, (4, 9), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(9) < torch.tensor([[9], [4], [6], [2]])).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def losses(model, logits_of, steps=4):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    found = []
    torch.manual_seed(3)  # the head's dropout
    for _ in range(steps):
        model.train()
        loss = torch.nn.functional.cross_entropy(logits_of(model), TARGETS)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


@FAMILIES
def test_only_the_head_learns_and_the_backbone_is_constant(family):
    model = make(family)
    freeze_backbone(model)
    before = copy.deepcopy(model.base_model.state_dict())
    assert {p.requires_grad for p in model.base_model.parameters()} == {False}
    model.train()
    assert model.training
    assert not any(module.training for module in model.base_model.modules())
    first, second = (model.base_model(**batch()).last_hidden_state for _ in range(2))
    assert torch.equal(first, second)
    found = losses(model, lambda m: m(**batch()).logits, steps=8)
    assert found[-1] < found[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.base_model.state_dict().items())


@FAMILIES
def test_cached_features_give_the_losses_of_the_plain_forward(family):
    """With the head's dropout on: it is drawn for (B, D) numbers either way."""
    plain, cached = make(family), make(family)
    for model in (plain, cached):
        freeze_backbone(model)
    top = head(cached)
    assert top is not None
    first = features(cached, [batch()])
    assert first.shape == (4, 32)
    assert losses(cached, lambda _: top(first)) == pytest.approx(losses(plain, lambda m: m(**batch()).logits), abs=1e-6)


def test_features_come_in_the_order_of_the_batches():
    model = make("bert")
    freeze_backbone(model)
    whole = features(model, [batch()])
    halves = features(model, [{name: x[:2] for name, x in batch().items()}, {name: x[2:] for name, x in batch().items()}])
    assert torch.allclose(halves, whole, atol=1e-6)


def test_a_fresh_pooler_learns_behind_the_features():
    plain, cached = make("bert"), make("bert")
    for model in (plain, cached):
        freeze_backbone(model, fresh=["bert.pooler.dense.weight", "bert.pooler.dense.bias"])
    top, first = head(cached), features(cached, [batch()])
    assert top is not None
    assert losses(cached, lambda _: top(first)) == pytest.approx(losses(plain, lambda m: m(**batch()).logits), abs=1e-6)
    assert not torch.equal(cached.bert.pooler.dense.weight, make("bert").bert.pooler.dense.weight)


def test_what_learns_before_the_head_forbids_caching():
    model = make("bert")
    assert head(model) is None
    freeze_backbone(model, fresh=["bert.encoder.layer.1.output.dense.weight"])
    assert head(model) is None


def test_a_family_whose_head_reads_something_else_falls_back():
    model = GPT2ForSequenceClassification(GPT2Config(vocab_size=40, n_embd=32, n_layer=1, n_head=2, pad_token_id=0))
    freeze_backbone(model)
    assert head(model) is None


def test_nothing_left_to_train_is_told(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    tied = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=32, n_layer=1, n_head=2))
    with pytest.raises(SpecError, match="leaves nothing to train: GPT2LMHeadModel"):
        freeze_backbone(tied)
