"""A small BERT on packed rows, and a way to train it for a few steps."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from transformers import BertConfig, BertForSequenceClassification

from fm_notebook.engine import families
from fm_notebook.engine.packing import pack

VOCABULARY = 50


def make_model(dropout: float = 0.0, **changes: Any) -> Any:
    torch.manual_seed(1)
    settings = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, **changes}
    config = BertConfig(
        vocab_size=VOCABULARY, max_position_embeddings=64, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
        **settings,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    families.enable(model)
    return model.train()


def texts(seed: int, n: int = 6) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """Ids of a packed row, its plan, and a target for each text that its first word tells; words 30 to 49 never occur."""
    rng = np.random.default_rng(seed)
    plan = pack(rng.integers(2, 20, n))
    ids = torch.from_numpy(rng.integers(5, 30, len(plan.positions)))
    return ids, plan, ids[plan.starts] % 2


def loss_of(model: Any, batch: tuple[torch.Tensor, Any, torch.Tensor], precision: str = "fp32", *, read: bool = False) -> Any:
    ids, plan, targets = batch
    given = {"read_at": plan.starts} if read else {}
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        embedded = model.bert.embeddings(ids[None], position_ids=plan.positions[None])
        hidden = model.bert.encoder(embedded, plan=plan, **given).last_hidden_state
        logits = model.classifier(model.dropout(model.bert.pooler(hidden[0, plan.starts][:, None])))
    return F.cross_entropy(logits.float(), targets)


def train(
    model: Any, steps: int = 50, *, precision: str = "fp32", read: bool = False, micro: int = 1,
    between: Callable[[Any], None] = lambda optimizer: None, **settings: Any,
) -> list[float]:  # fmt: skip
    """Losses of so many steps of AdamW, of `micro` micro-batches each."""
    torch.manual_seed(3)
    optimizer = torch.optim.AdamW(model.parameters(), **{"lr": 1e-3, "weight_decay": 0.0, "fused": True, **settings})
    losses = []
    for step in range(steps):
        parts = [loss_of(model, texts(step * micro + i), precision, read=read) / micro for i in range(micro)]
        for part in parts:
            part.backward()
        losses.append(float(sum(part.detach() for part in parts)))
        between(optimizer)
        optimizer.step()
        optimizer.zero_grad()
    return losses


@pytest.fixture
def tiny() -> SimpleNamespace:
    return SimpleNamespace(model=make_model, batch=texts, loss=loss_of, train=train, vocabulary=VOCABULARY)
