"""Tests that need a CUDA device: ``make gpu``. Elsewhere they are skipped, and say why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

WORDS = [
    "good",
    "bad",
    "fine",
    "dull",
    "warm",
    "cold",
    "a",
    "the",
    "it",
    "was",
    "film",
    "plot",
    "and",
    "not",
    "very",
    "quite",
    "we",
    "saw",
]


@pytest.fixture(scope="session", autouse=True)
def _needs_a_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    from fm_notebook.engine.precision import choose_device

    choose_device("cuda")  # before any product, see `fm_notebook.engine.determinism`


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _nothing_is_left_on_the_gpu() -> Iterator[None]:
    import gc

    import torch

    yield
    gc.collect()
    torch.cuda.empty_cache()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for this test's runs; nobody's settings are read, nothing is downloaded or warmed."""
    settings = {"FM_NOTEBOOK_RUNS": tmp_path / "runs", "FM_NOTEBOOK_STATE": tmp_path / "state", "FM_NOTEBOOK_LANGUAGE": "en"}
    for name, value in {**settings, "HF_HUB_OFFLINE": "1", "FM_NOTEBOOK_WARM": "0", "FM_NOTEBOOK_CONFIG": os.devnull}.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with shared keys, whose tokens are words."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_llama")
    words = ["<pad>", "<s>", "</s>", "<unk>", *WORDS]
    tokens = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece(prefix="##")
    tokens.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token="<s>", eos_token="</s>", unk_token="<unk>", model_max_length=64
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = LlamaConfig(vocab_size=len(words), bos_token_id=1, eos_token_id=2, intermediate_size=64, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def sentences(n: int = 96, seed: int = 0, longest: int = 20) -> pd.DataFrame:
    """Texts whose first word tells the truth, of 1 to `longest` words more."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    texts = [f"{['bad', 'good'][t]} {' '.join(rng.choice(WORDS[6:], rng.integers(1, longest)))}" for t in truth]
    return pd.DataFrame({"text": texts, "label": [["n", "p"][t] for t in truth]})


def tagged() -> pd.DataFrame:
    words = [text.split() for text in sentences()["text"]]
    tags = [["B-MOOD" if w in WORDS[:6] else "B-ART" if w in {"film", "plot"} else "O" for w in line] for line in words]
    return pd.DataFrame({"text": words, "label": tags})


@pytest.fixture(scope="session")
def rows():
    """Data frames by kind: ``sentences`` with a label, words that are ``tagged``."""
    return {"sentences": sentences(), "tagged": tagged()}
