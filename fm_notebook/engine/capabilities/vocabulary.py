"""How likely tokens are at places of texts: each text goes through the model once, and meets the vocabulary only where asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from fm_notebook.engine import families
from fm_notebook.engine.batching import Batch, micro_batches, spans, to_device
from fm_notebook.engine.capabilities import prefixes
from fm_notebook.engine.capabilities.reading import Reader, marked
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.parts import LARGEST_LOGITS
from fm_notebook.engine.precision import autocast


@dataclass(frozen=True)
class Asked:
    """N texts of T tokens in all, and E questions to them.

    Attributes
    ----------
    ids : ndarray of int64, shape (T,)
        One text after the other.
    lengths : ndarray of int64, shape (N,)
    types : ndarray of int64, shape (T,), or None
    text, place, token : ndarray of int64, shape (E,)
        Which text, where in it, and which token's probability there.
    """

    ids: np.ndarray
    lengths: np.ndarray
    types: np.ndarray | None
    text: np.ndarray
    place: np.ndarray
    token: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Where each text begins, shape ``(N,)``."""
        return np.cumsum(self.lengths) - self.lengths

    def distinct(self) -> Asked:
        """The same questions to texts no two of which are equal."""
        starts = self.starts.tolist()
        parts = [self.ids] if self.types is None else [self.ids, self.types]
        keys = [
            b"".join([part[start : start + n].tobytes() for part in parts])
            for start, n in zip(starts, self.lengths.tolist(), strict=True)
        ]
        number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        if len(number) == len(keys):
            return self
        which = np.fromiter((number[key] for key in keys), np.int64, len(keys))
        _, first = np.unique(which, return_index=True)
        flat, lengths = spans(self.starts[first], self.lengths[first])
        types = None if self.types is None else self.types[flat]
        return Asked(self.ids[flat], lengths, types, which[self.text], self.place, self.token)


def log_probs(reader: Reader, asked: Asked, *, causal: bool = False) -> np.ndarray:
    """Natural logarithms of the probabilities, float64, shape ``(E,)``; NaN where a text is longer than the model takes.

    By a `causal` model, beginnings that texts share are read once.
    """
    found = np.full(len(asked.text), np.nan)

    def keep(logits: torch.Tensor, numbers: np.ndarray, questions: np.ndarray) -> None:
        rows, tokens = (to_device(each, logits.device) for each in (numbers, asked.token[questions]))
        values = logits[rows, tokens] - logits.logsumexp(dim=1)[rows]
        found[questions] = values.cpu().double().numpy()

    each_place(reader, asked, keep, causal=causal)
    return found


def each_place(
    reader: Reader, asked: Asked, keep: Callable[[torch.Tensor, np.ndarray, np.ndarray], None], *, causal: bool = False
) -> None:
    """Call ``keep(logits, rows, questions)`` until every question to a text that the model takes was answered once.

    `logits` are fp32 of shape ``(n, V)``, and the answer to question ``questions[i]`` is in row ``rows[i]`` of them.
    """
    fits = (asked.lengths <= reader.limit)[asked.text]
    questions = np.flatnonzero(fits)
    if not len(questions):
        return
    one = asked.distinct()
    places, number = np.unique(one.starts[one.text[questions]] + one.place[questions], return_inverse=True)
    order, counts = np.argsort(number, kind="stable"), np.bincount(number)
    before = np.cumsum(counts) - counts
    batch = reader.batch(one.ids, one.lengths, one.types, marked(len(one.ids), places))
    used = np.zeros(len(one.lengths), bool)
    used[one.text[questions]] = True

    def read(micro: Batch, forward: Forward) -> None:
        mine = micro.targets[micro.places]
        if share:
            with autocast(reader.device, forward.precision):
                logits, rows = prefixes.logits(reader.model, micro)
        else:
            logits, rows = forward.logits(reader.model, micro), np.arange(len(mine))
        flat, sizes = spans(before[mine], counts[mine])
        keep(logits, np.repeat(rows, sizes), questions[order[flat]])

    share, chosen = causal and reader.packs, batch.take(np.flatnonzero(used))
    tokens = _tokens(reader, len(chosen.ids), len(places))
    reader.each(chosen, tokens, read, cut=prefixes.pieces if share else micro_batches)


def _tokens(reader: Reader, tokens: int, places: int) -> int:
    """Tokens at once, so that their logits do not take too much memory where `places` of `tokens` are asked."""
    words = families.unwrapped(reader.model).get_output_embeddings().weight.shape[0]
    return max(1, min(reader.most_tokens, LARGEST_LOGITS * tokens // (words * max(1, places))))
