"""Next-sentence prediction beside masking, for BERT and its like: pairs of segments, and both heads at once.

References
----------
Devlin et al. (2019), *BERT*, NAACL, section 3.1, task 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts.protocols import IGNORED
from fm_notebook.engine.batching import spans
from fm_notebook.engine.kernels.replacing import replace_forward
from fm_notebook.engine.models import Loaded
from fm_notebook.engine.pieces import Pieces, borders
from fm_notebook.engine.randomness import uniform
from fm_notebook.engine.tokens import Tokens, count_unknown
from fm_notebook.errors import ModelError

FOLLOWS, STRANGER = -1, -2
"""Targets at the first token of a pair: below 0, since every other number is a token; outputs 0 and 1 of the model's head."""
BORROWED = 2**24
"""Added to the units of a second segment that is from elsewhere, so that its masks do not hang on those of the first."""
SENTENCE_ENDS = (".", "!", "?", "。", "！", "？")


def both_heads(loaded: Loaded, name: str) -> Loaded:
    """The model for pre-training, now giving at each place logits of the vocabulary and behind them two for the pair, (…, V + 2).

    Its class, and so what is saved, stays as it was.

    Raises
    ------
    ModelError
        If the architecture has no head for pairs.
    """
    model = loaded.model
    if not hasattr(getattr(model, "cls", None), "seq_relationship") or getattr(model.base_model, "pooler", None) is None:
        raise ModelError("masking.no_next_sentence", name=name, architecture=model.config.model_type)
    model.forward = MethodType(_forward, model)
    return loaded


def _forward(self: Any, **inputs: Any) -> Any:
    from transformers.modeling_outputs import MaskedLMOutput

    hidden = self.base_model(**inputs).last_hidden_state
    pooler = self.base_model.pooler  # as it does at the first place; here at every one that is asked for
    pair = self.cls.seq_relationship(pooler.activation(pooler.dense(hidden)))
    return MaskedLMOutput(logits=torch.cat([self.cls.predictions(hidden), pair], dim=-1))


def has_both(model: Any) -> bool:
    """Whether `model` has a head for words and one for pairs."""
    head = getattr(model, "cls", None)
    return hasattr(head, "predictions") and hasattr(head, "seq_relationship")


@contextmanager
def words_alone(model: Any) -> Iterator[None]:
    """Within it a model that `has_both` heads answers as one with the head for words does; any other stays as it is."""
    if not has_both(model):
        yield
        return
    undo = replace_forward(model, MethodType(_words, model))
    try:
        yield
    finally:
        undo()


def _words(self: Any, **inputs: Any) -> Any:
    from transformers.modeling_outputs import MaskedLMOutput

    return MaskedLMOutput(logits=self.cls.predictions(self.base_model(**inputs).last_hidden_state))


def losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Loss of each hidden token and of each pair, shape ``(n,)``, from logits ``(n, V + 2)``."""
    from torch.nn import functional

    token = functional.cross_entropy(logits[:, :-2], targets.clamp(min=0), reduction="none")
    pair = functional.cross_entropy(logits[:, -2:], (FOLLOWS - targets).clamp(0, 1), reduction="none")
    return torch.where(targets >= 0, token, pair)


def wrong(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 where the likelier output for the pair is not its target, else 0, int64, shape ``(n,)``."""
    return (logits[:, -2:].argmax(1) != FOLLOWS - targets).long()


def pairs(
    tokenizer: Any, ids: np.ndarray, lengths: np.ndarray, units: np.ndarray, rows: np.ndarray, max_length: int
) -> tuple[Pieces, np.ndarray]:
    """Texts in pieces, and each piece in two segments, of which about half the second ones are exchanged for another text's.

    A piece is parted at the sentence end that is nearest to its middle, or in its middle. Pairs are drawn once, by row: they are
    part of the data.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    ids, units : ndarray, shape (P,)
        Plain tokens of all texts and their units, see `fm_notebook.engine.masking`.
    lengths, rows : ndarray, shape (N,)
    max_length : int

    Returns
    -------
    pieces : Pieces
        Of shape ``(M,)``.
    targets : ndarray of int32, shape (T,)
        Units; `FOLLOWS` or `STRANGER` at the first token of a pair; `IGNORED` at other special tokens.
    """
    owner, number, sizes = borders(lengths, max_length - 3)
    start = (np.cumsum(lengths) - lengths)[owner] + number * (max_length - 3)
    first = _first_segments(tokenizer, ids, start, sizes)
    partner = _partners(owner, rows[owner], number, sizes - first)
    strange = partner != np.arange(len(owner))
    second = np.minimum((sizes - first)[partner], max_length - 3 - first)
    total = first + second + 2 + (second > 0)
    offsets = np.concatenate([[0], np.cumsum(total)]).astype(np.int64)
    begin = offsets[:-1]
    source = np.full(offsets[-1], -1, np.int64)
    source[spans(begin + 1, first)[0]] = spans(start, first)[0]
    of_second = spans(begin + first + 2, second)[0]
    source[of_second] = spans((start + first)[partner], second)[0]

    made = np.append(ids, 0).astype(np.int32)[source]
    made[begin], made[begin + first + 1], made[offsets[1:] - 1] = (
        tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.sep_token_id,
    )  # fmt: skip
    types = np.zeros(len(made), np.int8)
    types[spans(begin + first + 2, total - first - 2)[0]] = 1
    targets = np.append(units, IGNORED).astype(np.int32)[source]
    borrowed = of_second[np.repeat(strange, second) & (targets[of_second] != IGNORED)]
    targets[borrowed] += BORROWED
    targets[begin] = np.where(second > 0, np.where(strange, STRANGER, FOLLOWS), IGNORED)
    tokens = Tokens(
        ids=made, offsets=offsets, type_ids=types, pad_id=tokenizer.pad_token_id or 0, limit=max_length, truncated=0,
        unknown=count_unknown(tokenizer, ids), plain=len(ids),
    )  # fmt: skip
    return Pieces(tokens, owner, number * (max_length - 3), source), targets


def _first_segments(tokenizer: Any, ids: np.ndarray, start: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Tokens of each piece's first segment, shape ``(M,)``."""
    marks = [i for i in tokenizer.convert_tokens_to_ids(list(SENTENCE_ENDS)) if i != tokenizer.unk_token_id]
    ends = np.concatenate([[-1], np.flatnonzero(np.isin(ids, marks)) + 1, [len(ids) + 1]])
    middle = start + (sizes + 1) // 2
    after = np.searchsorted(ends, middle)
    near = np.stack([ends[after - 1], ends[after]])
    far = np.where((near > start) & (near < start + sizes), np.abs(near - middle), np.iinfo(np.int64).max)
    nearest = near[far.argmin(0), np.arange(len(start))]
    return np.where(far.min(0) < np.iinfo(np.int64).max, nearest, middle) - start


def _partners(owner: np.ndarray, rows: np.ndarray, number: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The piece that each piece has its second segment from: for about half, one of another text."""
    partner = np.arange(len(owner))
    able = np.flatnonzero(second > 0)
    change, which = (uniform(0, rows[able], number[able], draw) for draw in (0, 1))
    other = able[(np.arange(len(able)) + 1 + (which * (len(able) - 1)).astype(np.int64)) % max(1, len(able))]
    exchanged = (change < 0.5) & (owner[other] != owner[able])
    partner[able[exchanged]] = other[exchanged]
    return partner
