"""A BERT of two layers and rows whose first word tells the label: a step takes milliseconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.engine.batching import Examples
from fm_notebook.engine.parts import Parts
from fm_notebook.engine.tokens import tokenize
from fm_notebook.tasks.text_classification import task

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
    "scene",
    "music",
]
LABELS = ["n", "p"]
SEAMS = (
    "step_function",
    "between_steps",
    "model",
    "train",
    "plan",
    "parameter_groups",
    "layout",
    "precision",
    "task",
    "held_out",
)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, model_max_length=32)


def make_model(dropout: float = 0.1) -> Any:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(WORDS) + 5, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
        id2label=dict(enumerate(LABELS)), label2id={name: i for i, name in enumerate(LABELS)},
    )  # fmt: skip
    return BertForSequenceClassification(config)


def make_examples(tokenizer: Any, n: int, seed: int = 0) -> Examples:
    """`n` texts of 1 to 15 words; half of the rows have a weight of 2."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, n)
    texts = [f"{WORDS[1 - t]} {' '.join(rng.choice(WORDS[6:], rng.integers(0, 15)))}" for t in targets]
    weights = np.where(np.arange(n) % 2, 1.0, 2.0).astype(np.float32)
    return Examples(tokenize(tokenizer, texts, None, 32), targets.astype(np.int64), weights, np.arange(n) + 100)


@pytest.fixture
def make_parts(tmp_path: Path, tokenizer: Any) -> Callable[..., Parts]:
    """Parts of a run in a folder of its own; keyword arguments are fields of the spec, `model` and `train` as they say."""

    def make(name: str = "run", *, dropout: float = 0.1, n: int = 40, **fields: Any) -> Parts:
        seams = {key: fields.pop(key) for key in SEAMS if key in fields}
        settings = {"epochs": 2.0, "batch_size": 8, "learning_rate": 1e-3, "warmup_steps": 0, **fields}
        (tmp_path / name).mkdir(exist_ok=True)
        ref = ModelRef(source="tiny", kind="folder", location="nowhere")
        return Parts(
            spec=FinetuneSpec(train=DataRef(source="rows", kind="value"), model=ref, **settings), labels=LABELS,
            tokenizer=tokenizer,
            checkpoints=tmp_path / name / "checkpoints", result=tmp_path / name / "model",
            **{
                "model": make_model(dropout), "train": make_examples(tokenizer, n), "task": task, "precision": "fp32",
                "held_out": make_examples(tokenizer, 16, seed=1), **seams,
            },
        )  # fmt: skip

    return make
