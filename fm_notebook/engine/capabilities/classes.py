"""Probabilities of classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from fm_notebook.engine.batching import Batch, Examples
from fm_notebook.engine.capabilities.reading import Reader
from fm_notebook.engine.capabilities.texts import Texts
from fm_notebook.engine.families import unwrapped
from fm_notebook.engine.forward import Forward

MULTI_LABEL = "multi_label_classification"


def has_classes(config: Any) -> bool:
    """Whether the outputs of a head for texts are classes, and not one number."""
    return config.problem_type != "regression" and (config.num_labels > 1 or config.problem_type == MULTI_LABEL)


def class_probabilities(
    reader: Reader, texts: Texts, given: Sequence[str], pairs: Sequence[str] | None
) -> np.ndarray:  # fmt: skip
    """See `fm_notebook.contracts.capabilities.ClassProbabilities`; equal texts are read once, long ones are cut."""
    from scipy.special import expit, softmax

    config = unwrapped(reader.model).config
    logits, which = _logits(reader, texts, given, pairs)
    wide = logits.astype(np.float64)
    found = expit(wide) if config.problem_type == MULTI_LABEL else softmax(wide, axis=1)
    return found[which]


def _logits(
    reader: Reader, texts: Texts, given: Sequence[str], pairs: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Logits of the different texts, shape ``(M, C)``, and which of them each text is, shape ``(N,)``."""
    different, which = once(given, pairs)
    batch = flat_batch(texts, [first for first, _ in different], pairs and [second for _, second in different])
    found = np.zeros((len(different), unwrapped(reader.model).config.num_labels), np.float32)

    def read(micro: Batch, forward: Forward) -> None:
        found[micro.rows] = forward.logits(reader.model, micro).cpu().numpy()

    with padding(reader):
        reader.each(batch, reader.most_tokens, read)
    return found, which


def once(given: Sequence[str], pairs: Sequence[str] | None = None) -> tuple[list[tuple[str, str]], np.ndarray]:
    """The different texts (or pairs), and which of them each is, shape ``(N,)``."""
    keys = list(zip(given, [""] * len(given) if pairs is None else pairs, strict=True))
    number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return list(number), np.fromiter((number[key] for key in keys), np.int64, len(keys))


def flat_batch(
    texts: Texts, given: Sequence[str], pairs: Sequence[str] | None = None, *, special: bool = True
) -> Batch:  # fmt: skip
    """Texts, cut where the model ends."""
    tokens = texts.cut(given, pairs, special=special) if given else texts.cut([""])
    n = len(tokens)
    examples = Examples(tokens, np.zeros(n, np.int64), np.ones(n, np.float32), np.arange(n))
    return examples.batch(np.arange(len(given)))


@contextmanager
def padding(reader: Reader) -> Iterator[None]:
    """Within it the model knows which token is padding: GPT-like heads read the last token before it."""
    config = unwrapped(reader.model).config
    before, config.pad_token_id = config.pad_token_id, reader.pad_id
    try:
        yield
    finally:
        config.pad_token_id = before
