"""Texts in one row give what each gives alone, by CUDA's kernels for ragged rows as by groups."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from fm_notebook.engine import families
from fm_notebook.engine.kernels import ragged
from fm_notebook.engine.packing import pack, packed_attention

pytestmark = pytest.mark.gpu

LENGTHS = np.array([13, 5, 29, 8, 1, 27, 11, 60])
SMALL: dict[str, Any] = {
    "vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
    "max_position_embeddings": 64, "num_labels": 3,
}  # fmt: skip
MODERN = {"global_attn_every_n_layers": 2, "local_attention": 8, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2}
FAMILIES = {
    "bert": tf.BertConfig(**SMALL),
    "distilbert": tf.DistilBertConfig(
        vocab_size=99, dim=64, n_layers=2, n_heads=4, hidden_dim=96, max_position_embeddings=64, num_labels=3
    ),
    "roberta": tf.RobertaConfig(**{**SMALL, "max_position_embeddings": 66}),
    "electra": tf.ElectraConfig(embedding_size=32, **SMALL),
    "modernbert-cls": tf.ModernBertConfig(classifier_pooling="cls", **MODERN, **SMALL),
    "modernbert-mean": tf.ModernBertConfig(classifier_pooling="mean", **MODERN, **SMALL),
    "gpt2": tf.GPT2Config(vocab_size=99, n_embd=64, n_layer=2, n_head=4, n_positions=64, num_labels=3, pad_token_id=0),
    "llama": tf.LlamaConfig(num_key_value_heads=2, pad_token_id=0, **SMALL),
    "mistral": tf.MistralConfig(num_key_value_heads=2, pad_token_id=0, sliding_window=6, **SMALL),
}
HEADS = {
    "sequence": tf.AutoModelForSequenceClassification, "token": tf.AutoModelForTokenClassification,
    "masked": tf.AutoModelForMaskedLM, "causal": tf.AutoModelForCausalLM,
}  # fmt: skip
DECODERS = ("gpt2", "llama", "mistral")
CASES = [(f, h) for f in FAMILIES for h in HEADS if h in ("sequence", "token") or (h == "causal") == (f in DECODERS)]
TYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def make(family: str, head: str) -> Any:
    torch.manual_seed(3)
    model = HEADS[head].from_config(copy.deepcopy(FAMILIES[family]), attn_implementation="eager").eval()
    with torch.no_grad():  # fresh weights of 0.02 hardly attend: let every token matter
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model.cuda()


def both_ways(model: Any, head: str, dtype: torch.dtype | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of each text alone, in fp32 and eager attention, and of the packed row in `dtype`."""
    plan = pack(LENGTHS, "cuda")
    ids = torch.randint(3, 99, plan.positions.shape, generator=torch.Generator().manual_seed(0)).cuda()
    alone = torch.cat([model(text[None]).logits.flatten(0, -2) for text in ids[: plan.tokens].split(LENGTHS.tolist())])
    families.enable(model)
    with torch.autocast("cuda", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        if head == "sequence":
            return alone, families.forward_texts(model, ids, plan)
        return alone, families.forward_tokens(model, ids, plan, torch.arange(plan.tokens, device="cuda"))


def gradients(model: Any, logits: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    logits.float().square().mean().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def distance(found: torch.Tensor, right: torch.Tensor) -> float:
    return float(((found.float() - right).norm() / right.norm()).detach())


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize(("family", "head"), CASES)
def test_packed_logits_and_gradients_are_those_of_single_texts(family, head, precision):
    model = make(family, head)
    alone, packed = both_ways(model, head, TYPES[precision])
    logits, slopes = {"fp32": (1e-5, 1e-5), "bf16": (5e-2, 1e-1), "fp16": (1e-2, 2e-2)}[precision]
    assert distance(packed, alone) < logits
    right = gradients(model, alone)
    assert distance(gradients(model, packed), right) < slopes


@pytest.mark.parametrize("family", FAMILIES)
def test_known_families_can_be_packed(family):
    assert families.can_pack(make(family, "sequence").train())


KERNELS = [
    (torch.bfloat16, None, 0.1, "_by_flash"), (torch.float16, 4, 0.0, "_by_flash"), (torch.float32, None, 0.0, "_by_efficient"),
    (torch.float32, 4, 0.0, None), (torch.float32, None, 0.1, None),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "window", "dropout", "kernel"), KERNELS)
def test_one_kernel_does_a_whole_layer(dtype, window, dropout, kernel):
    query = torch.zeros(1, 2, 4, 16, device="cuda", dtype=dtype)
    if dtype != torch.float32 and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("flash attention needs compute capability 8.0")
    assert getattr(ragged.kernel(query, window, dropout), "__name__", None) == kernel


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_attention_drops_its_share_in_each_head_and_text_anew(dtype):
    plan = pack(np.full(20, 40), "cuda")
    shape, module = (1, 2, len(plan.positions), 8), torch.nn.Identity()
    torch.manual_seed(0)
    zeros, ones = (torch.full(shape, value, device="cuda", dtype=dtype) for value in (0.0, 1.0))
    found, _ = packed_attention(module, zeros, zeros, ones, None, 0.25, plan=plan)
    kept = (found[0, : plan.tokens, :, 0].float() * 0.75 * 40).view(20, 40, 2)  # binomial(40, 3/4), of text, token and head
    assert abs(float(kept.mean()) - 30) < 5 * (40 * 0.25 * 0.75 / kept.numel()) ** 0.5 + 0.1
    assert float(kept.var()) == pytest.approx(7.5, rel=0.3)
    alike = [torch.corrcoef(pair)[0, 1] for pair in (kept.flatten(0, 1).T, kept[:2, :, 0])]
    assert max(abs(float(each)) for each in alike) < 0.6
