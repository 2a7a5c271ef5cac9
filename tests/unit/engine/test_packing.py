"""Texts in one row give what each gives alone: the reference is the model itself, one text at a time, in eager attention."""

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fm_notebook.engine import families
from fm_notebook.engine.packing import NAME, WASTE, Pack, pack, packed_attention

LENGTHS = np.array([13, 5, 29, 8, 1, 27, 11, 6])
VOCABULARY = 99
SMALL = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 64, "num_labels": 3, "attn_implementation": "eager",
}  # fmt: skip
MODERN = {"global_attn_every_n_layers": 2, "local_attention": 8, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2}
LLAMA = {"num_key_value_heads": 2, "pad_token_id": None}
FAMILIES = {
    "bert": tf.BertConfig(**SMALL),
    "distilbert": tf.DistilBertConfig(
        vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=64, num_labels=3
    ),
    "roberta": tf.RobertaConfig(**SMALL),
    "electra": tf.ElectraConfig(embedding_size=16, **SMALL),
    "albert": tf.AlbertConfig(embedding_size=16, **SMALL),
    "modernbert-cls": tf.ModernBertConfig(classifier_pooling="cls", **MODERN, **SMALL),
    "modernbert-mean": tf.ModernBertConfig(classifier_pooling="mean", **MODERN, **SMALL),
    "gpt2": tf.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, num_labels=3),
    "llama": tf.LlamaConfig(**LLAMA, **SMALL),
    "mistral": tf.MistralConfig(sliding_window=6, **LLAMA, **SMALL),
}
HEADS = {
    "sequence": tf.AutoModelForSequenceClassification, "token": tf.AutoModelForTokenClassification,
    "masked": tf.AutoModelForMaskedLM, "causal": tf.AutoModelForCausalLM,
}  # fmt: skip
DECODERS = ("gpt2", "llama", "mistral")
CASES = [(f, h) for f in FAMILIES for h in HEADS if h in ("sequence", "token") or (h == "causal") == (f in DECODERS)]


def make(family: str, head: str = "sequence", **changes: Any) -> Any:
    config = copy.deepcopy(FAMILIES[family])
    for name, value in changes.items():
        assert hasattr(config, name)
        setattr(config, name, value)
    torch.manual_seed(3)
    model = HEADS[head].from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():  # fresh weights of 0.02 hardly attend: let every token matter
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model


def make_ids(plan: Pack, seed: int = 0) -> torch.Tensor:
    return torch.randint(3, VOCABULARY, plan.positions.shape, generator=torch.Generator().manual_seed(seed))


def alone(model: Any, ids: torch.Tensor, lengths: np.ndarray = LENGTHS, **more: torch.Tensor) -> torch.Tensor:
    """Logits of each text by itself, one after the other: ``(B, C)`` or ``(tokens, C)``."""
    cut = lambda row: row.flatten()[: lengths.sum()].split(lengths.tolist())  # noqa: E731
    texts = zip(cut(ids), *(cut(row) for row in more.values()), strict=True)
    results = [model(text[None], **{k: x[None] for k, x in zip(more, rest, strict=True)}).logits for text, *rest in texts]
    return torch.cat([logits.flatten(0, -2) for logits in results])


def packed(model: Any, ids: torch.Tensor, plan: Pack, head: str, **more: Any) -> torch.Tensor:
    families.enable(model)
    try:
        if head == "sequence":
            return families.forward_texts(model, ids, plan, **more)
        return families.forward_tokens(model, ids, plan, torch.arange(plan.tokens), **more)
    finally:
        families.disable(model)


def gradients(model: Any, logits: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    logits.square().mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    """Within 1e-5 of each tensor's norm; the gradient of a key's bias is 0, its value is rounding."""
    largest = max(g.norm() for g in right.values())
    keys = ("key.bias", "k_lin.bias", "c_attn.bias")
    assert left.keys() == right.keys()
    for name, found in left.items():
        scale = right[name].norm().clamp_min(largest * 1e-6) if not name.endswith(keys) else largest
        assert (found - right[name]).norm() <= 1e-5 * scale, name


@pytest.mark.parametrize(("family", "head"), CASES)
def test_packed_logits_and_gradients_are_those_of_single_texts(family, head):
    model, plan = make(family, head), pack(LENGTHS)
    ids = make_ids(plan)
    expected = alone(model, ids)
    wanted = gradients(model, expected)
    found = packed(model, ids, plan, head)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.detach().abs().max()))
    assert expected.std() > 0.02
    assert_same_gradients(gradients(model, found), wanted)
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize("family", FAMILIES)
def test_known_families_can_be_packed(family):
    for head in ("sequence", "causal" if family in DECODERS else "masked"):
        assert families.can_pack(make(family, head).train())


