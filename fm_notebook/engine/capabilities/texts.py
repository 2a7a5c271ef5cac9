"""Texts as a model's tokenizer spells them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fm_notebook.contracts.capabilities import TokenText
from fm_notebook.data.words import unspaced
from fm_notebook.engine import tokens, words
from fm_notebook.engine.tokens import Tokens


class Texts:
    """A tokenizer as probes ask it; it counts what it reads.

    Attributes
    ----------
    tokenizer : PreTrainedTokenizerBase
    limit : int
        Most tokens that the model takes, special ones included.
    mask_id, unknown_id, lowercase
        See `fm_notebook.contracts.capabilities.Tokens`.
    tokens_read, unknown_read : int
        Tokens that are not special, and those among them that the vocabulary does not know.
    truncated : int
        Texts that were cut at `limit`.
    """

    def __init__(self, tokenizer: Any, limit: int):
        self.tokenizer, self.limit = tokenizer, limit
        self.mask_id: int | None = tokenizer.mask_token_id
        self.unknown_id = tokens.unknown_token(tokenizer)
        self.lowercase = _lowercase(tokenizer)
        self.tokens_read = self.unknown_read = self.truncated = 0

    def spelt(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, special: bool = True) -> list[TokenText]:
        """The texts, or pairs of texts, as the model reads them; none is cut."""
        if not len(texts):
            return []
        found = self.tokenizer(
            list(texts), None if pairs is None else list(pairs), add_special_tokens=special, truncation=False, padding=False,
            return_attention_mask=False, return_token_type_ids=True, return_special_tokens_mask=True, verbose=False,
        )  # fmt: skip
        encodings = getattr(found, "encodings", None)
        made = _from_encodings(encodings, self.has_types) if encodings else _from_lists(self.tokenizer, found)
        self._count(made)
        return made

    def _count(self, texts: Sequence[TokenText]) -> None:
        self.tokens_read += sum(len(text) - sum(text.special) for text in texts)
        if self.unknown_id is not None:
            self.unknown_read += sum(text.ids.count(self.unknown_id) for text in texts)

    def cut(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, special: bool = True) -> Tokens:
        """The texts as flat arrays, cut where the model ends."""
        found = tokens.tokenize(self.tokenizer, texts, pairs, self.limit, special=special)
        self.tokens_read += found.plain
        self.unknown_read += found.unknown
        self.truncated += found.truncated
        return found

    def word_ids(self, given: Sequence[str]) -> list[tuple[int, ...]]:
        """The token ids of each word as it stands within a text: after a space, but for scripts without any."""
        bare = unspaced(np.array([ord(word[:1] or " ") for word in given], np.int64))
        return words.within_texts(
            self.tokenizer, [word if is_bare else f" {word}" for word, is_bare in zip(given, bare, strict=True)]
        )

    @property
    def has_types(self) -> bool:
        """Whether the model tells the two texts of a pair apart by segments."""
        return "token_type_ids" in self.tokenizer.model_input_names


def _from_encodings(encodings: Sequence[Any], has_types: bool) -> list[TokenText]:
    return [
        TokenText(
            tuple(each.ids), tuple(each.tokens), tuple(each.offsets), tuple(each.word_ids),
            tuple(map(bool, each.special_tokens_mask)), tuple(each.type_ids if has_types else _types(each.sequence_ids)),
        )
        for each in encodings
    ]  # fmt: skip


def _types(sequences: Sequence[int | None]) -> list[int]:
    """0 and 1 for tokens of the two texts; a special token counts to the text before it."""
    found, last = [], 0
    for sequence in sequences:
        last = last if sequence is None else sequence
        found.append(last)
    return found


def _from_lists(tokenizer: Any, found: Any) -> list[TokenText]:
    """A tokenizer written in Python tells neither characters nor words."""
    types = found.get("token_type_ids") or [[0] * len(ids) for ids in found["input_ids"]]
    return [
        TokenText(
            tuple(ids), tuple(tokenizer.convert_ids_to_tokens(ids)), ((0, 0),) * len(ids), (None,) * len(ids),
            tuple(map(bool, special)), tuple(kinds),
        )
        for ids, special, kinds in zip(found["input_ids"], found["special_tokens_mask"], types, strict=True)
    ]  # fmt: skip


def _lowercase(tokenizer: Any) -> bool:
    normalizer = tokenizer.backend_tokenizer.normalizer if tokenizer.is_fast else None
    if normalizer is None:
        return bool(getattr(tokenizer, "do_lower_case", False)) and not tokenizer.is_fast
    return "Ab" not in normalizer.normalize_str("Ab")
