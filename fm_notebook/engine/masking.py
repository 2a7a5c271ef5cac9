"""Masked language modelling: which tokens are hidden in which epoch, and where words begin.

Every draw depends on seed, epoch, row and place alone, so that masks are the same for any micro-batch, any order, any number of
processes and after a resume.

References
----------
Devlin et al. (2019), *BERT*, NAACL, section 3.1. Liu et al. (2019), *RoBERTa*, section 4.1: masks drawn anew in each epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fm_notebook.contracts.protocols import IGNORED
from fm_notebook.engine.batching import HELD_OUT, Batch
from fm_notebook.engine.pieces import Pieces, cut
from fm_notebook.engine.randomness import uniform
from fm_notebook.engine.tokens import CHUNK
from fm_notebook.errors import ModelError

MASKED, REPLACED = 0.8, 0.1
"""Of the chosen tokens, shares that become the mask and a random token; the rest stays as it is."""
HELD_OUT_PROBABILITY, HELD_OUT_SEED = 0.15, 0
CHOOSE, CHANGE, REPLACEMENT = range(3)


@dataclass(frozen=True)
class Masking:
    """Hides tokens of a batch: a `fm_notebook.engine.batching.Draw`.

    Before, ``batch.targets`` are the places (in the user's row) of the first token of each token's unit, which is a word or the
    token itself; units are chosen whole. After, they are the true tokens at the chosen places. One unit a text is always chosen.
    Targets below 0 stay as they are; those of pairs then weigh as much in all as the hidden tokens.

    Held-out rows are masked alike whatever the training does (single tokens, 15 %, one seed), so that two runs are measured on
    the same items.

    Attributes
    ----------
    mask_id : int
    vocabulary : ndarray of int64
        What a token may be replaced by.
    probability : float
        Share of the units that are chosen, above 0 and below 1.
    seed : int
    """

    mask_id: int
    vocabulary: np.ndarray
    probability: float
    seed: int

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        """`batch` as it is in `epoch`."""
        places = np.flatnonzero(batch.targets >= 0)
        texts = np.repeat(np.arange(len(batch)), batch.lengths)[places]
        units = batch.targets[places].astype(np.int64)
        tokens = units + _place_in_unit(texts, units)
        held_out = epoch == HELD_OUT
        seed, probability = (HELD_OUT_SEED, HELD_OUT_PROBABILITY) if held_out else (self.seed, self.probability)
        rows = batch.rows[texts]
        luck = uniform(seed, epoch, rows, tokens if held_out else units, CHOOSE)
        chosen = (luck < probability) | (luck == _least(luck, texts, len(batch)))
        change = uniform(seed, epoch, rows, tokens, CHANGE)
        other = self.vocabulary[(uniform(seed, epoch, rows, tokens, REPLACEMENT) * len(self.vocabulary)).astype(np.int64)]
        true = batch.ids[places]
        shown = np.where(change < MASKED, self.mask_id, np.where(change < MASKED + REPLACED, other, true))
        ids, targets = batch.ids.copy(), np.minimum(batch.targets, 0).astype(np.int64)
        targets[places] = IGNORED
        ids[places[chosen]], targets[places[chosen]] = shown[chosen], true[chosen]
        return replace(batch, ids=ids, targets=targets, weights=_balanced(batch.weights, targets))


def _balanced(weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The loss is then the mean of two means, half of what BERT's authors add up."""
    pairs = (targets < 0) & (targets != IGNORED)
    if not pairs.any():
        return weights
    return np.where(pairs, (targets >= 0).sum() / pairs.sum(), weights).astype(np.float32)


def _place_in_unit(texts: np.ndarray, units: np.ndarray) -> np.ndarray:
    begins = (np.diff(texts, prepend=-1) != 0) | (np.diff(units, prepend=-1) != 0)
    starts = np.flatnonzero(begins)
    return np.arange(len(units)) - np.repeat(starts, np.diff(np.append(starts, len(units))))


def _least(luck: np.ndarray, texts: np.ndarray, n: int) -> np.ndarray:
    least = np.ones(n)
    np.minimum.at(least, texts, luck)
    return least[texts]


def mask_id(tokenizer: Any) -> int:
    """The token that hides another.

    Raises
    ------
    ModelError
        If the tokenizer has none.
    """
    if tokenizer.mask_token_id is None:
        raise ModelError("masking.no_mask_token", name=tokenizer.name_or_path)
    return tokenizer.mask_token_id


def vocabulary(tokenizer: Any) -> np.ndarray:
    """All tokens but the special ones."""
    return np.setdiff1d(np.fromiter(tokenizer.get_vocab().values(), np.int64), tokenizer.all_special_ids)


@dataclass(frozen=True)
class Plain:
    """Plain tokens of N texts, P in all: their `ids` and `units`, shape ``(P,)``, and how many each text has, shape ``(N,)``.

    A unit is the place in its text of the first token of its word, or of the token itself; `IGNORED` for special tokens that a
    text holds.
    """

    ids: np.ndarray
    units: np.ndarray
    lengths: np.ndarray

    def pieces(self, tokenizer: Any, max_length: int) -> tuple[Pieces, np.ndarray]:
        """The texts in pieces of at most `max_length` tokens, and the unit of each token, shape ``(T,)``, or `IGNORED`."""
        pieces = cut(tokenizer, self.ids, self.lengths, max_length)
        spread = pieces.spread(self.units, IGNORED)
        first = np.repeat(pieces.first, pieces.tokens.lengths)  # a word that is cut in two is two
        return pieces, np.where(spread == IGNORED, IGNORED, np.maximum(spread, first)).astype(np.int32)


def plain(tokenizer: Any, texts: Sequence[str], *, whole_words: bool) -> Plain:
    """Plain tokens of `texts`, with words as their units if asked.

    Raises
    ------
    ModelError
        If whole words are asked of a tokenizer that does not tell them.
    """
    if whole_words and not tokenizer.is_fast:
        raise ModelError("masking.no_words", name=tokenizer.name_or_path)
    parts = [_plain(tokenizer, texts[start : start + CHUNK], whole_words) for start in range(0, len(texts), CHUNK)]
    ids, lengths, units = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Plain(ids, np.where(np.isin(ids, tokenizer.all_special_ids), IGNORED, units).astype(np.int32), lengths)


def _plain(tokenizer: Any, texts: Any, whole_words: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    strings = texts.to_pylist() if hasattr(texts, "to_pylist") else list(texts)
    found = tokenizer(
        strings, add_special_tokens=False, truncation=False, padding=False, return_attention_mask=False,
        return_token_type_ids=False, verbose=False,
    )  # fmt: skip
    lengths = np.fromiter(map(len, found["input_ids"]), np.int64, len(strings))
    ids = np.fromiter((i for row in found["input_ids"] for i in row), np.int32, lengths.sum())
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    places = np.arange(len(ids)) - starts
    if not whole_words:
        return ids, lengths, places
    words = np.fromiter((-1 if w is None else w for e in found.encodings for w in e.word_ids), np.int64, len(ids))
    begins = (places == 0) | (np.diff(words, prepend=-1) != 0) | (words < 0)
    return ids, lengths, np.maximum.accumulate(np.where(begins, np.arange(len(ids)), 0)) - starts