@example([31, 1])  # the row is full: padding needs a place more
@given(st.lists(st.integers(1, 200), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_pack_holds_every_token_once_and_wastes_little(lengths):
    plan = pack(np.array(lengths))
    total = sum(lengths)
    row = len(plan.positions)
    assert plan.tokens == total
    assert row % 32 == 0
    assert total <= row <= total + 32
    assert plan.positions[:total].tolist() == [i for n in lengths for i in range(n)]
    assert plan.starts.tolist() == (np.cumsum(lengths) - lengths).tolist()
    assert plan.ends.tolist() == (np.cumsum(lengths) - 1).tolist()
    assert plan.boundaries.tolist() == [0, *np.cumsum(lengths).tolist(), row]
    assert plan.boundaries.dtype == torch.int32
    assert plan.longest == max(*lengths, row - total)
    assert int(plan.grouping.gather.max()) < row
    seen = []
    for group in plan.groups:
        real = torch.ones_like(group.index, dtype=torch.bool) if group.mask is None else group.mask[:, 0, 0]
        n, width = group.index.shape
        counts = real.sum(1)
        assert width % 8 == 0
        assert counts.max() > width - 8
        assert bool((real == (torch.arange(width) < counts[:, None])).all())  # padding is on the right
        assert 1 - counts.sum() / (n * width) <= WASTE + 1e-6 or counts.min() > width - 8
        assert bool((group.index[~real] == total).all())
        first = plan.starts.tolist().index
        assert all(lengths[first(int(start))] == count for start, count in zip(group.index[:, 0], counts, strict=True))
        seen += group.index[real].tolist()
    assert sorted(seen) == list(range(total))
    assert plan.grouping.gather[plan.grouping.inverse[:total]].tolist() == list(range(total))


def test_texts_of_like_length_share_a_group():
    plan = pack(np.array([16, 15, 64, 14, 60, 3]))
    assert sorted(tuple(group.index.shape) for group in plan.groups) == [(1, 8), (2, 64), (3, 16)]
    assert pack(np.array([16, 16])).groups[0].mask is None


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 3])
def test_attention_by_hand_and_by_the_kernel_follow_the_formula(causal, window):
    """Dropout of 1e-9 takes the path for dropout and drops nothing."""
    plan = pack(LENGTHS)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, heads, len(plan.positions), 8, generator=generator) for heads in (4, 2, 2))
    text = torch.repeat_interleave(torch.arange(len(LENGTHS)), plan.lengths)
    distance = torch.arange(plan.tokens)[:, None] - torch.arange(plan.tokens)
    sees = (text[:, None] == text) & ((distance >= 0) | (not causal)) & (distance.abs() < (window or 99))
    q_, k_, v_ = (
        q[0, :, : plan.tokens],
        k[0, :, : plan.tokens].repeat_interleave(2, 0),
        v[0, :, : plan.tokens].repeat_interleave(2, 0),
    )
    weights = (0.7 * q_ @ k_.mT).masked_fill(~sees, -torch.inf).softmax(-1)
    module: Any = SimpleNamespace(is_causal=causal)
    for dropout in (0.0, 1e-9):
        found, _ = packed_attention(module, q, k, v, None, dropout, 0.7, sliding_window=window, plan=plan)
        torch.testing.assert_close(found[0, : plan.tokens], (weights @ v_).transpose(0, 1))
        assert not found[0, plan.tokens :].any()


def test_dropout_drops_its_share_of_the_attention_weights():
    plan = pack(np.full(20, 40))
    shape = (1, 2, len(plan.positions), 8)
    torch.manual_seed(0)
    module: Any = SimpleNamespace(is_causal=False)
    found, _ = packed_attention(module, torch.zeros(shape), torch.zeros(shape), torch.ones(shape), None, 0.25, plan=plan)
    kept = found[0, : plan.tokens, :, 0] * 0.75 * 40  # binomial(40, 3/4), mean over 1,600
    assert abs(float(kept.mean()) - 30) < 5 * (40 * 0.25 * 0.75 / kept.numel()) ** 0.5
    assert float(kept.var()) == pytest.approx(7.5, rel=0.2)


