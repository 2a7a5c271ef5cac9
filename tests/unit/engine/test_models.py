"""Models are loaded as asked, or refused in words before anything unsafe is read."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, BertForMaskedLM, GPT2Config, GPT2Model, RobertaConfig

from fm_notebook.contracts.specs import ModelRef
from fm_notebook.engine import models
from fm_notebook.engine.models import ModelSource
from fm_notebook.errors import ModelError


def source(folder, **fields):
    return ModelSource(ModelRef(source="mine", kind="folder", location=str(folder)), **fields)


@pytest.fixture
def base(tmp_path, tokenizer) -> Path:
    folder = tmp_path / "base"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_base_model_gets_a_fresh_head_named_by_the_labels(base):
    loaded = models.load_classifier(source(base), ["a", "b", "c"])
    assert {"classifier.weight", "classifier.bias"} <= set(loaded.fresh)
    assert loaded.labels == ["a", "b", "c"]
    assert loaded.model.config.label2id == {"a": 0, "b": 1, "c": 2}
    assert loaded.model.config.problem_type == "single_label_classification"
    assert loaded.model.dtype == torch.float32


def test_the_seed_alone_decides_on_a_fresh_head(base):
    def head(seed):
        return models.load_classifier(source(base, seed=seed), ["a", "b"]).model.classifier.weight

    assert torch.equal(head(1), head(1))
    assert not torch.equal(head(1), head(2))


def test_a_head_that_was_trained_is_kept(base, tmp_path):
    first = models.load_classifier(source(base), ["a", "b"]).model
    first.save_pretrained(tmp_path / "tuned")
    assert models.has_head(source(tmp_path / "tuned"))
    assert not models.has_head(source(base))
    again = models.load_classifier(source(tmp_path / "tuned"), None)
    assert again.fresh == ()
    assert again.labels == ["a", "b"]
    assert torch.equal(again.model.classifier.weight, first.classifier.weight)


def test_a_head_of_another_size_is_drawn_anew(base, tmp_path):
    models.load_classifier(source(base), ["a", "b"]).model.save_pretrained(tmp_path / "tuned")
    loaded = models.load_classifier(source(tmp_path / "tuned"), ["a", "b", "c"])
    assert set(loaded.fresh) == {"classifier.weight", "classifier.bias"}


def test_dropout_is_overridden_everywhere(base):
    model = models.load_classifier(source(base, dropout=0.25), ["a", "b"]).model
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}


def test_pickled_weights_are_refused_unless_allowed(base):
    weights = AutoModelForSequenceClassification.from_pretrained(base).state_dict()
    (base / "model.safetensors").unlink()
    torch.save(weights, base / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle"):
        models.load_classifier(source(base), ["a", "b"])
    loaded = models.load_classifier(source(base, allow_pickle=True), ["a", "b"])
    assert torch.equal(loaded.model.bert.embeddings.word_embeddings.weight, weights["bert.embeddings.word_embeddings.weight"])


def test_code_that_comes_with_a_model_is_refused(base):
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Evil"}}))
    (base / "evil.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(ModelError, match="trust_remote_code = True"):
        models.load_classifier(source(base), ["a", "b"])


@pytest.mark.parametrize(
    ("lost", "words"),
    [("config.json", "no config.json"), ("model.safetensors", "no weights"), ("tokenizer.json", "no tokenizer")],
)
def test_what_is_missing_is_named(base, lost, words):
    (base / lost).unlink()

    def load():
        return models.load_classifier(source(base), ["a", "b"]), models.load_tokenizer(source(base))

    with pytest.raises(ModelError, match=words):
        load()


def test_an_architecture_without_a_classifier_is_refused(base):
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "model_type": "vit"}))
    with pytest.raises(ModelError, match="cannot be loaded for classifying"):
        models.load_classifier(source(base), ["a", "b"])


def test_an_architecture_nobody_knows_is_refused(base):
    (base / "config.json").write_text(json.dumps({"model_type": "nonesuch"}))
    with pytest.raises(ModelError, match="does not know the architecture"):
        models.load_classifier(source(base), ["a", "b"])


def test_weights_of_another_architecture_are_not_taken_for_a_model(base, tmp_path, tokenizer):
    GPT2Model(GPT2Config(vocab_size=40, n_embd=32, n_layer=1, n_head=2, n_positions=32)).save_pretrained(tmp_path / "gpt")
    (tmp_path / "gpt" / "config.json").write_text((base / "config.json").read_text())
    with pytest.raises(ModelError, match="do not fit"):
        models.load_classifier(source(tmp_path / "gpt"), ["a", "b"])


def test_a_tokenizer_without_padding_borrows_its_end_token(base, tokenizer, tmp_path):
    from transformers import PreTrainedTokenizerFast

    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="[SEP]")
    bare.save_pretrained(tmp_path / "bare")
    found = models.load_tokenizer(source(tmp_path / "bare"))
    assert found.pad_token == "[SEP]"
    model = GPT2Model(GPT2Config(vocab_size=40, n_embd=32, n_layer=1, n_head=2, n_positions=32))
    models.set_pad_token(model, found)
    assert model.config.pad_token_id == 3


def test_the_longest_text_is_that_of_positions_and_tokenizer(base, tokenizer):
    model = models.load_classifier(source(base), ["a", "b"]).model
    assert models.longest_text(model, tokenizer) == 32
    roberta = AutoModelForSequenceClassification.from_config(
        RobertaConfig(
            vocab_size=40,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=20,
        )
    )
    assert models.longest_text(roberta, tokenizer) == 18


def test_a_class_that_cannot_be_imported_is_named(base):
    ref = ModelRef(source="live", kind="value", location=str(base), class_path="nowhere.at.all:Mine")
    with pytest.raises(ModelError, match=r"nowhere\.at\.all:Mine"):
        models.load_classifier(ModelSource(ref), ["a", "b"])


def test_a_class_named_by_path_is_loaded(base):
    ref = ModelRef(
        source="live",
        kind="value",
        location=str(base),
        class_path="transformers.models.bert.modeling_bert:BertForSequenceClassification",
    )
    assert models.load_classifier(ModelSource(ref), ["a", "b"]).labels == ["a", "b"]


def test_offline_nothing_is_fetched(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ref = ModelRef(source="no/such", kind="hub", location="no/such-model")
    with pytest.raises(ModelError, match="could not be read"):
        models.load_classifier(ModelSource(ref), ["a", "b"])
