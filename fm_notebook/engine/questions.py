"""What is asked of a model about one text, so that parts of the text can be changed and the answer read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from fm_notebook.engine import families
from fm_notebook.engine.batching import to_device

Kind = Literal["single-label", "multi-label", "regression", "next-token"]
TOKENS_AT_ONCE = 2048


@dataclass(frozen=True)
class Sentence:
    """The tokens that a model reads at once.

    Attributes
    ----------
    ids : ndarray of int64, shape (T,)
    types : ndarray of int64, shape (T,), or None
    free : ndarray of int64, shape (n,)
        Places of the tokens that may be changed.
    read : ndarray of int64, shape (m,)
        Places whose answers are read; none: the model's one answer for the whole text.
    targets : ndarray of int64, shape (m,), or None
        The tokens that are to follow these places; None where the answer is a class.
    """

    ids: np.ndarray
    types: np.ndarray | None
    free: np.ndarray
    read: np.ndarray
    targets: np.ndarray | None = None

    def replaced(self, which: Sequence[int], token: int) -> Sentence:
        """With `token` instead of the free tokens numbered `which`."""
        ids = self.ids.copy()
        ids[self.free[list(which)]] = token
        return replace(self, ids=ids)

    def without(self, which: Sequence[int], stand_in: int) -> Sentence:
        """Without the free tokens numbered `which`; where nothing would be left to read, `stand_in` stays instead."""
        kept = np.ones(len(self.ids), bool)
        kept[self.free[list(which)]] = False
        if not kept[: self.read[0] + 1 if len(self.read) else None].any():
            return self.replaced(which, stand_in)
        types = None if self.types is None else self.types[kept]
        before = np.cumsum(kept) - 1  # the place read may be gone itself: then what stands before it is read
        return Sentence(self.ids[kept], types, self.free[:0], before[self.read], self.targets)

    def inputs(self, device: torch.device) -> dict[str, torch.Tensor]:
        """What a model takes, a batch of one."""
        return _inputs([self], device)


@dataclass(frozen=True)
class Question:
    """One answer, read from C sentences that hold the same n free tokens (one, but for labels that are texts themselves).

    Attributes
    ----------
    sentences : tuple of Sentence
    kind : str
        How answers become probabilities.
    weights, prior : ndarray of float32, shape (C,), or None
        Log-likelihoods of sentences are multiplied by the first, then the second is subtracted.
    """

    sentences: tuple[Sentence, ...]
    kind: Kind
    weights: np.ndarray | None = None
    prior: np.ndarray | None = None

    def answers(self, model: Any, variants: Sequence[tuple[Sentence, ...]]) -> torch.Tensor:
        """Logits of each variant of the sentences, shape ``(V, C)``; sentences of one length go through the model together."""
        columns = [_rows(model, [variant[c] for variant in variants]) for c in range(len(self.sentences))]
        return self._joined(columns)

    def embedded(self, model: Any, values: torch.Tensor) -> torch.Tensor:
        """Logits, shape ``(S, C)``, with the embeddings `values` of shape ``(S, n, D)`` instead of the free tokens'."""
        found = []
        for sentence in self.sentences:
            places = to_device(sentence.free, values.device)
            with _instead(model.get_input_embeddings(), places, values):
                found.append(_read(model, [sentence] * len(values)))
        return self._joined(found)

    def _joined(self, columns: list[torch.Tensor]) -> torch.Tensor:
        whole = torch.cat(columns, dim=1)
        for values, join in ((self.weights, torch.mul), (self.prior, torch.sub)):
            whole = whole if values is None else join(whole, to_device(values, whole.device))
        return whole

    def measure(self, logits: torch.Tensor, label: int) -> torch.Tensor:
        """The number that is explained, shape ``(V,)``.

        The log-odds ln p/(1 − p) of a label: unlike p they do not flatten where the model is sure, and unlike one logit they
        say how the label stands against the others. Of a number the number, of next tokens their log-probability.
        """
        own = logits[:, label]
        if self.kind != "single-label" or logits.shape[1] < 2:
            return own
        others = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)
        return own - others.logsumexp(dim=1)

    def probabilities(self, logits: torch.Tensor) -> np.ndarray:
        """In float64, shape ``(V, C)``; numbers as they are."""
        wide = logits.detach().double()
        match self.kind:
            case "single-label":
                wide = wide.softmax(dim=1)
            case "multi-label":
                wide = wide.sigmoid()
            case "next-token":
                wide = wide.exp()
        return wide.cpu().numpy()


def _rows(model: Any, sentences: list[Sentence]) -> torch.Tensor:
    """Logits of sentences, shape ``(V, C)``, without a gradient."""
    lengths = np.array([len(sentence.ids) for sentence in sentences])
    found: list[torch.Tensor | None] = [None] * len(sentences)
    for length in np.unique(lengths).tolist():
        which = np.flatnonzero(lengths == length)
        size = max(1, TOKENS_AT_ONCE // length)
        for start in range(0, len(which), size):
            part = which[start : start + size]
            with torch.inference_mode():
                logits = _read(model, [sentences[i] for i in part])
            for i, row in zip(part, logits, strict=True):
                found[i] = row
    return torch.stack([row for row in found if row is not None])


def _read(model: Any, sentences: list[Sentence]) -> torch.Tensor:
    """Logits of sentences of one length: of the text, of the one place read, or log-likelihood of targets, shape ``(S, 1)``."""
    device = next(model.parameters()).device
    inputs = _inputs(sentences, device)
    read = np.stack([sentence.read for sentence in sentences])
    if not read.shape[1]:
        return _wide(model(**inputs).logits)
    flat = (read + np.arange(len(sentences))[:, None] * inputs["input_ids"].shape[1]).ravel()
    logits = _wide(families.padded_tokens(model, inputs, to_device(flat, device)))
    if sentences[0].targets is None:
        return logits.unflatten(0, read.shape)[:, 0]
    targets = to_device(np.stack([each.targets for each in sentences if each.targets is not None]), device)
    chosen = logits.log_softmax(dim=-1).gather(1, targets.reshape(-1, 1))
    return chosen.view(read.shape).sum(dim=1, keepdim=True)


def _wide(logits: torch.Tensor) -> torch.Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _inputs(sentences: list[Sentence], device: torch.device) -> dict[str, torch.Tensor]:
    ids = to_device(np.stack([sentence.ids for sentence in sentences]), device)
    found = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if sentences[0].types is not None:
        found["token_type_ids"] = to_device(np.stack([each.types for each in sentences if each.types is not None]), device)
    return found


@contextmanager
def _instead(layer: Any, places: torch.Tensor, values: torch.Tensor) -> Iterator[None]:
    """Within it, the embedding layer gives `values` at `places`: heads that look for padding in the ids find what they know."""
    handle = layer.register_forward_hook(lambda _layer, _ids, found: found.index_copy(1, places, values.to(found.dtype)))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def plainly(model: torch.nn.Module) -> Iterator[None]:
    """Within it `model` computes as its authors wrote it: no dropout, no packing, no autocast, and no weight asks for a gradient.

    Everything is as found afterwards.
    """
    modes = [(module, module.training) for module in model.modules()]
    asked = [parameter for parameter in model.parameters() if parameter.requires_grad]
    packed = families.is_enabled(model)
    device = next(model.parameters()).device
    try:
        families.disable(model)
        model.eval()
        for parameter in asked:
            parameter.requires_grad_(False)
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for parameter in asked:
            parameter.requires_grad_(True)
        for module, training in modes:
            module.training = training
        if packed:
            families.enable(model)