def test_a_text_sees_nothing_of_its_neighbours():
    model, plan = make("bert"), pack(LENGTHS)
    ids = make_ids(plan)
    other = ids.clone()
    other[int(plan.starts[2]) : int(plan.ends[2]) + 1] = 7
    other[plan.tokens :] = 9
    before, after = packed(model, ids, plan, "sequence"), packed(model, other, plan, "sequence")
    changed = (before - after).abs().amax(1)
    assert changed[2] > 1e-2
    assert changed[[0, 1, 3, 4, 5, 6, 7]].max() <= 1e-6


@pytest.mark.parametrize("head", ["sequence", "token"])
def test_dummy_tokens_at_the_end_get_no_gradient(head):
    model, plan = make("bert", head), pack(LENGTHS)
    ids = make_ids(plan).clamp_max(90)
    ids[plan.tokens :] = 95
    assert len(ids) > plan.tokens
    found = gradients(model, packed(model, ids, plan, head))["bert.embeddings.word_embeddings.weight"]
    assert not found[95].any()
    assert found[ids[0]].any()


def test_a_pair_keeps_its_type_ids():
    model, plan = make("bert"), pack(LENGTHS)
    ids, types = make_ids(plan), make_ids(plan, 1) % 2
    expected = alone(model, ids, token_type_ids=types)
    torch.testing.assert_close(packed(model, ids, plan, "sequence", type_ids=types), expected, rtol=1e-5, atol=1e-5)
    assert (packed(model, ids, plan, "sequence") - expected).abs().max() > 1e-2


def test_the_head_is_computed_at_the_selected_places_alone():
    model, plan = make("bert", "masked"), pack(LENGTHS)
    ids, places = make_ids(plan), torch.tensor([40, 3, 0, 3])
    rows = []
    model.cls.register_forward_hook(lambda _module, arguments, _output: rows.append(arguments[0].shape[1]))
    expected = alone(model, ids)[places]
    rows.clear()
    families.enable(model)
    torch.testing.assert_close(families.forward_tokens(model, ids, plan, places), expected, rtol=1e-5, atol=1e-5)
    assert rows == [4]


@pytest.mark.parametrize(
    ("architecture", "head"), [("DebertaV2", "TokenClassification"), ("DebertaV2", "MaskedLM"), ("Bert", "MaskedLM")]
)
def test_padded_inputs_select_places_too(architecture, head):
    torch.manual_seed(0)
    model = getattr(tf, f"{architecture}For{head}")(getattr(tf, f"{architecture}Config")(**SMALL)).eval()
    mask = (torch.arange(12) < torch.tensor([12, 7, 9])[:, None]).long()
    batch = {"input_ids": torch.randint(3, VOCABULARY, (3, 12)), "attention_mask": mask}
    places = torch.tensor([0, 13, 25, 32])
    expected = model(**batch).logits.flatten(0, 1)[places]
    torch.testing.assert_close(families.padded_tokens(model, batch, places), expected)
    torch.testing.assert_close(model(**batch).logits.flatten(0, 1)[places], expected)  # nothing stays hooked


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_longer_than_any_text_may_be_are_fine(family):
    lengths = np.full(10, 50)
    model, plan = make(family), pack(lengths)
    ids = make_ids(plan)[None]
    torch.testing.assert_close(packed(model, ids, plan, "sequence"), alone(model, ids, lengths), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_gradient_checkpointing_changes_nothing(family):
    model, plan = make(family), pack(LENGTHS)
    ids = make_ids(plan)
    families.enable(model)
    wanted = gradients(model, families.forward_texts(model, ids, plan))
    for module in model.modules():  # layers are checkpointed in training mode alone
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    calls = []
    layer = next(module for module in model.modules() if type(module).__name__.endswith("Attention"))
    layer.register_forward_pre_hook(lambda *_: calls.append(1))
    turn_on = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    turn_on({"use_reentrant": False})
    assert_same_gradients(gradients(model.train(), families.forward_texts(model, ids, plan)), wanted)
    assert len(calls) == 2


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft still reads it
@pytest.mark.parametrize(
    ("family", "targets", "head"),
    [("bert", ["query", "value"], "sequence"), ("llama", ["q_proj", "v_proj"], "sequence"), ("llama", ["q_proj"], "causal")],
)
def test_adapters_are_packed_with_the_model_they_wrap(family, targets, head):
    peft = pytest.importorskip("peft")
    kind = {"sequence": "SEQ_CLS", "causal": "CAUSAL_LM"}[head]
    model = peft.get_peft_model(
        make(family, head), peft.LoraConfig(task_type=kind, target_modules=targets, r=2, init_lora_weights=False)
    ).eval()
    plan = pack(LENGTHS)
    ids = make_ids(plan)
    assert families.can_pack(model)
    expected = alone(model, ids)
    wanted = gradients(model, expected)
    found = packed(model, ids, plan, head)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert any("lora_A" in name for name in wanted)
    assert_same_gradients(gradients(model, found), wanted)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_prompt_tuning_is_refused():
    peft = pytest.importorskip("peft")
    assert not families.can_pack(
        peft.get_peft_model(make("bert"), peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2))
    )


