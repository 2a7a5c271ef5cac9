"""What a causal language model goes on with."""

from __future__ import annotations

from collections.abc import Sequence

from fm_notebook.engine import causal, generation
from fm_notebook.engine.capabilities.reading import Reader
from fm_notebook.engine.capabilities.texts import Texts
from fm_notebook.engine.generation import Sampling

PROMPTS = 16
"""Prompts at once; fewer where each has several continuations."""


def generate(
    reader: Reader, texts: Texts, given: Sequence[str], *, max_new_tokens: int, count: int, seed: int
) -> list[list[str]]:  # fmt: skip
    """See `fm_notebook.contracts.capabilities.Generates`; long prompts are cut on the left."""
    if not len(given):
        return []
    prompts = causal.prompts(texts.tokenizer, given, max(1, reader.limit - max_new_tokens))
    texts.truncated += prompts.truncated
    texts.tokens_read += prompts.plain
    texts.unknown_read += prompts.unknown
    sampling = Sampling(max_new_tokens, temperature=0.0 if seed < 0 else 1.0, seed=max(0, seed), count=count)
    with reader.reading(packed=False):
        steps = generation.continuations(
            reader.model, texts.tokenizer, prompts, sampling, batch_size=max(1, PROMPTS // count), precision=reader.precision
        )
        found = _exhausted(steps)
    return [found[start : start + count] for start in range(0, len(found), count)]


def _exhausted(steps: generation.Continuing) -> list[str]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
