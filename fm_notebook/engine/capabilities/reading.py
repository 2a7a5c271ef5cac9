"""How texts go through a model that is asked: in which layout, how many at once, and the model as it was afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch

from fm_notebook.contracts.protocols import IGNORED, Level
from fm_notebook.engine import families, memory
from fm_notebook.engine.batching import Batch, Budget, micro_batches
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.kernels import switch
from fm_notebook.engine.next_sentence import words_alone
from fm_notebook.engine.parts import CPU_TOKENS, GPU_TOKENS
from fm_notebook.engine.precision import Precision
from fm_notebook.engine.questions import plainly
from fm_notebook.errors import JobFailed

Read = Callable[[Batch, Forward], None]


class Cut(Protocol):
    """Makes pieces of a batch, such as `fm_notebook.engine.batching.micro_batches`."""

    def __call__(self, batch: Batch, budget: Budget, /, *, padded: bool) -> Iterator[Batch]:  # noqa: D102
        ...


@dataclass
class Reader:
    """A model, and how batches go through it.

    Attributes
    ----------
    model : PreTrainedModel or PeftModel
        On its device.
    pad_id : int
    limit : int
        Most tokens that it takes.
    precision : str
    batch_tokens : int or None
        Tokens at once; None: as suits the device.
    """

    model: Any
    pad_id: int
    limit: int
    precision: Precision = "fp32"
    batch_tokens: int | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def most_tokens(self) -> int:
        """Tokens that go through the model at once."""
        return self.batch_tokens or (CPU_TOKENS if self.device.type == "cpu" else GPU_TOKENS)

    @cached_property
    def packs(self) -> bool:
        """Whether the model takes rows without padding; tried once."""
        with plainly(self.model), words_alone(self.model):
            return families.can_pack(self.model)

    @contextmanager
    def reading(self, *, packed: bool = True) -> Iterator[Forward]:
        """Within it the model is as it should be to be asked; afterwards it is as it was found."""
        packed = packed and self.packs
        with ExitStack() as stack:
            stack.enter_context(plainly(self.model))
            stack.enter_context(words_alone(self.model))
            stack.enter_context(switch.while_scoring(self.model, self.precision))
            if packed:
                families.enable(self.model)
                stack.callback(families.disable, self.model)
            yield Forward(self.precision, "packed" if packed else "padded")

    def batch(
        self, ids: np.ndarray, lengths: np.ndarray, types: np.ndarray | None, targets: np.ndarray | None = None
    ) -> Batch:  # fmt: skip
        """Texts as the engine batches them; `targets`, of each token, are numbers that come back with its logits."""
        n = len(lengths)
        level: Level = "text" if targets is None else "token"
        marks = np.zeros(n, np.int64) if targets is None else targets
        return Batch(
            ids=ids, lengths=lengths, type_ids=types, targets=marks, weights=np.broadcast_to(np.float32(1), marks.shape),
            rows=np.arange(n), level=level, pad_id=self.pad_id, limit=self.limit,
        )  # fmt: skip

    def each(self, batch: Batch, tokens: int, read: Read, *, packed: bool = True, cut: Cut = micro_batches) -> None:
        """`read` of every piece of `batch`, of `tokens` tokens as `cut` makes them; smaller ones where memory does not suffice.

        Raises
        ------
        JobFailed
            If it does not suffice for one text.
        """
        if not len(batch):
            return
        with self.reading(packed=packed) as forward, torch.inference_mode():
            budget, left = Budget(len(batch), tokens), batch
            while len(left):
                done = _read(cut(left, budget, padded=forward.padded), forward, read)
                left = left.take(np.flatnonzero(~np.isin(left.rows, done)))
                budget = budget.halved(len(batch))


def _read(pieces: Iterator[Batch], forward: Forward, read: Read) -> np.ndarray:
    """`read` of every piece; the rows of those that were read before memory ran out."""
    done = [np.zeros(0, np.int64)]
    for piece in pieces:
        try:
            read(piece, forward)
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
            memory.free()
            if len(piece) == 1:
                raise JobFailed("engine.out_of_memory_scoring") from error
            break
        done.append(piece.rows)
    return np.concatenate(done)


def marked(n: int, places: np.ndarray) -> np.ndarray:
    """Targets of `n` tokens: at `places` their numbers from 0, `IGNORED` elsewhere."""
    targets = np.full(n, IGNORED, np.int64)
    targets[places] = np.arange(len(places))
    return targets