@pytest.mark.parametrize("architecture", ["DebertaV2", "MPNet"])
@pytest.mark.parametrize("claims", [False, True])
def test_families_that_cannot_are_refused(architecture, claims, monkeypatch):
    """Also where the class says that it can: the try-out finds out."""
    config = getattr(tf, f"{architecture}Config")(**SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"])
    kind = getattr(tf, f"{architecture}ForSequenceClassification")
    monkeypatch.setattr(kind, "_supports_attention_backend", claims)
    assert not families.can_pack(kind(config))


@pytest.mark.parametrize("head", ["sequence", "masked"])
def test_a_family_that_ignores_the_plan_in_silence_is_refused(head, monkeypatch):
    model = make("bert", head)
    assert families.can_pack(model)
    attend = tf.models.bert.modeling_bert.BertSelfAttention.forward

    def deaf(self, hidden_states, attention_mask=None, **_kwargs):
        self.config = eager
        return attend(self, hidden_states, attention_mask)

    eager = copy.deepcopy(model.config)
    monkeypatch.setattr(tf.models.bert.modeling_bert.BertSelfAttention, "forward", deaf)
    assert not families.can_pack(model)


def test_a_family_whose_attention_has_a_bias_of_its_own_is_refused():
    module: Any = SimpleNamespace(is_causal=False)
    plan = pack(np.array([3]))
    row = torch.ones(1, 1, len(plan.positions), 8)
    for more in ({"softcap": 3.0}, {"position_bias": row}, {"s_aux": row}, {"plan": None}):
        with pytest.raises(NotImplementedError, match="packed rows"):
            packed_attention(module, row, row, row, None, **{"plan": plan, **more})


def test_the_check_leaves_everything_as_it_was():
    model = make("llama").to(torch.bfloat16).train()
    model.base_model.layers[0].eval()
    found = {name: (x.data_ptr(), x.dtype) for name, x in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert families.can_pack(model)
    assert torch.equal(torch.rand(3), expected)
    assert {name: (x.data_ptr(), x.dtype) for name, x in model.state_dict().items()} == found
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert model.config._attn_implementation == "eager"
    assert not families.is_enabled(model)


def test_models_made_from_one_configuration_do_not_share_the_choice(tmp_path):
    config = copy.deepcopy(FAMILIES["bert"])
    one, two = (tf.BertForSequenceClassification(config) for _ in range(2))
    assert one.config is two.config
    families.enable(one)
    assert two.config._attn_implementation == "eager"
    assert two.bert.encoder.layer[0].attention.self.config._attn_implementation == "eager"
    assert families.is_enabled(one)
    assert families.can_pack(one)
    twin = copy.deepcopy(one)
    families.disable(one)
    families.disable(twin)
    families.disable(twin)
    assert not families.is_enabled(one)
    assert not families.is_enabled(twin)
    families.enable(one)
    one.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text()


def test_a_padded_call_of_an_enabled_model_is_an_error_not_a_wrong_answer():
    model = make("bert")
    families.enable(model)
    with pytest.raises(NotImplementedError, match="packed rows"):
        model(torch.ones(2, 4, dtype=torch.long))
