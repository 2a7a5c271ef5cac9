"""Tiny random models as subjects: they read any English or Chinese text, differ clearly from text to text, and need no files."""

from __future__ import annotations

import string
from typing import Any

import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (  # pyright: ignore[reportAttributeAccessIssue]
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertTokenizerFast,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
)

from fm_notebook.engine.capabilities.subject import LoadedSubject, subject_of

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = (  # noqa: SIM905 - easier read as a sentence
    "the a an is was are were he she him her his hers they man woman men women boy girl people doctor nurse engineer teacher "
    "good bad kind rude smart strong weak love hate science art math family career work home young old rich poor and but not "
    "very because that who in at to of for with told said made"
).split()
LETTERS = string.ascii_lowercase + string.digits + string.punctuation
CHINESE = "".join(map(chr, range(0x4E00, 0x9FA6))) + "，。！？、：；“”（）"
LIMIT = 128
LABELS = ("negative", "positive")


def english_tokenizer() -> Any:
    """Frequent words are one token, others are spelt letter by letter."""
    words = [*SPECIAL, *dict.fromkeys([*WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)])]
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, model_max_length=LIMIT)


def chinese_tokenizer() -> Any:
    """Every character is a token."""
    return BertTokenizerFast(vocab={word: i for i, word in enumerate([*SPECIAL, *CHINESE])}, model_max_length=LIMIT)


def byte_tokenizer() -> Any:
    """Every byte is a token; ``<s>`` begins a text."""
    vocab = {letter: i for i, letter in enumerate([*sorted(ByteLevel.alphabet()), "<s>", "</s>"])}
    return GPT2Tokenizer(
        vocab=vocab, merges=[], model_max_length=4 * LIMIT, bos_token="<s>", eos_token="</s>", unk_token="</s>", pad_token="</s>"
    )


def bert(kind: type, tokenizer: Any, **settings: Any) -> Any:
    """Of two layers and 64 features, with weights large enough that texts differ."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        max_position_embeddings=LIMIT, initializer_range=0.5, **settings,
    )  # fmt: skip
    return kind(config).eval()


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def masked_subject() -> LoadedSubject:
    """An English encoder with a head for masked words."""
    tokenizer = english_tokenizer()
    return subject_of(bert(BertForMaskedLM, tokenizer), tokenizer, name="tiny")


@pytest.fixture(scope="session")
def chinese_subject() -> LoadedSubject:
    """A Chinese encoder with a head for masked words."""
    tokenizer = chinese_tokenizer()
    return subject_of(bert(BertForMaskedLM, tokenizer), tokenizer, name="tiny-zh")


@pytest.fixture(scope="session")
def pairing_subject() -> LoadedSubject:
    """An English encoder with heads for masked words and for next sentences."""
    tokenizer = english_tokenizer()
    return subject_of(bert(BertForPreTraining, tokenizer), tokenizer, name="tiny-nsp")


@pytest.fixture(scope="session")
def classifier_subject() -> LoadedSubject:
    """An English classifier of the labels negative and positive."""
    tokenizer = english_tokenizer()
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}}
    return subject_of(bert(BertForSequenceClassification, tokenizer, **names), tokenizer, name="tiny-classifier")


@pytest.fixture(scope="session")
def chinese_classifier_subject() -> LoadedSubject:
    """A Chinese classifier of the labels negative and positive."""
    tokenizer = chinese_tokenizer()
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}}
    return subject_of(bert(BertForSequenceClassification, tokenizer, **names), tokenizer, name="tiny-classifier-zh")


@pytest.fixture(scope="session")
def causal_subject() -> LoadedSubject:
    """A causal language model over bytes: it reads any language."""
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=4 * LIMIT, n_embd=64, n_layer=2, n_head=2, initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return subject_of(GPT2LMHeadModel(config).eval(), tokenizer, name="tiny-causal")
