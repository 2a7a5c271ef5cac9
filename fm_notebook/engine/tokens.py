"""Texts to token ids, once, in batched calls, kept as flat ragged arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fm_notebook.engine.spool import Spool

CHUNK = 10_000  # texts a call: the tokenizer answers with Python lists, 30 times the size of our arrays


@dataclass(frozen=True)
class Tokens:
    """Token ids of N texts, one after the other.

    Attributes
    ----------
    ids : ndarray of int32, shape (T,)
        Special tokens included, no padding.
    offsets : ndarray of int64, shape (N + 1,)
        Text ``i`` is ``ids[offsets[i]:offsets[i + 1]]``.
    type_ids : ndarray of int8, shape (T,), or None
        Segment of each token, where the model tells pairs apart by it.
    pad_id : int
        Token that fills batches up.
    limit : int
        Longest that a text may be, in tokens.
    truncated : int
        Texts that were longer and were cut.
    unknown, plain : int
        Unknown tokens, among all tokens that are not special.
    """

    ids: np.ndarray
    offsets: np.ndarray
    type_ids: np.ndarray | None
    pad_id: int
    limit: int
    truncated: int
    unknown: int
    plain: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each text, shape ``(N,)``; made once, as every batch asks for it."""
        return np.diff(self.offsets)

    @property
    def truncated_share(self) -> float:
        """Share of texts that were cut, 0 to 1."""
        return self.truncated / max(1, len(self))

    @property
    def unknown_share(self) -> float:
        """Share of plain tokens that the vocabulary does not know, 0 to 1."""
        return self.unknown / max(1, self.plain)


def tokenize(
    tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int, *, special: bool = True
) -> Tokens:
    """Token ids of `texts` (or of pairs of texts), cut at `max_length` tokens; one chunk's lists are in memory at a time.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Its own padding is switched off (some ``tokenizer.json`` pad every text to 128).
    texts, pairs : sequence of str, length N
    max_length : int
        Special tokens count.
    special : bool
        Whether the tokenizer puts its special tokens around them.
    """
    ids, types, lengths = Spool(np.int32), Spool(np.int8), [np.zeros(1, np.int64)]
    truncated = unknown = 0
    for chunk in _chunks(texts, pairs):
        part = _chunk(tokenizer, *chunk, max_length, special)
        ids.add(part.ids)
        if part.type_ids is not None:
            types.add(part.type_ids)
        lengths.append(part.lengths)
        truncated += part.truncated
        unknown += count_unknown(tokenizer, part.ids)
    offsets, found_types = np.cumsum(np.concatenate(lengths)), types.array()
    added = tokenizer.num_special_tokens_to_add(pairs is not None) * len(texts) if special else 0
    return Tokens(
        ids=ids.array(), offsets=offsets, type_ids=found_types if len(found_types) else None, pad_id=tokenizer.pad_token_id or 0,
        limit=max_length, truncated=truncated, unknown=unknown, plain=max(0, int(offsets[-1]) - added),
    )  # fmt: skip


@dataclass(frozen=True)
class _Part:
    ids: np.ndarray
    lengths: np.ndarray
    type_ids: np.ndarray | None
    truncated: int


def _chunks(texts: Sequence[str], pairs: Sequence[str] | None) -> Iterator[tuple[list[str], list[str] | None]]:
    for start in range(0, len(texts), CHUNK):
        stop = start + CHUNK
        yield _strings(texts[start:stop]), None if pairs is None else _strings(pairs[start:stop])


def _strings(texts: Any) -> list[str]:
    return texts.to_pylist() if hasattr(texts, "to_pylist") else list(texts)  # Arrow's own rows are no str


def _chunk(tokenizer: Any, texts: list[str], pairs: list[str] | None, max_length: int, special: bool) -> _Part:
    with_types = pairs is not None and "token_type_ids" in tokenizer.model_input_names
    found = tokenizer(
        texts, pairs, truncation=True, max_length=max_length, padding=False, add_special_tokens=special,
        return_attention_mask=False, return_token_type_ids=with_types,
    )  # fmt: skip
    ids = [row or [stand_in(tokenizer)] for row in found["input_ids"]]
    types = _flat([row or [0] for row in found["token_type_ids"]], np.int8) if with_types else None
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    return _Part(_flat(ids, np.int32), lengths, types, _count_truncated(tokenizer, found, texts, pairs, lengths, max_length))


def stand_in(tokenizer: Any) -> int:
    """The token of what the tokenizer makes nothing of, such as an empty text without special tokens: a head has to read one."""
    return (tokenizer.pad_token_id or 0) if tokenizer.unk_token_id is None else tokenizer.unk_token_id


def _flat(lists: Sequence[Sequence[int]], dtype: type) -> np.ndarray:
    return np.concatenate([np.asarray(row, dtype) for row in lists]) if lists else np.zeros(0, dtype)


def _count_truncated(
    tokenizer: Any, found: Any, texts: list[str], pairs: list[str] | None, lengths: np.ndarray, limit: int
) -> int:
    if encodings := getattr(found, "encodings", None):
        return sum(bool(encoding.overflowing) for encoding in encodings)
    full = np.flatnonzero(lengths >= limit)  # a tokenizer written in Python does not tell: ask again for those that may be cut
    if not len(full):
        return 0
    again = tokenizer([texts[i] for i in full], None if pairs is None else [pairs[i] for i in full], truncation=False)
    return sum(len(row) > limit for row in again["input_ids"])


def count_unknown(tokenizer: Any, ids: np.ndarray) -> int:
    """How many of `ids` are the unknown token."""
    unknown = unknown_token(tokenizer)
    return 0 if unknown is None else int(np.count_nonzero(ids == unknown))


def unknown_token(tokenizer: Any) -> int | None:
    """The token of what the vocabulary does not know; None where it knows all, as GPT-2, which calls its end-of-text token so."""
    framing = {
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        tokenizer.pad_token_id,
    }
    return None if tokenizer.unk_token_id in framing else tokenizer.unk_token_id
