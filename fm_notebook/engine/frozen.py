"""Training the head alone: the backbone is frozen, so what it says of a text is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MethodType
from typing import Any

import numpy as np
import torch

from fm_notebook.engine.batching import Examples, collate
from fm_notebook.errors import SpecError

_PIECE = 64  # texts at a time
Head = Callable[[torch.Tensor], torch.Tensor]


def freeze_backbone(model: Any, *, fresh: Sequence[str] = ()) -> None:
    """Let nothing learn but the head and the parameters named in `fresh`; the backbone stays in evaluation mode for good.

    Without its dropout the backbone's output is a constant of each text.

    Raises
    ------
    SpecError
        If no parameter is left to train, such as for a language head that is tied to the embeddings.
    """
    for name, p in model.named_parameters():
        p.requires_grad_(name in set(fresh))
    backbone = {id(p) for p in model.base_model.parameters()}
    for p in model.parameters():
        if id(p) not in backbone:
            p.requires_grad_(True)
    if not any(p.requires_grad for p in model.parameters()):
        raise SpecError("adapter.nothing_to_train", model=type(model).__name__)
    model.base_model.eval()
    model.base_model.train = MethodType(_stay, model.base_model)  # the loop calls `model.train()` before its steps


def head(model: Any) -> Head | None:
    """What comes after the first token's last hidden state: from ``(B, D)`` to logits ``(B, C)``.

    None if the family's head reads something else, or if something before it learns: then the plain forward is needed.
    """
    found = _HEADS.get(type(model).__name__) if type(model).__module__.startswith("transformers.models.") else None
    learns = any(p.requires_grad for name, p in model.base_model.named_parameters() if not name.startswith("pooler."))
    return None if found is None or learns else partial(found, model)


def read_on(model: Any, first: torch.Tensor) -> torch.Tensor:
    """Logits ``(B, C)`` from `features` ``(B, D)``, by a head that there is."""
    found = head(model)
    assert found is not None
    return found(first)


def with_features(model: Any, examples: Examples) -> Examples:
    """`examples` with their `features`, where `model` has a `head` that reads them; else as they are."""
    if head(model) is None:
        return examples
    device = next(model.parameters()).device
    pieces = (np.arange(start, min(start + _PIECE, len(examples))) for start in range(0, len(examples), _PIECE))
    found = features(model, (collate(examples.batch(piece), device) for piece in pieces))
    return replace(examples, features=found.cpu().numpy())


@torch.no_grad()
def features(model: Any, batches: Iterable[Mapping[str, torch.Tensor]]) -> torch.Tensor:
    """The first token's last hidden state of each text, shape ``(N, D)``, in fp32 and in the order of `batches`.

    Costs one forward pass, and 4 N D bytes: 1.5 GB for a million texts of MiniLM (D = 384).

    Parameters
    ----------
    model : PreTrainedModel
        With a frozen backbone, for which `head` is not None.
    batches : iterable of mappings
        Inputs of the model, padded, each value of shape ``(B, T)``.
    """
    # No inference_mode: the head's backward pass has to keep these tensors.
    model.base_model.eval()
    return torch.cat([model.base_model(**batch).last_hidden_state[:, 0].float() for batch in batches])


def _stay(backbone: torch.nn.Module, mode: bool = True) -> torch.nn.Module:
    del mode
    return type(backbone).train(backbone, False)


def _bert(model: Any, first: torch.Tensor) -> torch.Tensor:
    return model.classifier(model.dropout(model.bert.pooler(first[:, None])))


def _distilbert(model: Any, first: torch.Tensor) -> torch.Tensor:
    return model.classifier(model.dropout(torch.relu(model.pre_classifier(first))))


def _roberta(model: Any, first: torch.Tensor) -> torch.Tensor:
    return model.classifier(first[:, None])


_HEADS: Mapping[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "BertForSequenceClassification": _bert,
    "DistilBertForSequenceClassification": _distilbert,
    **dict.fromkeys((f"{family}ForSequenceClassification" for family in ("Roberta", "XLMRoberta", "Electra")), _roberta),
}
