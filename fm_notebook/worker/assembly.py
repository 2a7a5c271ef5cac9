"""What fine-tuning and scoring have in common: a model, a tokenizer and tokens, with notes on what should be known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fm_notebook.contracts.events import Noted
from fm_notebook.engine.models import Loaded, longest_text
from fm_notebook.engine.tokens import Tokens, tokenize
from fm_notebook.errors import DataError, ModelError
from fm_notebook.worker.rows import Rows

UNKNOWN_WARNING = 0.05
"""Share of unknown tokens from which the tokenizer does not fit the language."""


def tokens_of(rows: Rows, loaded: Loaded, tokenizer: object, max_length: int) -> Tokens:
    """`rows` tokenised for the model, cut at `max_length` or at what the model takes, if that is less.

    Raises
    ------
    DataError
        If there are no rows.
    ModelError
        If the tokenizer makes tokens that the model has no embedding for.
    """
    if not len(rows):
        raise DataError("engine.no_rows")
    limit = min(max_length, longest_text(loaded.model, tokenizer))
    tokens = tokenize(tokenizer, rows.texts, rows.pairs, limit)
    known = loaded.model.get_input_embeddings().num_embeddings
    if (largest := int(tokens.ids.max(initial=0))) >= known:
        raise ModelError("weights.tokenizer_too_large", largest=largest, known=known)
    return tokens


def notes(tokens: Sequence[Tokens], max_length: int) -> Iterator[Noted]:
    """What tokenising found out."""
    texts, plain = sum(map(len, tokens)), max(1, sum(each.plain for each in tokens))
    unknown, truncated = sum(each.unknown for each in tokens) / plain, sum(each.truncated for each in tokens)
    if (limit := tokens[0].limit) < max_length:
        yield Noted(key="max_length_lowered", values={"max_length": max_length, "limit": limit})
    if truncated:
        yield Noted(key="truncated", values={"n": truncated, "share": truncated / max(1, texts), "limit": limit})
    if unknown > UNKNOWN_WARNING:
        yield Noted(key="unknown_tokens", values={"share": unknown}, level="warning")
