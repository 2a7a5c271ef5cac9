"""What is recorded on a GPU is the step as it is done anywhere; `tests/gpu` replays it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from fm_notebook.engine import families
from fm_notebook.engine.batching import Examples
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.kernels import graphs
from fm_notebook.engine.packing import pack
from fm_notebook.engine.step import weighted_loss
from fm_notebook.engine.tokens import Tokens
from fm_notebook.tasks.text_classification import task

CPU, SIZES = torch.device("cpu"), {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
CONFIGS = {
    "bert": tf.BertConfig(vocab_size=90, **SIZES),
    "roberta": tf.RobertaConfig(vocab_size=90, **SIZES),
    "electra": tf.ElectraConfig(vocab_size=90, **SIZES),
    "distilbert": tf.DistilBertConfig(vocab_size=90, dim=32, n_layers=2, n_heads=2, hidden_dim=64),
    "modernbert": tf.ModernBertConfig(vocab_size=90, pad_token_id=0, cls_token_id=1, sep_token_id=2, **SIZES),
    "gpt2": tf.GPT2Config(vocab_size=90, n_embd=32, n_layer=2, n_head=2, pad_token_id=0, bos_token_id=1, eos_token_id=1),
    "llama": tf.LlamaConfig(vocab_size=90, pad_token_id=0, **SIZES),
}


def a_batch(*, types: bool = False) -> Any:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 20, 8)
    ids, kinds = (rng.integers(low, high, lengths.sum()).astype(np.int32) for low, high in ((5, 90), (0, 2)))
    tokens = Tokens(ids, np.concatenate([[0], np.cumsum(lengths)]), kinds if types else None, 0, 512, 0, 0, len(ids))
    weights = np.where(np.arange(8) % 2, 1.0, 2.0).astype(np.float32)
    return Examples(tokens, rng.integers(0, 2, 8), weights, np.arange(8)).batch(np.arange(8))


def a_model(family: str) -> Any:
    torch.manual_seed(0)
    model = tf.AutoModelForSequenceClassification.from_config(CONFIGS[family]).eval()
    families.enable(model)
    return model


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("types", [False, True])
def test_what_is_recorded_is_the_loss_of_the_step(family, types, monkeypatch):
    if types and family not in ("bert", "electra"):
        pytest.skip("its texts have no types")
    batch, model, forward = a_batch(types=types), a_model(family), Forward("fp32", "packed")
    inputs = graphs._Inputs.of(batch, forward, model, CPU)
    ids, kinds, plan = inputs.plan()
    whole = replace(plan, sizes=batch.lengths, tokens=int(batch.lengths.sum()))  # here attention works by groups
    monkeypatch.setattr(graphs._Inputs, "plan", lambda self: (ids, kinds, whole))
    right = weighted_loss(model, task, batch, forward).detach()
    torch.testing.assert_close(graphs._loss(model, task, inputs, forward).detach(), right, rtol=1e-6, atol=0)


def test_the_same_shape_is_recorded_once():
    batch, model, forward = a_batch(), a_model("bert"), Forward("fp32", "packed")
    other = replace(batch, ids=batch.ids[::-1].copy(), lengths=batch.lengths[::-1].copy())
    one, two, three = (graphs._Inputs.of(each, forward, model, CPU).shape for each in (batch, other, a_batch(types=True)))
    assert one == two
    assert one != three


@pytest.mark.parametrize(("family", "layout", "device", "fits"), [
    ("bert", "packed", "cuda", True), ("bert", "packed", "cpu", False), ("bert", "padded", "cuda", False),
    ("modernbert", "packed", "cuda", True),
])  # fmt: skip
def test_packed_texts_on_a_gpu_are_recorded(family, layout, device, fits):
    assert graphs.fits(a_model(family), task, Forward("bf16", layout), torch.device(device)) is fits


def test_what_makes_the_host_wait_or_has_no_shape_is_not_recorded():
    on_gpu = Forward("bf16", "packed"), torch.device("cuda")
    averaged = a_model("modernbert")
    averaged.config.classifier_pooling = "mean"
    recomputing = a_model("bert")
    getattr(recomputing, "activation_checkpointing_enable", recomputing.gradient_checkpointing_enable)()  # until transformers 6
    unknown = a_model("bert")
    unknown.config.model_type = "unheard-of"
    for model in (averaged, recomputing, unknown):
        assert not graphs.fits(model, task, *on_gpu)


def test_rows_of_a_gpu_have_few_widths():
    plans = [pack(np.full(16, n), "cuda", move=False) for n in range(20, 40)]
    assert len({(len(plan.positions), plan.longest) for plan in plans}) <= 6
    assert all(plan.tokens < len(plan.positions) for plan in plans)
