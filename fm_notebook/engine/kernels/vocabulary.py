"""Train only the word vectors of words that occur: the others would not move, but the optimiser would visit them all.

Exact without weight decay. With it, the vectors of absent words shrink by the same factor each step, which is applied to them
once, when the whole table is asked for. Ids stay what they are; the embedding looks up where their vectors now lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  (its name everywhere)

from fm_notebook.engine.kernels.replacing import replace_forward

FACTOR = "absent_factor"  # the buffer's name: checkpoints keep it, saved models do not


def fits(model: Any) -> bool:
    """Whether `model` has a table of word vectors of its own that is trained.

    One that also is the output layer's (language models) moves in every row at every step.
    """
    table = model.get_input_embeddings()
    if type(table) is not torch.nn.Embedding or not table.weight.requires_grad or table.max_norm is not None or table.sparse:
        return False
    return sum(p is table.weight for _, p in model.named_parameters(remove_duplicate=False)) == 1


def occurring(ids: Sequence[np.ndarray], special: Sequence[int]) -> np.ndarray:
    """The ids that occur in `ids` (training and held-out texts) or are `special`, ascending, shape ``(K,)``."""
    return np.unique(np.concatenate([*ids, np.asarray(special, np.int64)])).astype(np.int64)


class CompactVocabulary:
    """The word vectors of `model` cut down to those of the K ids `kept`, from now on until `restore`.

    The parameter keeps its identity and its name and has the shape ``(K, H)``, so make it before the optimiser. A text with
    other words can be scored at any time (slowly), but not trained on.

    Parameters
    ----------
    model : PreTrainedModel
        One that `fits`.
    kept : ndarray of int64, shape (K,)
        Ascending; see `occurring`.
    """

    def __init__(self, model: Any, kept: np.ndarray):
        self._table: torch.nn.Embedding = model.get_input_embeddings()
        weight = self._table.weight
        self._kept = torch.from_numpy(kept).to(weight.device)
        self._whole = weight.detach().clone()
        self._places = torch.full((len(weight),), -1, dtype=torch.int64, device=weight.device)
        self._places[self._kept] = torch.arange(len(kept), device=weight.device)
        self._padding = padding = self._table.padding_idx
        self._padding_place = None if padding is None else int(self._places[padding])  # once: on a GPU the host waits for it
        self._table.register_buffer(FACTOR, torch.ones((), dtype=torch.float64, device=weight.device))
        self._undo = replace_forward(self._table, self._forward)
        self._shrink()

    @property
    def absent_bytes(self) -> int:
        """What the vectors of absent words take where the model has them."""
        return (self._whole.numel() - self._table.weight.numel()) * self._whole.element_size()

    def decay(self, optimizer: torch.optim.Optimizer) -> None:
        """Follow the weight decay of `optimizer`, whose steps shrink absent words' vectors too."""
        optimizer.register_step_post_hook(partial(_decay, self._table))

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Within it, the model has all its word vectors, as it is to be saved; nothing may be trained."""
        compact = self._table.weight.data
        self._table.weight.data, factor = self._all(), self._table._buffers.pop(FACTOR)
        try:
            yield
        finally:
            self._table.register_buffer(FACTOR, factor)
            self._table.weight.data = compact  # the same memory: what was recorded on a GPU refers to it

    def restore(self) -> None:
        """Give the model its whole table back for good."""
        self._table.weight.data = self._all()
        del self._table._buffers[FACTOR]
        self._undo()

    def _shrink(self) -> None:
        self._table.weight.data = self._table.weight.detach().index_select(0, self._kept)

    def _all(self) -> torch.Tensor:
        whole = self._whole * self._table.get_buffer(FACTOR).to(self._whole.dtype)
        return whole.index_copy_(0, self._kept, self._table.weight.detach())

    def _forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  (torch's name for it)
        weight = self._table.weight
        if len(weight) == len(self._places):  # within `whole`
            return F.embedding(input, weight, self._padding)
        places = self._places[input]
        if not self._table.training and bool((places < 0).any()):
            return F.embedding(input, self._all(), self._padding)
        return F.embedding(places, weight, self._padding_place)


def _decay(table: torch.nn.Embedding, optimizer: torch.optim.Optimizer, *_: Any) -> None:
    skipped = getattr(optimizer, "found_inf", None)  # 1.0 where the step did nothing
    for group in optimizer.param_groups:
        if any(p is table.weight for p in group["params"]):
            decay = group["lr"] * group["weight_decay"]
            table.get_buffer(FACTOR).mul_(1 - decay * (1 - skipped if skipped is not None else 1))
