"""How likely a masked language model takes a word in a gap: token by token, those behind the asked one not there yet.

Of a fill word w of k tokens the i-th is asked in the context with :math:`w_1 … w_{i-1}` and one mask in the gap, as StereoSet's
reference does. The word is spelt as it stands in the sentence: behind a space, vocabularies that tell that apart have another
token for it, which the reference missed for RoBERTa.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fm_notebook.contracts.capabilities import MaskedQuery, Subject, TokenText

GAP = "BLANK"


@dataclass(frozen=True)
class GapQueries:
    """The queries of several fills, and whose each is: of fill number ``owners[i]``."""

    queries: tuple[MaskedQuery, ...]
    owners: np.ndarray
    fills: int

    @classmethod
    def of(cls, subject: Subject, asked: Sequence[tuple[str, str]]) -> GapQueries:
        """Those of each context with its fill; a fill with a token that the vocabulary does not know has none."""
        texts = subject.tokens([context.replace(GAP, fill) for context, fill in asked])
        found = [
            _queries(text, _gaps(context, fill), subject.unknown_id) for text, (context, fill) in zip(texts, asked, strict=True)
        ]
        owners = np.repeat(np.arange(len(found)), [len(each) for each in found])
        return cls(tuple(query for each in found for query in each), owners, len(found))

    def scores(self, answers: Sequence[np.ndarray], *, as_logarithms: bool) -> np.ndarray:
        """The mean of each fill's tokens, of probabilities or of their logarithms, shape ``(fills,)``.

        NaN where a text is too long, minus infinity where a fill has no query.
        """
        values = np.array([answer.mean() if as_logarithms else np.exp(answer).mean() for answer in answers])
        counts = np.bincount(self.owners, minlength=self.fills)
        sums = np.bincount(self.owners, values, minlength=self.fills)
        return np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf)


def _gaps(context: str, fill: str) -> list[tuple[int, int]]:
    """Characters of the filled context that stand in its gaps."""
    found, begin = [], 0
    for piece in context.split(GAP)[:-1]:
        begin += len(piece)
        found.append((begin, begin + len(fill)))
        begin += len(fill)
    return found


def _queries(text: TokenText, gaps: Sequence[tuple[int, int]], unknown: int | None) -> list[MaskedQuery]:
    places = [_tokens_in(text, *gap) for gap in gaps]
    ids = [tuple(text.ids[place] for place in gap) for gap in places]
    if not ids or not ids[0] or len(set(ids)) > 1 or unknown in ids[0]:
        return []
    return [_query(text, places, number, ids[0][number]) for number in range(len(ids[0]))]


def _tokens_in(text: TokenText, begin: int, end: int) -> list[int]:
    return [
        place
        for place, (low, high) in enumerate(text.offsets)
        if not text.special[place] and low < end and high > begin
    ]  # fmt: skip


def _query(text: TokenText, gaps: Sequence[Sequence[int]], number: int, token: int) -> MaskedQuery:
    """The text without the tokens behind the asked one in its gaps, which is masked."""
    absent = {place for gap in gaps for place in gap[number + 1 :]}
    kept = [place for place in range(len(text)) if place not in absent]
    parts = {name: tuple(column[place] for place in kept) for name, column in vars(text).items()}
    masked = tuple(kept.index(gap[number]) for gap in gaps)
    return MaskedQuery(replace(text, **parts), masked, tuple((place, token) for place in masked))
