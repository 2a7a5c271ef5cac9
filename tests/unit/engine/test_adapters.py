"""Adapters on tiny models of every tested family: what learns, what is saved, and that training is not disturbed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from fm_notebook.contracts.adapters import LoraSpec, PromptTuningSpec
from fm_notebook.engine import checkpoints
from fm_notebook.engine.adapters import adapt, attach, base_of, merged, save, virtual_tokens
from fm_notebook.engine.families import unwrapped
from fm_notebook.engine.models import quietly
from fm_notebook.engine.state import RunState
from fm_notebook.errors import SpecError

WORDS = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64,
}  # fmt: skip
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
MAKERS = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**WORDS, **SIZES)),
    "bert-tokens": lambda: BertForTokenClassification(BertConfig(**WORDS, **SIZES, num_labels=3)),
    "bert-masked": lambda: BertForMaskedLM(BertConfig(**WORDS, **SIZES)),
    "distilbert": lambda: DistilBertForSequenceClassification(
        DistilBertConfig(**WORDS, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
    ),
    "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**WORDS, **SIZES)),
    "electra": lambda: ElectraForSequenceClassification(ElectraConfig(**WORDS, **SIZES, embedding_size=16)),
    "deberta-v2": lambda: DebertaV2ForSequenceClassification(DebertaV2Config(**WORDS, **SIZES)),
    "modernbert": lambda: ModernBertForSequenceClassification(ModernBertConfig(**WORDS, **SIZES, cls_token_id=1, sep_token_id=2)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**WORDS, **GPT)),
    "gpt2-texts": lambda: GPT2ForSequenceClassification(GPT2Config(**WORDS, **GPT)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**WORDS, **SIZES)),
}
CLASSIFIERS = ("bert", "bert-tokens", "distilbert", "roberta", "electra", "deberta-v2", "modernbert", "gpt2-texts")
IDS = torch.tensor([[1, 5, 9, 3, 30, 7, 2], [1, 8, 2, 11, 39, 4, 2]])
FAMILIES = pytest.mark.parametrize("family", MAKERS)


@pytest.fixture(autouse=True)
def _english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def make(family):
    torch.manual_seed(1)
    return MAKERS[family]()


def logits(model, **more):
    with torch.no_grad():
        return model.eval()(input_ids=IDS, attention_mask=torch.ones_like(IDS), **more).logits


def trainable(model):
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def train(model, steps=2):
    """Some steps of AdamW towards any target; every trainable parameter has to get a gradient."""
    optimizer = torch.optim.AdamW(list(trainable(model).values()), lr=0.05)
    model.train()
    torch.manual_seed(2)
    for _ in range(steps):
        optimizer.zero_grad()
        (model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits - 1).square().mean().backward()
        assert not [name for name, p in trainable(model).items() if p.grad is None]
        optimizer.step()
    return optimizer


@FAMILIES
def test_a_fresh_lora_changes_nothing_and_a_trained_one_does(family):
    before = logits(make(family))
    model = adapt(make(family), LoraSpec(rank=4))
    assert torch.equal(logits(model), before)
    train(model)
    assert (logits(model) - before).abs().max() > 1e-3


@FAMILIES
def test_only_adapter_and_head_learn_in_fp32(family):
    plain = make(family)
    backbone = {id(p) for p in plain.base_model.parameters()}
    head = sum(p.numel() for p in plain.parameters() if id(p) not in backbone) if family in CLASSIFIERS else 0
    model = adapt(plain, LoraSpec(rank=4))
    found = trainable(model)
    added = sum(p.numel() for name, p in found.items() if ".lora_" in name)
    assert added > 0
    assert sum(p.numel() for p in found.values()) == added + head
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    train(model)
    now = dict(model.named_parameters())
    assert not [name for name, p in frozen.items() if not torch.equal(p, now[name])]


def test_a_layer_gets_rank_times_inputs_and_outputs_weights():
    found = trainable(adapt(make("bert"), LoraSpec(rank=4)))
    assert sum(p.numel() for name, p in found.items() if ".lora_" in name) == 2 * 2 * 4 * (32 + 32)  # layers, q and v, rank


@FAMILIES
@pytest.mark.parametrize("dora", [False, True])
def test_merging_computes_the_same_and_leaves_training_bit_for_bit_alone(family, dora):
    base = logits(make(family))
    model, untouched = (adapt(make(family), LoraSpec(rank=4, dora=dora), seed=3) for _ in range(2))
    optimizer, other = train(model), train(untouched)
    before = logits(model)
    plain = merged(model)
    assert type(plain) is type(make(family))
    assert not any("lora" in name for name, _ in plain.named_parameters())
    assert (logits(plain) - before).abs().max() < 1e-5
    assert (before - base).abs().max() > 1e-3
    for each, its in ((model, optimizer), (untouched, other)):
        torch.manual_seed(5)
        each.train()(input_ids=IDS).logits.square().mean().backward()
        its.step()
    assert torch.equal(logits(model), logits(untouched))


def test_merging_copies_the_adapted_layers_alone():
    model = adapt(make("bert"), LoraSpec(rank=4))
    mine = {p.data_ptr() for p in model.parameters()}
    plain = merged(model)
    own = sum(p.numel() for p in plain.parameters() if p.data_ptr() not in mine)
    assert own == 2 * 2 * (32 * 32 + 32) + (32 * 2 + 2)  # queries and values with their biases, and the head


@FAMILIES
@pytest.mark.parametrize("dora", [False, True])
def test_what_is_saved_loads_without_peft_and_the_adapter_alone_loads_too(family, dora, tmp_path):
    model = adapt(make(family), LoraSpec(rank=4, dora=dora), fresh=fresh_of(family))
    train(model)
    save(model, tmp_path)
    assert base_of(tmp_path) is None
    with quietly():
        loaded = type(make(family)).from_pretrained(tmp_path)
    assert (logits(loaded) - logits(model)).abs().max() < 1e-5
    assert (logits(attach(make(family), tmp_path)) - logits(model)).abs().max() < 1e-6
    assert {path.name for path in (tmp_path / "adapter").iterdir()} <= {
        "adapter_config.json", "adapter_model.safetensors", "head.safetensors",
    }  # fmt: skip


def fresh_of(family):
    return [name for name, _ in make(family).named_parameters() if name.startswith("cls.")] if family == "bert-masked" else []


def test_a_language_head_learns_only_where_it_is_fresh():
    assert not [name for name in trainable(adapt(make("bert-masked"), LoraSpec())) if "cls." in name]
    model = adapt(make("bert-masked"), LoraSpec(), fresh=fresh_of("bert-masked"))
    inner = unwrapped(model)
    assert inner.cls.predictions.transform.dense.weight.requires_grad
    assert inner.cls.predictions.decoder.weight is inner.bert.embeddings.word_embeddings.weight
    assert not inner.cls.predictions.decoder.weight.requires_grad


def test_a_fresh_pooler_learns_with_the_head_and_gets_no_adapter():
    model = adapt(make("bert"), LoraSpec(targets=("dense",)), fresh=["bert.pooler.dense.weight", "bert.pooler.dense.bias"])
    pooler = [name for name in trainable(model) if "pooler" in name]
    assert len(pooler) == 2
    assert not any("lora" in name for name in pooler)


def test_a_fresh_layer_below_a_language_head_learns_whole():
    layer = "bert.encoder.layer.0.output.dense"
    model = adapt(make("bert-masked"), LoraSpec(targets=("dense",)), fresh=[f"{layer}.weight", f"{layer}.bias"])
    found = [name.partition(layer)[2] for name in trainable(model) if f".{layer}." in name]
    assert found == [".weight", ".bias"]


@FAMILIES
def test_the_seed_alone_decides_the_first_weights(family):
    torch.manual_seed(9)
    first = adapt(make(family), LoraSpec(), seed=4).state_dict()
    state = torch.get_rng_state()
    model = make(family)
    torch.manual_seed(77)
    before = torch.get_rng_state()
    second = adapt(model, LoraSpec(), seed=4).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(state, before)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    other = adapt(make(family), LoraSpec(), seed=5).state_dict()
    assert not all(torch.equal(tensor, other[name]) for name, tensor in first.items() if "lora_A" in name)


@pytest.mark.parametrize("family", ["bert", "bert-tokens", "bert-masked", "llama"])
def test_what_packing_passes_reaches_the_attention(family):
    seen = []
    model = adapt(make(family), LoraSpec())
    hook = lambda module, args, kwargs: seen.append(kwargs.get("plan"))  # noqa: E731
    layer = next(m for name, m in model.named_modules() if name.endswith(("attention.self", "self_attn")))
    layer.register_forward_pre_hook(hook, with_kwargs=True)
    logits(model, plan="the plan")
    assert seen == ["the plan"]


def test_a_checkpoint_restores_a_freshly_adapted_model(tmp_path):
    state = RunState(micro_batch_size=1, micro_batch_tokens=8, precision="fp32", layout="padded", threads=1, step=2)
    for name, spec in (("lora", LoraSpec(rank=4, dora=True)), ("prompt", PromptTuningSpec(tokens=3))):
        model = adapt(make("bert"), spec, seed=3)
        optimizer = train(model)
        (tmp_path / name).mkdir()
        checkpoints.save(tmp_path / name, state, model, optimizer)
        again = adapt(make("bert"), spec, seed=8)
        second = train(again, steps=1)
        assert not torch.equal(logits(again), logits(model))
        found = checkpoints.newest(tmp_path / name)
        assert found is not None
        checkpoints.restore(found, again, second)
        assert torch.equal(logits(again), logits(model))


@pytest.mark.parametrize(
    ("family", "expected"),
    [("bert", {"query", "value"}), ("gpt2", {"c_attn"}), ("llama", {"q_proj", "v_proj"}),
     ("distilbert", {"q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"})],
)  # fmt: skip
def test_targets_are_chosen_by_family(family, expected):
    names = [name for name in trainable(adapt(make(family), LoraSpec())) if "lora_A" in name]
    assert {name.split(".lora_A")[0].rpartition(".")[2] for name in names} == expected


def test_a_users_targets_stay_below_the_head():
    names = [name for name in trainable(adapt(make("bert-masked"), LoraSpec(targets=("dense",)))) if "lora_A" in name]
    assert names
    assert not [name for name in names if "cls." in name]


def test_a_target_that_nothing_matches_gets_a_hint():
    with pytest.raises(SpecError) as caught:
        adapt(make("bert"), LoraSpec(targets=("query", "valeu")))
    assert "BertForSequenceClassification has no linear layer below its head whose name ends in 'valeu'" in str(caught.value)
    assert "Did you mean value?" in str(caught.value)
    assert "Names end in: dense, key, query, value" in str(caught.value)


@pytest.mark.parametrize("family", ["bert", "bert-tokens", "distilbert", "roberta", "electra", "deberta-v2", "gpt2", "llama"])
def test_prompt_tuning_learns_tokens_and_head_and_is_attached_to_the_base_again(family, tmp_path):
    plain = make(family)
    plain.name_or_path = plain.config.name_or_path = "the-base"
    model = adapt(plain, PromptTuningSpec(tokens=3))
    backbone = {id(p) for p in unwrapped(model).base_model.parameters()}
    assert not [name for name, p in trainable(model).items() if id(p) in backbone]
    train(model)
    save(model, tmp_path)
    assert virtual_tokens(model) == 3
    assert base_of(tmp_path) == "the-base"
    assert not list(tmp_path.glob("*.safetensors"))
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == plain.config.model_type
    assert torch.equal(logits(attach(make(family), tmp_path)), logits(model))
    assert (logits(model)[..., -1] - logits(make(family))[..., -1]).abs().max() > 1e-3 if family in ("bert", "roberta") else True
    prompt = load_file(tmp_path / "adapter" / "adapter_model.safetensors")["prompt_embeddings"]
    assert prompt.shape == (3, 16 if family == "electra" else 32)


def test_prompt_tuning_is_refused_where_the_head_looks_for_padding():
    with pytest.raises(SpecError, match="prompt_tuning does not work with GPT2ForSequenceClassification"):
        adapt(make("gpt2-texts"), PromptTuningSpec())


def test_a_model_without_adapter_is_saved_as_it_is(tmp_path: Path):
    model = make("bert")
    assert merged(model) is model
    assert virtual_tokens(model) == 0
    save(model, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}


def test_a_prompt_that_leaves_no_room_for_the_text_is_refused():
    with pytest.raises(SpecError, match="leaves no room for the text"):
        adapt(make("bert"), PromptTuningSpec(tokens=56))
