"""Log-likelihoods of texts, token by token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fm_notebook.contracts.capabilities import TokenLogProbs
from fm_notebook.engine.capabilities.beginnings import Continuation, after_beginning, after_contexts
from fm_notebook.engine.capabilities.masked import flat
from fm_notebook.engine.capabilities.reading import Reader
from fm_notebook.engine.capabilities.texts import Texts
from fm_notebook.engine.capabilities.vocabulary import Asked, log_probs


def log_likelihoods(
    reader: Reader, texts: Texts, given: Sequence[str], contexts: Sequence[str] | None
) -> list[TokenLogProbs]:  # fmt: skip
    """See `fm_notebook.contracts.capabilities.LogLikelihoods`; NaN where a text is longer than the model takes."""
    found = after_beginning(texts, given) if contexts is None else after_contexts(texts, contexts, given)
    ids, lengths, _ = flat([each.text for each in found])
    firsts = np.array([each.first for each in found], np.int64)
    text, place = np.repeat(np.arange(len(found)), lengths - firsts), scored_places(found)
    starts = np.cumsum(lengths) - lengths
    values = log_probs(reader, Asked(ids, lengths, None, text, place - 1, ids[starts[text] + place]), causal=True)
    return answers(found, values)


def scored_places(found: Sequence[Continuation]) -> np.ndarray:
    """Which tokens of each text are scored, one text after the other."""
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(each.first, len(each.text)) for each in found)])


def answers(found: Sequence[Continuation], values: np.ndarray) -> list[TokenLogProbs]:
    """The log-probabilities `values` of all texts, as each text's own."""
    ends = np.cumsum([len(each.text) - each.first for each in found])
    parts = np.split(values, ends[:-1]) if len(found) else []
    return [
        TokenLogProbs(each.text, np.arange(each.first, len(each.text)), part) for each, part in zip(found, parts, strict=True)
    ]
