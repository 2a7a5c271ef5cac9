"""Long texts as consecutive pieces of the model's length, so that no token of them is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fm_notebook.engine.batching import spans
from fm_notebook.engine.tokens import Tokens, count_unknown, stand_in


@dataclass(frozen=True)
class Pieces:
    """Pieces of texts, each with the special tokens of a whole text.

    Attributes
    ----------
    tokens : Tokens
        Of M pieces, T tokens in all; none is cut.
    owner : ndarray of int64, shape (M,)
        Number of the text that each piece is from; every text has one at least.
    first : ndarray of int64, shape (M,)
        Place in its text of the piece's first plain token.
    source : ndarray of int64, shape (T,)
        Place of each token among the plain tokens of all texts, -1 for special tokens.
    """

    tokens: Tokens
    owner: np.ndarray
    first: np.ndarray
    source: np.ndarray

    def spread(self, values: np.ndarray, otherwise: int) -> np.ndarray:
        """`values` of the plain tokens as values of all tokens, with `otherwise` at special tokens, shape ``(T,)``."""
        return np.append(values, np.asarray(otherwise, values.dtype))[self.source]  # -1 is the appended one


def cut(tokenizer: Any, ids: np.ndarray, lengths: np.ndarray, max_length: int) -> Pieces:
    """Cut texts into pieces of at most `max_length` tokens, special ones included.

    As in continued pre-training with transformers' ``run_mlm``, the last piece of a text is shorter; unlike there, no piece
    holds two texts, as packed rows waste nothing on short ones.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    ids : ndarray of int, shape (P,)
        Plain tokens of all texts, one text after the other.
    lengths : ndarray of int, shape (N,)
        Plain tokens of each text.
    max_length : int
    """
    before, after = frame(tokenizer)
    body = max(1, max_length - len(before) - len(after))
    owner, number, plain = borders(lengths, body)
    sizes = np.maximum(1, plain + len(before) + len(after))  # models take no text without a token
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    source = np.full(offsets[-1], -1, np.int64)
    source[spans(offsets[:-1] + len(before), plain)[0]] = np.arange(len(ids))
    made = np.append(ids, stand_in(tokenizer)).astype(np.int32)[source]
    for place, token in enumerate(before):
        made[offsets[:-1] + place] = token
    for place, token in enumerate(reversed(after), start=1):
        made[offsets[1:] - place] = token
    tokens = Tokens(
        ids=made, offsets=offsets, type_ids=None, pad_id=tokenizer.pad_token_id or 0, limit=max_length, truncated=0,
        unknown=count_unknown(tokenizer, ids), plain=len(ids),
    )  # fmt: skip
    return Pieces(tokens, owner, number * body, source)


def borders(lengths: np.ndarray, body: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each piece of at most `body` tokens: its text, its number in that text, and its plain tokens, shapes ``(M,)``."""
    pieces_each = np.maximum(1, -(-lengths // body))
    owner, number = np.repeat(np.arange(len(lengths)), pieces_each), spans(np.zeros_like(pieces_each), pieces_each)[0]
    return owner, number, np.minimum(body, lengths[owner] - number * body)


def frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that `tokenizer` puts before and after a text."""
    plain, whole = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (False, True))
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return whole[:start], whole[start + len(plain) :]
    raise NotImplementedError(f"{type(tokenizer).__name__} changes the text between its special tokens")
