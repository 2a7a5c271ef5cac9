r"""How strongly a masked language model associates a person with an attribute, beyond how common the word for the person is.

.. math:: assoc(t, a) = \ln \frac{P(t \mid S_{\setminus t})}{P(t \mid S_{\setminus t, a})}

for a sentence S with the target t and the attribute a: the prior below is read *at the target's own place*, with the attribute
masked too. Kurita's code reads it where the attribute stands, and one place off.

A target of several tokens is masked whole, and its probability is the product of its tokens', each given those before it; for one
token that is the formula above.

References
----------
Kurita, Vyas, Pareek, Black and Tsvetkov (2019), *Measuring bias in contextualized word representations*, GeBNLP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import isnan, nan

import numpy as np

from fm_notebook.contracts.capabilities import MaskedQuery, Subject, TokenText
from fm_notebook.metrics.probes.pair_alignment import Alignment, Places, align

Span = tuple[int, int]
Piece = tuple[str, int, int, float]


@dataclass(frozen=True)
class Marked:
    """A sentence, and the characters in it of its target and of its attribute."""

    text: str
    target: Span
    attribute: Span


@dataclass(frozen=True)
class Association:
    """What a sentence's target and attribute have to do with each other.

    Attributes
    ----------
    text : TokenText
    target, attribute : tuple of int
        Positions of their tokens.
    parts : ndarray of float64, shape (S,)
        What each token of the target adds to the association, in nats.
    """

    text: TokenText
    target: Places
    attribute: Places
    parts: np.ndarray

    @property
    def total(self) -> float:
        """The association; NaN if it has none."""
        return float(self.parts.sum()) if len(self.parts) else nan

    @property
    def skipped(self) -> str | None:
        """Why it has none: ``target_not_found``, ``target_in_attribute`` or ``too_long``."""
        if not self.target or not self.attribute:
            return "target_not_found"
        if set(self.target) & set(self.attribute):
            return "target_in_attribute"
        return "too_long" if isnan(self.total) else None

    def pieces(self, text: str, sign: int = 1) -> list[Piece]:
        """The target's characters by token, and what each adds to the association, times `sign`."""
        spans = [self.text.offsets[place] for place in self.target]
        return [
            (text[begin:end], begin, end, sign * value) for (begin, end), value in zip(spans, self.parts.tolist(), strict=True)
        ]


def associations(
    subject: Subject, first: Sequence[Marked], second: Sequence[Marked]
) -> tuple[list[Association], list[Association]]:  # fmt: skip
    """The associations of both sentences of each pair, which differ in their targets.

    Where the targets share a word, as *my sister* and *my brother* do, only the tokens by which they differ are masked, as in
    BEC-Pro: else what is compared is mostly how likely *my* is.
    """
    spelt = subject.tokens([each.text for each in (*first, *second)])
    ones, others = spelt[: len(first)], spelt[len(first) :]
    targets = [
        _own(align(one.ids, other.ids), _places(one, a.target), _places(other, b.target))
        for one, other, a, b in zip(ones, others, first, second, strict=True)
    ]
    attributes = [_places(text, each.attribute) for text, each in zip(spelt, (*first, *second), strict=True)]
    asked = [*(one for one, _ in targets), *(other for _, other in targets)]
    found = _scored(subject, spelt, asked, attributes)
    return found[: len(first)], found[len(first) :]


def _scored(
    subject: Subject, texts: Sequence[TokenText], targets: Sequence[Places], attributes: Sequence[Places]
) -> list[Association]:  # fmt: skip
    queries = [
        [*_chain(text, target, ()), *_chain(text, target, attribute)]
        for text, target, attribute in zip(texts, targets, attributes, strict=True)
    ]
    answers = iter(subject.masked_log_probs(list(chain.from_iterable(queries))))
    found = []
    for text, target, attribute in zip(texts, targets, attributes, strict=True):
        told = np.array([next(answers)[0] for _ in range(2 * len(target))])
        found.append(Association(text, target, attribute, told[: len(target)] - told[len(target) :]))
    return found


def _chain(text: TokenText, target: Places, attribute: Places) -> list[MaskedQuery]:
    """A query for each token of the target: it and those after it are masked, and the attribute's."""
    return [
        MaskedQuery(text, tuple(sorted({*target[i:], *attribute})), ((place, text.ids[place]),)) for i, place in enumerate(target)
    ]


def _own(alignment: Alignment, first: Places, second: Places) -> tuple[Places, Places]:
    """The tokens by which two targets differ; all of both if one has none of its own, as *man* beside *old man*."""
    one = tuple(place for place in first if place in alignment.first_own)
    other = tuple(place for place in second if place in alignment.second_own)
    return (one, other) if one and other else (first, second)


def _places(text: TokenText, span: Span) -> Places:
    """Positions of the tokens that have characters of `span`."""
    begin, end = span
    spans = zip(text.offsets, text.special, strict=True)
    return tuple(place for place, ((low, high), special) in enumerate(spans) if not special and low < end and begin < high)
