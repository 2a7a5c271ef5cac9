"""Which tokens stand for which words, so that every word has a token of its own.

Texts are tokenised as they are and words found again by the tokens' characters: so the model sees what it saw in pre-training,
and not, say, a space before every comma. Where a token stands for parts of two words, or for a word there is none, the words of
that text are tokenised one by one instead; so are all words where the tokenizer does not tell characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fm_notebook.data.words import Words
from fm_notebook.engine.batching import spans
from fm_notebook.engine.tokens import CHUNK, stand_in

SPACES = ("▁", "Ġ")
"""Tokens of SentencePiece and of byte-level tokenizers for a space before a word; alone they stand for no part of it."""


@dataclass(frozen=True)
class Aligned:
    """Plain tokens of N texts with W words, P tokens in all, and where each word begins among them.

    Attributes
    ----------
    ids : ndarray of int32, shape (P,)
    lengths : ndarray of int64, shape (N,)
    first : ndarray of int64, shape (W,)
        Place of each word's first token; no two are the same.
    """

    ids: np.ndarray
    lengths: np.ndarray
    first: np.ndarray


def align(tokenizer: Any, texts: Sequence[str], words: Words) -> Aligned:
    """Plain tokens of `texts`, and the first token of each of their `words` (characters of its text, in order, none overlaps).

    A word that the tokenizer makes nothing of, such as a control character, is its unknown token.
    """
    bounds = np.concatenate([[0], np.cumsum(words.counts)])
    parts = []
    for start in range(0, len(texts), CHUNK):
        stop = min(start + CHUNK, len(texts))
        mine = slice(bounds[start], bounds[stop])
        some = texts[start:stop]
        strings = some.to_pylist() if hasattr(some, "to_pylist") else list(some)  # pyright: ignore[reportAttributeAccessIssue]
        parts.append(_chunk(tokenizer, strings, Words(words.start[mine], words.end[mine], words.counts[start:stop])))
    return _joined(parts)


def _joined(parts: Sequence[Aligned]) -> Aligned:
    if not parts:
        return Aligned(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    before = np.cumsum([0, *(len(part.ids) for part in parts)])
    return Aligned(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([part.first + n for part, n in zip(parts, before, strict=False)]),
    )


def _chunk(tokenizer: Any, texts: list[str], words: Words) -> Aligned:
    if not tokenizer.is_fast:
        return _one_by_one(tokenizer, texts, words)
    found, unclear = _by_characters(tokenizer, texts, words)
    if not unclear.any():
        return found
    some = np.flatnonzero(unclear)
    flat, counts = spans((np.cumsum(words.counts) - words.counts)[some], words.counts[some])
    again = _one_by_one(tokenizer, [texts[i] for i in some], Words(words.start[flat], words.end[flat], counts))
    return _replaced(found, words.counts, some, again)


def _by_characters(tokenizer: Any, texts: list[str], words: Words) -> tuple[Aligned, np.ndarray]:
    """Tokens of the texts as they are, and the texts where a word has no token of its own, shape ``(N,)``."""
    found = tokenizer(
        texts, add_special_tokens=False, truncation=False, padding=False, return_attention_mask=False,
        return_token_type_ids=False, return_offsets_mapping=True, verbose=False,
    )  # fmt: skip
    lengths = np.fromiter(map(len, found["input_ids"]), np.int64, len(texts))
    ids = np.fromiter((i for row in found["input_ids"] for i in row), np.int32, lengths.sum())
    ends = np.cumsum([len(text) + 1 for text in texts])
    base = np.concatenate([[0], ends[:-1]])
    place = np.array([pair for row in found["offset_mapping"] for pair in row], np.int64).reshape(-1, 2)
    start, end = place.T + np.repeat(base, lengths)
    words_start, words_end = (each + np.repeat(base, words.counts) for each in (words.start, words.end))
    word = np.searchsorted(words_end, start, side="right")
    last = np.searchsorted(words_start, end, side="left") - 1
    inside = np.flatnonzero((word <= last) & (start < end) & ~np.isin(ids, list(_spaces(tokenizer))))
    first = np.full(len(words_start), -1, np.int64)
    first[word[inside][::-1]] = inside[::-1]  # of equal ones the last written stays: the first token
    text_of_word, text_of_token = (np.repeat(np.arange(len(texts)), n) for n in (words.counts, lengths))
    unclear = np.zeros(len(texts), bool)
    unclear[text_of_word[first < 0]] = True
    unclear[text_of_token[inside[word[inside] < last[inside]]]] = True
    return Aligned(ids, lengths, first), unclear


def within_texts(tokenizer: Any, written: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of words as they stand within a text; one that is `written` with a space before it has been after one.

    A token that stands for nothing but the space is left out; a word that the tokenizer makes nothing of has no ids.
    """
    if not written:
        return []
    found = tokenizer(list(written), add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    spaces = _spaces(tokenizer)
    pieces = (_of_word(text, ids, spaces) or ([], 0) for text, ids in zip(written, found, strict=True))
    return [tuple(ids[skipped:]) for ids, skipped in pieces]


def _one_by_one(tokenizer: Any, texts: list[str], words: Words) -> Aligned:
    """Tokens of each word by itself, with a space before it where the text has any: byte-level tokenizers read it."""
    written = list(_as_written(texts, words))
    distinct = list(dict.fromkeys(written))
    found = tokenizer(distinct, add_special_tokens=False, truncation=False, verbose=False)["input_ids"] if distinct else []
    spaces, nothing = _spaces(tokenizer), stand_in(tokenizer)
    known = {text: _of_word(text, ids, spaces) or ([nothing], 0) for text, ids in zip(distinct, found, strict=True)}
    pieces, skipped = zip(*(known[text] for text in written), strict=True) if written else ((), ())
    sizes = np.fromiter(map(len, pieces), np.int64, len(pieces))
    ends = np.concatenate([[0], np.cumsum(sizes)])
    bounds = ends[np.concatenate([[0], np.cumsum(words.counts)])]
    return Aligned(
        np.fromiter((i for piece in pieces for i in piece), np.int32, ends[-1]),
        np.diff(bounds),
        ends[:-1] + np.array(skipped, np.int64),
    )


def _as_written(texts: list[str], words: Words) -> Iterator[str]:
    bounds = np.concatenate([[0], np.cumsum(words.counts)]).tolist()
    start, end = words.start.tolist(), words.end.tolist()
    for text, low, high in zip(texts, bounds, bounds[1:], strict=False):
        before = 0
        for i in range(low, high):
            yield (" " if start[i] > before else "") + text[start[i] : end[i]]
            before = end[i]


def _of_word(text: str, ids: list[int], spaces: set[int]) -> tuple[list[int], int] | None:
    """Tokens of a word, and how many of them stand for the space before it; SentencePiece makes one up where there is none."""
    if len(ids) < 2 or ids[0] not in spaces:
        return (ids, 0) if ids else None
    return (ids, 1) if text.startswith(" ") else (ids[1:], 0)


def _spaces(tokenizer: Any) -> set[int]:
    found = tokenizer.convert_tokens_to_ids(list(SPACES))
    return {i for i in found if i is not None and i != tokenizer.unk_token_id}


def _replaced(found: Aligned, counts: np.ndarray, some: np.ndarray, again: Aligned) -> Aligned:
    """`found`, but for the texts numbered `some`, which are as in `again`."""
    lengths = found.lengths.copy()
    lengths[some] = again.lengths
    where = np.cumsum(lengths) - lengths
    kept = np.setdiff1d(np.arange(len(lengths)), some)
    ids, first = np.zeros(lengths.sum(), np.int32), np.zeros(len(found.first), np.int64)
    words_before = np.cumsum(counts) - counts
    numbers = np.arange(len(lengths))
    for source, theirs, mine in ((found, numbers[kept], kept), (again, np.arange(len(some)), some)):
        old = np.cumsum(source.lengths) - source.lengths
        ids[spans(where[mine], lengths[mine])[0]] = source.ids[spans(old[theirs], source.lengths[theirs])[0]]
        counted = counts if source is found else counts[some]
        old_words = np.cumsum(counted) - counted
        from_words, to_words = (spans(b[i], counted[theirs])[0] for b, i in ((old_words, theirs), (words_before, mine)))
        first[to_words] = source.first[from_words] + np.repeat(where[mine] - old[theirs], counts[mine])
    return Aligned(ids, lengths, first)
