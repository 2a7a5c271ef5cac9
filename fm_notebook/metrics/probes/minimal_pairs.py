"""Pairs of sentences that differ in a word or two: how likely these are where they stand, all of a sentence's masked together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fm_notebook.contracts.capabilities import MaskedQuery, Subject, TokenText
from fm_notebook.metrics.probes.pair_alignment import Alignment
from fm_notebook.metrics.probes.pair_scores import PairScore
from fm_notebook.metrics.probes.pseudo_likelihood import Likelihood


def masked(subject: Subject, first: Sequence[str], second: Sequence[str]) -> list[PairScore]:
    r"""Of each pair :math:`\ln P(w | S_{\setminus w}) - \ln P(w' | S_{\setminus w})`, summed where several words differ.

    Both sentences are the same once the words are masked, so that one pass tells both. ``pieces_differ`` where the words have
    pieces of different number, and there is no such sentence.
    """
    spelt = subject.tokens([*first, *second])
    pairs = list(zip(spelt[: len(first)], spelt[len(first) :], strict=True))
    places = [_different(*pair) for pair in pairs]
    asked = [number for number, found in enumerate(places) if found]
    answers = iter(subject.masked_log_probs([_query(*pairs[number], places[number]) for number in asked]))
    return [_scored(*pair, found, next(answers) if found else None) for pair, found in zip(pairs, places, strict=True)]


def _different(one: TokenText, other: TokenText) -> tuple[int, ...]:
    """Where the tokens differ; nowhere if the texts have not equally many."""
    if len(one) != len(other):
        return ()
    return tuple(place for place, (first, second) in enumerate(zip(one.ids, other.ids, strict=True)) if first != second)


def _query(one: TokenText, other: TokenText, places: Sequence[int]) -> MaskedQuery:
    return MaskedQuery(one, tuple(places), tuple((place, text.ids[place]) for text in (one, other) for place in places))


def _scored(one: TokenText, other: TokenText, places: tuple[int, ...], answers: np.ndarray | None) -> PairScore:
    parts = np.split(answers, 2) if answers is not None else [np.zeros(0)] * 2
    skipped = "pieces_differ" if answers is None else "too_long" if np.isnan(answers).any() else None
    first, second = (Likelihood(text, places, part) for text, part in zip((one, other), parts, strict=True))
    return PairScore(first, second, Alignment((), places, places, False), False, skipped)
