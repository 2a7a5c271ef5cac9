"""Log-probabilities of tokens in texts of which some tokens are masked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts.capabilities import MaskedQuery, TokenText
from fm_notebook.engine.batching import spans
from fm_notebook.engine.capabilities.reading import Reader
from fm_notebook.engine.capabilities.texts import Texts
from fm_notebook.engine.capabilities.vocabulary import Asked, each_place, log_probs
from fm_notebook.errors import DataError

MARKS = ("##", "Ġ", "▁")
"""How vocabularies mark the inside of a word (WordPiece), or its beginning (byte-level, SentencePiece)."""


def masked_log_probs(reader: Reader, texts: Texts, queries: Sequence[MaskedQuery]) -> list[np.ndarray]:
    """See `fm_notebook.contracts.capabilities.MaskedLogProbs`; NaN where a text is longer than the model takes."""
    asked = _asked(texts, queries, [query.asked for query in queries])
    counts = np.cumsum([len(query.asked) for query in queries])
    return np.split(log_probs(reader, asked), counts[:-1]) if len(queries) else []


def likeliest(reader: Reader, texts: Texts, queries: Sequence[MaskedQuery], k: int) -> list[list[tuple[str, float]]]:
    """See `fm_notebook.contracts.capabilities.MaskedLogProbs`; empty where a text is longer than the model takes.

    Raises
    ------
    DataError
        If a query does not mask just one position.
    """
    if any(len(query.masked) != 1 for query in queries):
        raise DataError("capabilities.one_mask")
    words = _whole_words(texts.tokenizer)
    numbers = np.array(sorted(words), np.int64)
    found: list[list[tuple[str, float]]] = [[] for _ in queries]

    def keep(logits: torch.Tensor, rows: np.ndarray, questions: np.ndarray) -> None:
        ids = torch.from_numpy(numbers).to(logits.device)
        best, which = (logits.index_select(1, ids) - logits.logsumexp(dim=1, keepdim=True)).topk(min(k, len(ids)), dim=1)
        values, tokens = best.cpu().double().tolist(), ids[which].cpu().tolist()
        for row, question in zip(rows.tolist(), questions.tolist(), strict=True):
            found[question] = [(words[token], value) for token, value in zip(tokens[row], values[row], strict=True)]

    each_place(reader, _asked(texts, queries, [((query.masked[0], 0),) for query in queries]), keep)
    return found


def _asked(texts: Texts, queries: Sequence[MaskedQuery], wanted: Sequence[Sequence[tuple[int, int]]]) -> Asked:
    """The masked texts, one a query, and what is asked of each."""
    different = list({id(query.text): query.text for query in queries}.values())
    number = {id(text): i for i, text in enumerate(different)}
    ids, lengths, types = flat(different)
    own = np.fromiter((number[id(query.text)] for query in queries), np.int64, len(queries))
    source, sizes = spans((np.cumsum(lengths) - lengths)[own], lengths[own])
    masked, starts = ids[source], np.cumsum(sizes) - sizes
    counts = np.fromiter((len(query.masked) for query in queries), np.int64, len(queries))
    at = np.fromiter(chain.from_iterable(query.masked for query in queries), np.int64, counts.sum())
    masked[np.repeat(starts, counts) + at] = texts.mask_id
    each = np.fromiter(map(len, wanted), np.int64, len(wanted))
    pairs = np.array(list(chain.from_iterable(wanted)), np.int64).reshape(-1, 2)
    return Asked(
        masked,
        sizes,
        types[source] if texts.has_types else None,
        np.repeat(np.arange(len(queries)), each),
        pairs[:, 0],
        pairs[:, 1],
    )


def flat(texts: Sequence[TokenText]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, lengths and types of texts, one text after the other."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    total = int(lengths.sum())
    ids = np.fromiter(chain.from_iterable(text.ids for text in texts), np.int64, total)
    return ids, lengths, np.fromiter(chain.from_iterable(text.types for text in texts), np.int64, total)


@lru_cache(2)
def _whole_words(tokenizer: Any) -> dict[int, str]:
    """The tokens of the vocabulary that are words by themselves, with letters or digits in them."""
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special = set(tokenizer.all_special_ids)
    mark = max(MARKS, key=lambda mark: sum(str(token).startswith(mark) for token in tokens))
    begins = [str(token).startswith(mark) != (mark == "##") for token in tokens]
    words = {
        i: tokenizer.convert_tokens_to_string([token]).strip()
        for i, (token, whole) in enumerate(zip(tokens, begins, strict=True))
        if whole and token is not None and i not in special  # a vocabulary may have gaps
    }
    return {i: word for i, word in words.items() if any(letter.isalnum() for letter in word)}
