"""Which sentence of a pair a model finds likelier, by how much, and which tokens make the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import pyarrow as pa

from fm_notebook.contracts.capabilities import Subject, TokenText
from fm_notebook.contracts.probing import CHOICE, OTHER_PIECES, PIECES, SKIPPED, VALUE
from fm_notebook.metrics.probes.pair_alignment import Alignment, align
from fm_notebook.metrics.probes.pseudo_likelihood import OF_PAIRS, ROUNDED, Likelihood, Variant, likelihoods, of_tokens

Piece = tuple[str, int, int, float]
"""A token's characters, where they begin and end in their text, and what the token adds to the pair's difference."""
DECIMALS = 3
PIECES_TYPE = pa.list_(pa.struct({"text": pa.string(), "start": pa.int32(), "end": pa.int32(), "value": pa.float64()}))
SCORES = pa.schema({
    VALUE: pa.float64(), CHOICE: pa.bool_(), SKIPPED: pa.string(), PIECES: PIECES_TYPE, OTHER_PIECES: PIECES_TYPE,
    "first_score": pa.float64(), "second_score": pa.float64(), "lengths_differ": pa.bool_(), "depends_on_order": pa.bool_(),
})  # fmt: skip
"""What `table` has of each pair. The last two say how the tokens are aligned, see `Alignment`; the order matters only to variants
that depend on the alignment, and is false with others."""


@dataclass(frozen=True)
class PairScore:
    """A scored pair.

    Attributes
    ----------
    first, second : Likelihood
    alignment : Alignment
        Of their tokens, first to second.
    rounded : bool
        Whether the scores are compared after rounding, as the reference of the variant does.
    skipped : str or None
        Why there is no score: ``too_long``, or ``nothing_to_score`` where the variant's tokens are missing in a sentence.
    """

    first: Likelihood
    second: Likelihood
    alignment: Alignment
    rounded: bool
    skipped: str | None

    @property
    def difference(self) -> float:
        """Score of the first less that of the second, in nats, not rounded."""
        return self.first.total - self.second.total

    @property
    def prefers_first(self) -> bool | None:
        """Whether the first has the higher score; None for a tie."""
        one, other = self.first.total, self.second.total
        if self.rounded:
            one, other = round(one, DECIMALS), round(other, DECIMALS)
        return None if one == other else one > other

    def pieces(self, first: str, second: str) -> tuple[list[Piece], list[Piece]]:
        """What each token of the two texts adds to `difference`; all of both add up to it.

        A token that both share is one cause with two values: each text shows half of their difference.
        """
        one, other = (dict(zip(each.positions, each.parts.tolist(), strict=True)) for each in (self.first, self.second))
        other = {place: -value for place, value in other.items()}
        for mine, theirs in self.alignment.shared:
            if mine in one and theirs in other:
                one[mine] = other[theirs] = (one[mine] + other[theirs]) / 2
        return _pieces(self.first.text, first, one), _pieces(self.second.text, second, other)


def pair_scores(
    subject: Subject, first: Sequence[str], second: Sequence[str], variant: Variant, swapped: Sequence[bool] | None = None
) -> list[PairScore]:
    """The scores of pairs of sentences.

    Parameters
    ----------
    swapped : sequence of bool, optional
        Pairs that are aligned second to first, which may share other tokens.
    """
    if variant in OF_PAIRS:
        return _of_pairs(subject, first, second, variant, swapped or [False] * len(first))
    found = likelihoods(subject, [*first, *second], variant)
    both = zip(found[: len(first)], found[len(first) :], strict=True)
    return [_scored(one, other, align(one.text.ids, other.text.ids), variant) for one, other in both]


def table(found: Sequence[PairScore], first: Sequence[str], second: Sequence[str]) -> pa.Table:
    """Scored pairs of the sentences `first` and `second` as the columns `SCORES`; null where a pair is skipped."""
    rows = [
        _row(*each) if each[0].skipped is None else {SKIPPED: each[0].skipped} for each in zip(found, first, second, strict=True)
    ]
    return pa.Table.from_pylist(rows, SCORES)


def _row(found: PairScore, first: str, second: str) -> dict[str, object]:
    if found.skipped is not None:
        return {SKIPPED: found.skipped}
    names = ("text", "start", "end", "value")
    pieces = [[dict(zip(names, piece, strict=True)) for piece in of] for of in found.pieces(first, second)]
    return {
        VALUE: found.difference, CHOICE: found.prefers_first, PIECES: pieces[0], OTHER_PIECES: pieces[1],
        "first_score": found.first.total, "second_score": found.second.total, "lengths_differ": found.alignment.lengths_differ,
        "depends_on_order": found.rounded and found.alignment.depends_on_order,
    }  # fmt: skip


def _of_pairs(
    subject: Subject, first: Sequence[str], second: Sequence[str], variant: Variant, swapped: Sequence[bool]
) -> list[PairScore]:
    spelt = subject.tokens([*first, *second])
    ones, others = spelt[: len(first)], spelt[len(first) :]
    aligned = [_aligned(*each) for each in zip(ones, others, swapped, strict=True)]
    if variant == "cps":
        places = [tuple(one for one, _ in each.inner) for each in aligned] + [tuple(o for _, o in each.inner) for each in aligned]
    else:
        places = [each.first_own for each in aligned] + [each.second_own for each in aligned]
    found = of_tokens(subject, spelt, places, variant)
    both = zip(found[: len(first)], found[len(first) :], aligned, strict=True)
    return [_scored(*each, variant) for each in both]


def _aligned(one: TokenText, other: TokenText, swapped: bool) -> Alignment:
    return align(other.ids, one.ids).swapped if swapped else align(one.ids, other.ids)


def _scored(one: Likelihood, other: Likelihood, alignment: Alignment, variant: Variant) -> PairScore:
    skipped = None
    if not one.positions or not other.positions:
        skipped = "nothing_to_score"
    elif isnan(one.total) or isnan(other.total):
        skipped = "too_long"
    return PairScore(one, other, alignment, variant in ROUNDED, skipped)


def _pieces(tokens: TokenText, text: str, values: dict[int, float]) -> list[Piece]:
    """Tokenizers written in Python do not tell characters: there a piece is the token itself, at no place."""
    found = []
    for place, value in sorted(values.items()):
        start, end = tokens.offsets[place]
        found.append((text[start:end] or tokens.tokens[place], start, end, value))
    return found
