from typing import Any

import pytest
import torch
import transformers as tf

from fm_notebook.engine import families
from fm_notebook.engine.kernels import last_layer

SIZES = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
DECODER = {**SIZES, "num_key_value_heads": 1, "max_position_embeddings": 64}
MODELS = {
    "bert": lambda: tf.BertModel(tf.BertConfig(**SIZES), add_pooling_layer=False),
    "roberta": lambda: tf.RobertaModel(tf.RobertaConfig(**SIZES), add_pooling_layer=False),
    "xlm-roberta": lambda: tf.XLMRobertaModel(tf.XLMRobertaConfig(**SIZES), add_pooling_layer=False),
    "electra": lambda: tf.ElectraModel(tf.ElectraConfig(**SIZES, embedding_size=32)),
    "distilbert": lambda: tf.DistilBertModel(tf.DistilBertConfig(vocab_size=50, dim=32, hidden_dim=48, n_layers=2, n_heads=2)),
    "modernbert": lambda: tf.ModernBertModel(tf.ModernBertConfig(**SIZES, pad_token_id=0, global_attn_every_n_layers=2)),
    "gpt2": lambda: tf.GPT2Model(tf.GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2)),
    "llama": lambda: tf.LlamaModel(tf.LlamaConfig(**DECODER)),
    "mistral": lambda: tf.MistralModel(tf.MistralConfig(**DECODER)),
    "qwen2": lambda: tf.Qwen2Model(tf.Qwen2Config(**DECODER)),
    "qwen3": lambda: tf.Qwen3Model(tf.Qwen3Config(**DECODER, head_dim=16)),
}


def outputs(model: Any, ids: torch.Tensor, plan: Any, **given: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Hidden states at the ends of the texts, and the gradients of a sum over them."""
    model.zero_grad()
    inputs = families._inputs(model, ids, plan, None)
    hidden = model(**inputs, **given).last_hidden_state[0]
    found = hidden[plan.ends]
    (found * torch.arange(32).cos()).sum().backward()
    return hidden.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", MODELS)
def test_what_is_read_and_its_gradients_are_as_before(tiny, family):
    torch.manual_seed(0)
    model = MODELS[family]().eval()
    families.enable(model)
    ids, plan, _ = tiny.batch(0)
    right, gradients = outputs(model, ids, plan)
    assert last_layer.fits(model)
    undo = last_layer.enable(model)
    found, mine = outputs(model, ids, plan, read_at=plan.ends)
    torch.testing.assert_close(found[plan.ends], right[plan.ends], rtol=1e-4, atol=1e-5)
    assert (found[plan.starts] - right[plan.starts]).abs().max() > 0.1  # not computed
    assert mine.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-4, atol=1e-5, msg=name)
    undo()
    assert torch.equal(outputs(model, ids, plan, read_at=plan.ends)[0], right)


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("bf16", 2e-3)])
def test_fifty_steps_have_the_same_losses(tiny, precision, bound):
    last_layer.enable(mine := tiny.model())
    found = tiny.train(mine, precision=precision, read=True)
    assert found == pytest.approx(tiny.train(tiny.model(), precision=precision), abs=bound)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_twice_the_same_bits(tiny, precision):
    losses = []
    for _ in range(2):
        last_layer.enable(model := tiny.model(0.1))
        losses.append(tiny.train(model, 10, precision=precision, read=True))
    assert losses[0] == losses[1]


def test_reading_nearly_every_place_computes_them_all(tiny):
    last_layer.enable(model := tiny.model())
    ids, plan, _ = tiny.batch(0)
    embedded = model.bert.embeddings(ids[None], position_ids=plan.positions[None])
    everywhere = torch.arange(plan.tokens)
    read = model.bert.encoder(embedded, plan=plan, read_at=everywhere).last_hidden_state
    assert torch.equal(read, model.bert.encoder(embedded, plan=plan).last_hidden_state)


def test_gradient_checkpointing_takes_the_models_own_way(tiny):
    last_layer.enable(model := tiny.model())
    model.activation_checkpointing_enable()
    ids, plan, _ = tiny.batch(0)
    embedded = model.bert.embeddings(ids[None], position_ids=plan.positions[None])
    for training in (True, False):
        hidden = model.train(training).bert.encoder(embedded, plan=plan, read_at=plan.starts).last_hidden_state[0]
        assert bool(hidden[plan.ends].any()) == training


def test_other_models_do_not_fit():
    assert not last_layer.fits(torch.nn.ModuleList([torch.nn.Linear(2, 2)]))
