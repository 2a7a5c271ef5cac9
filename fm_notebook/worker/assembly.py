"""What fine-tuning and scoring have in common: rows made examples for a model, with notes on what should be known."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial

import pyarrow as pa

from fm_notebook.contracts.events import Noted
from fm_notebook.contracts.protocols import Task
from fm_notebook.engine import families
from fm_notebook.engine.batching import Examples
from fm_notebook.engine.forward import Layout
from fm_notebook.engine.models import Loaded, longest_text
from fm_notebook.engine.token_files import TokenFiles
from fm_notebook.engine.tokens import Tokens
from fm_notebook.errors import DataError, ModelError

UNKNOWN_WARNING = 0.05
"""Share of unknown tokens from which the tokenizer does not fit the language."""


def encode(
    task: Task, rows: pa.Table, loaded: Loaded, tokenizer: object, labels: Sequence[str], max_length: int,
    files: TokenFiles | None = None,
) -> Examples:  # fmt: skip
    """`rows` as examples for the model, cut at `max_length` or at what the model takes, if that is less.

    With `files` they are read from disk where they lie there; only a task of ours is sure to encode alike each time.

    Raises
    ------
    DataError
        If there are no rows.
    ModelError
        If the tokenizer makes tokens that the model has no embedding for.
    """
    if not len(rows):
        raise DataError("engine.no_rows")
    longest = longest_text(loaded.model, tokenizer) - families.virtual_tokens(loaded.model)
    made = partial(task.encode, tokenizer=tokenizer, labels=labels, max_length=min(max_length, longest))
    ours = type(task).__module__.startswith("fm_notebook.tasks.")
    examples = files.examples(rows, tokenizer, labels, min(max_length, longest), made) if files and ours else made(rows)
    known = loaded.model.get_input_embeddings().num_embeddings
    if (largest := int(examples.tokens.ids.max(initial=0))) >= known:
        raise ModelError("weights.tokenizer_too_large", largest=largest, known=known)
    return examples


def layout(loaded: Loaded, asked: str) -> Generator[Noted, None, Layout]:
    """Make the model ready for the layout that is `asked` for, and say so where packing cannot be.

    Returns
    -------
    Layout
    """
    if asked == "auto" and families.can_pack(loaded.model):
        families.enable(loaded.model)
        return "packed"
    families.disable(loaded.model)
    if asked == "auto":
        yield Noted(key="padded", values={"architecture": loaded.model.config.model_type})
    return "padded"


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
