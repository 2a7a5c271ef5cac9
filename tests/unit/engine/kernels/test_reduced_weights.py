"""Rounded weights answer nearly alike, and nothing of them is left behind."""

import copy

import pytest
import torch
import transformers as tf

from fm_notebook.engine.kernels import reduced_weights

SIZES = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 32, "pad_token_id": 0,
}  # fmt: skip
CONFIGS = {
    "bert": tf.BertConfig(**SIZES),
    "distilbert": tf.DistilBertConfig(vocab_size=60, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=32),
    "roberta": tf.RobertaConfig(**SIZES),
    "electra": tf.ElectraConfig(embedding_size=16, **SIZES),
    "deberta-v2": tf.DebertaV2Config(**SIZES),
    "modernbert": tf.ModernBertConfig(**SIZES, cls_token_id=1, sep_token_id=2),
    "gpt2": tf.GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4, n_positions=32, pad_token_id=0),
    "llama": tf.LlamaConfig(**SIZES, num_key_value_heads=2),
}
IDS = torch.arange(3, 27).view(2, 12)


@pytest.fixture(params=CONFIGS)
def model(request):
    torch.manual_seed(0)
    config = copy.deepcopy(CONFIGS[request.param])
    return tf.AutoModelForSequenceClassification.from_config(config).eval()


@torch.no_grad()
def logits(model, precision="fp32"):
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        return model(IDS).logits.float()


def test_every_tested_family_answers_nearly_as_in_fp32_while_its_weights_are_rounded(model):
    exact = logits(model)
    with reduced_weights.while_scoring(model, "bf16"):
        assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
        rounded = logits(model, "bf16")
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.03 * float(exact.abs().max()))


def test_afterwards_the_weights_are_the_very_same_even_after_an_error(model):
    before = [(p, p.data_ptr()) for p in model.parameters()]
    exact = logits(model)
    with pytest.raises(ZeroDivisionError), reduced_weights.while_scoring(model, "bf16"):
        1 / 0  # noqa: B018
    after = list(model.parameters())
    assert all(p is q and p.data_ptr() == place for (p, place), q in zip(before, after, strict=True))
    assert torch.equal(logits(model), exact)


def test_buffers_stay_whole_and_fp32_changes_nothing(model):
    buffers = {name: b.dtype for name, b in model.named_buffers()}
    with reduced_weights.while_scoring(model, "bf16"):
        assert {name: b.dtype for name, b in model.named_buffers()} == buffers
    with reduced_weights.while_scoring(model, "fp32"):
        assert {p.dtype for p in model.parameters()} == {torch.float32}
