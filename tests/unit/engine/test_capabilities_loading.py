"""The form of a model that a probe needs: loaded with trained heads alone, or refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from fm_notebook.contracts import abilities
from fm_notebook.contracts.capabilities import MaskedQuery
from fm_notebook.contracts.specs import ModelRef
from fm_notebook.engine.capabilities.loading import load_subject
from fm_notebook.engine.models import ModelSource
from fm_notebook.errors import ModelError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "man", "woman", "is", "good"]
CONFIG = tf.BertConfig(
    vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
    max_position_embeddings=32, initializer_range=0.5,
)  # fmt: skip


def tokenizer(**special: Any) -> Any:
    return tf.BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)}, model_max_length=32, **special)


@pytest.fixture
def saved(tmp_path: Path):
    """Saves a model (with seed 0) and a tokenizer, and says where: ``(head, config=CONFIG, spelling=tokenizer(), seed=0)``."""

    def save(head: str, config: Any = CONFIG, spelling: Any = None, seed: int = 0) -> ModelSource:
        torch.manual_seed(seed)
        folder = tmp_path / f"{head}{len(list(tmp_path.iterdir()))}"
        getattr(tf, f"AutoModel{head}").from_config(config).save_pretrained(folder)
        (spelling or tokenizer()).save_pretrained(folder)
        return ModelSource(ModelRef(source="tiny", kind="folder", location=str(folder)))

    return save


def query(subject: Any) -> list[MaskedQuery]:
    (text,) = subject.tokens(["the man is good"])
    return [MaskedQuery(text, (2,), ((2, 6), (2, 7)))]


def test_the_head_that_is_needed_is_loaded(saved):
    masked = load_subject(saved("ForMaskedLM"), frozenset({"masked_log_probs", "attentions"}), name="m")
    assert np.isfinite(masked.masked_log_probs(query(masked))[0]).all()
    both = load_subject(saved("ForPreTraining"), frozenset({"masked_log_probs", "next_sentence"}), name="p")
    assert {"masked_log_probs", "next_sentence"} <= both.capabilities
    vectors = load_subject(saved(""), frozenset({"embeddings"}), name="b")
    assert vectors.embeddings(["the man"], "pooler").shape == (1, 32)
    pairs = load_subject(saved("ForPreTraining"), frozenset({"next_sentence"}), name="p")
    assert 0 < pairs.next_sentence(["the man"], ["is good"])[0] < 1
    classes = load_subject(saved("ForSequenceClassification"), frozenset({"class_probabilities"}), name="c")
    assert classes.class_probabilities(["the man"]).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("head", "needs", "said"),
    [
        ("", {"masked_log_probs"}, "cls.predictions"),
        ("ForMaskedLM", {"class_probabilities"}, "classifier"),
        ("ForMaskedLM", {"next_sentence"}, "seq_relationship"),
        ("ForMaskedLM", {"next_sentence", "masked_log_probs"}, "seq_relationship"),
        ("ForMaskedLM", {"log_likelihoods"}, "foretell"),
        ("ForSequenceClassification", {"masked_log_probs"}, "cls.predictions"),
        ("ForSequenceClassification", {"masked_log_probs", "class_probabilities"}, "at once"),
    ],
)
def test_what_the_weights_have_no_trained_head_for_is_refused(saved, head, needs, said):
    with pytest.raises(ModelError, match="(?s)" + said):
        load_subject(saved(head), frozenset(needs), name="tiny")


def test_an_encoder_decoder_has_no_hidden_states_to_compare(saved):
    config = tf.T5Config(vocab_size=len(WORDS), d_model=32, d_kv=16, d_ff=48, num_layers=1, num_heads=2, decoder_start_token_id=0)
    source = saved("ForSeq2SeqLM", config)
    assert load_subject(source, frozenset({"log_likelihoods"}), name="t").log_likelihoods(["good"], ["the man"])[0].total < 0
    with pytest.raises(ModelError, match="hidden states"):
        load_subject(source, frozenset({"embeddings"}), name="t")


def test_a_tokenizer_without_mask_is_refused_before_weights_are_read(saved):
    source = saved("ForMaskedLM")
    settings = Path(source.model.location) / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "mask_token": None}))
    (Path(source.model.location) / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="mask token"):
        load_subject(source, frozenset({"masked_log_probs"}), name="tiny")


def test_a_tokenizer_of_another_model_is_refused(saved):
    longer = tf.BertTokenizerFast(vocab={word: i for i, word in enumerate([*WORDS, "xylophone"])}, model_max_length=32)
    with pytest.raises(ModelError, match="token 10"):
        load_subject(saved("ForMaskedLM", spelling=longer), frozenset({"masked_log_probs"}), name="tiny")


def test_the_head_of_the_base_is_put_on_the_encoder_of_the_run(saved):
    base, run = saved("ForMaskedLM", seed=1), saved("ForSequenceClassification", seed=2)
    subject = load_subject(run, frozenset({"masked_log_probs"}), name="run", head_of=base)
    (found,) = subject.masked_log_probs(query(subject))
    model = tf.BertForMaskedLM.from_pretrained(base.model.location)
    tuned = tf.BertForSequenceClassification.from_pretrained(run.model.location)
    model.bert.load_state_dict({k: v for k, v in tuned.bert.state_dict().items() if "pooler" not in k})
    ids = torch.tensor([[2, 5, 4, 8, 9, 3]])
    with torch.no_grad():
        expected = model(ids).logits[0, 2].log_softmax(-1)[[6, 7]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_head_of_another_size_is_refused(saved):
    wide = tf.BertConfig(**{**CONFIG.to_dict(), "hidden_size": 48})
    with pytest.raises(ModelError, match="embeddings"):
        load_subject(
            saved("ForSequenceClassification"), frozenset({"masked_log_probs"}), name="run", head_of=saved("ForMaskedLM", wide)
        )


def test_a_base_without_a_trained_head_has_none_to_lend(saved):
    with pytest.raises(ModelError, match=r"cls\.predictions"):
        load_subject(saved("ForSequenceClassification"), frozenset({"masked_log_probs"}), name="run", head_of=saved(""))


@pytest.mark.parametrize("head", ["", "ForMaskedLM", "ForSequenceClassification", "ForNextSentencePrediction", "ForPreTraining"])
def test_what_the_settings_promise_is_what_the_loaded_model_can(saved, head):
    source = saved(head)
    settings = json.loads((Path(source.model.location) / "config.json").read_text())
    promised = abilities.able(settings)
    for capability in promised - ({"next_sentence"} if head == "ForMaskedLM" else set()):
        assert capability in load_subject(source, frozenset({capability}), name="tiny").capabilities
