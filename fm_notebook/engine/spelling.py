"""The tokens of one text, each with the characters that it stands for, as the reader wrote them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fm_notebook.contracts.attributions import Piece
from fm_notebook.engine.tokens import count_unknown
from fm_notebook.errors import DataError, ModelError

Span = tuple[int, int]
Group = tuple[Piece, tuple[int, ...]]
"""A piece of the text, and which of the text's own tokens it holds, counted from 0."""


@dataclass(frozen=True)
class Spelling:
    """The T tokens that a model reads of a text or a pair; n of them are the text's own.

    Attributes
    ----------
    ids : ndarray of int64, shape (T,)
    types : ndarray of int64, shape (T,), or None
        Segment of each token, where the model tells pairs apart by it.
    own : ndarray of int64, shape (n,)
        Places of the text's own tokens; the others are special.
    seconds : ndarray of bool, shape (n,)
        Whether they are of the second text.
    spans : ndarray of int64, shape (n, 2)
        Their characters in their text.
    words : ndarray of int64, shape (n,)
        The word that they are part of, as the tokenizer cuts words; -1 where it does not.
    cuts : pair of int or None
        Character of each text from which on nothing is read, None if all is.
    """

    ids: np.ndarray
    types: np.ndarray | None
    own: np.ndarray
    seconds: np.ndarray
    spans: np.ndarray
    words: np.ndarray
    cuts: tuple[int | None, int | None]


def spell(tokenizer: Any, text: str, pair: str | None, max_length: int, *, bare: bool = False) -> Spelling:
    """The tokens of `text` (and `pair`), cut as texts to score are; `bare` leaves out what comes after: nothing ends there.

    Raises
    ------
    ModelError
        If the tokenizer does not tell characters.
    DataError
        If it makes nothing of the text.
    """
    if not tokenizer.is_fast:
        raise ModelError("explain.slow_tokenizer", tokenizer=type(tokenizer).__name__)
    whole = _encoded(tokenizer, text, pair, None)
    found = _encoded(tokenizer, text, pair, max_length) if len(whole.ids) > max_length else whole
    sequences = [-1 if each is None else each for each in found.sequence_ids]
    own = np.array([i for i, each in enumerate(sequences) if each >= 0], np.int64)
    if not len(own):
        raise DataError("explain.nothing_read")
    last = int(own[-1]) + 1 if bare else len(found.ids)
    types = np.array(found.type_ids[:last], np.int64) if pair is not None and _has_types(tokenizer) else None
    spans = np.array(found.offsets, np.int64).reshape(-1, 2)[own]
    words = np.array([-1 if each is None else each for each in found.word_ids], np.int64)[own]
    seconds = np.array(sequences)[own] == 1
    return Spelling(np.array(found.ids[:last], np.int64), types, own, seconds, spans, words, _cuts(whole, found))


def pieces(tokenizer: Any, spelling: Spelling, text: str, pair: str | None, unit: Literal["token", "word"]) -> list[Group]:
    """The tokens of a text as pieces that a reader can tell apart: each token, or each word, has characters of its own."""
    made = []
    for group in _groups(spelling, unit):
        second = bool(spelling.seconds[group[0]])
        start, end = int(spelling.spans[group, 0].min()), int(spelling.spans[group, 1].max())
        written = (pair or "" if second else text)[start:end]
        start += len(written) - len(written.lstrip()) if written.strip() else 0  # GPT-2 counts the space before a word in
        ids = spelling.ids[spelling.own[group]]
        name = " ".join(map(str, tokenizer.convert_ids_to_tokens(ids.tolist())))
        unknown = count_unknown(tokenizer, ids) > 0
        made.append((Piece(start=start, end=end, second=second, token=name, unknown=unknown), tuple(group)))
    return made


def _groups(spelling: Spelling, unit: Literal["token", "word"]) -> Iterator[list[int]]:
    """Tokens that share a character, or stand for none, are one piece; so are those of one word, if words are asked for."""
    group: list[int] = []
    for i, (start, end) in enumerate(spelling.spans.tolist()):
        if group and not _belong(spelling, group, i, start, end, unit):
            yield group
            group = []
        group.append(i)
    yield group


def _belong(spelling: Spelling, group: list[int], i: int, start: int, end: int, unit: str) -> bool:
    before = group[-1]
    if spelling.seconds[before] != spelling.seconds[i]:
        return False
    reached = int(spelling.spans[group, 1].max())
    overlap = start < reached
    nothing = start == end or spelling.spans[group, 0].min() == reached
    same_word = unit == "word" and spelling.words[i] >= 0 and spelling.words[i] == spelling.words[before]
    return overlap or nothing or same_word


def _encoded(tokenizer: Any, text: str, pair: str | None, limit: int | None) -> Any:
    """One Encoding of the tokenizers library."""
    found = tokenizer(
        text, pair, truncation=limit is not None, max_length=limit, padding=False, return_offsets_mapping=True, verbose=False
    )  # fmt: skip
    return found.encodings[0]


def _has_types(tokenizer: Any) -> bool:
    return "token_type_ids" in tokenizer.model_input_names


def _cuts(whole: Any, found: Any) -> tuple[int | None, int | None]:
    """Where the reading of each text ends, if `found` holds less of it than `whole`."""
    ends = [_reach(each) for each in (whole, found)]
    first, second = (there if there < all_ else None for all_, there in zip(*ends, strict=True))
    return first, second


def _reach(encoding: Any) -> tuple[int, int]:
    told = [(s, end) for s, (_, end) in zip(encoding.sequence_ids, encoding.offsets, strict=True) if s is not None]
    first, second = (max((end for s, end in told if s == which), default=0) for which in (0, 1))
    return first, second
