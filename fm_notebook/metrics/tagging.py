r"""How well entities were found: a tag a token, scored by whole entities.

An entity counts as found only if its type, its first and its last token are all right (CoNLL-2000's ``conlleval``, and
`seqeval`). Which tokens make an entity is read from the tags by `entities`. Precision, recall and F1 are those of
`fm_notebook.metrics.rates`, over all entities (micro) and by type; ``macro_f1`` is the plain mean over the types that occur.

What the intervals stand on: entities of a sentence stand and fall together, so that micro precision, recall and F1, macro F1,
a type's F1 and token accuracy have the percentile bootstrap of whole *sentences*; a type's precision and recall have Wilson's.
Where no resample differs, the interval is one of Wilson's, see `rates.f1_score`, `rates.macro_f1`, `clustered_share`.

References
----------
Tjong Kim Sang and Buchholz (2000), *Introduction to the CoNLL-2000 shared task: chunking*.
Nakayama (2018), *seqeval: a Python framework for sequence labeling evaluation*.
Segura-Bedmar, Martínez and Herrero-Zazo (2013), *SemEval-2013 task 9*, section 4: exact and partial matching.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from fm_notebook.contracts.results import ClassScores, Score
from fm_notebook.metrics.intervals import percentile
from fm_notebook.metrics.matching import Matches, Spans, exact, match
from fm_notebook.metrics.rates import Rates, class_scores, f1_score, macro_f1, proportion
from fm_notebook.metrics.resampling import RESAMPLES, clustered_share, resampled_sums

OUTSIDE, BEGIN, INSIDE, END, SINGLE = range(5)
PREFIXES = {"O": OUTSIDE, "B": BEGIN, "I": INSIDE, "M": INSIDE, "E": END, "L": END, "S": SINGLE, "U": SINGLE}
"""Of IOB1, IOB2, IOE1, IOE2 and IOBES, and the other letters of BMES and BILOU."""


@dataclass(frozen=True, slots=True)
class Tagging:
    """What `evaluate` gives.

    Attributes
    ----------
    scores : list of Score
        ``entity_f1``, ``entity_precision``, ``entity_recall``, ``macro_f1`` and ``token_accuracy``.
    classes : list of ClassScores
        One a type that occurs in either, in order of names.
    partial : Matches
        What became of the entities that were not found exactly.
    """

    scores: list[Score]
    classes: list[ClassScores]
    partial: Matches


def entities(tags: Sequence[str], *, strict: bool = False) -> list[tuple[str, int, int]]:
    """The entities that the tags of one sentence mark, as type, first token and the token after the last.

    An entity ends where the type changes, at ``O``, before ``B`` and ``S`` and after ``E`` and ``S``; whatever else is not
    ``O`` goes on or, with nothing to go on, begins one. So one rule reads IOB1, IOB2, IOE1, IOE2 and IOBES and forgives tags
    that break their scheme, as ``conlleval`` and `seqeval` (default mode) do. Beyond them, the letters of BMES and BILOU are
    known, and a tag without a prefix, such as ``PER`` or ``NOUN``, is a type whose neighbours of the same type are one entity.

    Parameters
    ----------
    tags : sequence of str
        ``O``, or a prefix and a type such as ``B-PER``; a prefix alone has the type ``_``.
    strict : bool
        Leave out entities that do not begin with ``B``: `seqeval`'s ``mode="strict", scheme=IOB2``.

    Returns
    -------
    list of tuple
        ``tags[start:end]`` are the tags of the entity. (`seqeval` names the last token instead of the one after.)

    Examples
    --------
    >>> entities(["B-PER", "I-PER", "O", "I-LOC"])
    [('PER', 0, 2), ('LOC', 3, 4)]
    >>> entities(["B-PER", "I-PER", "O", "I-LOC"], strict=True)
    [('PER', 0, 2)]
    """
    vocabulary: dict[str, int] = {}
    codes, first = _numbered(tags, vocabulary), np.arange(len(tags)) == 0
    tagset = _Tagset.of(vocabulary)
    spans = _spans(codes, first, tagset, strict=strict)
    return [
        (tagset.names[k], s, e) for k, s, e in zip(spans.kind.tolist(), spans.start.tolist(), spans.end.tolist(), strict=True)
    ]


def evaluate(
    true: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    *,
    seed: int = 0,
    level: float = 0.95,
    strict: bool = False,
) -> Tagging:
    """All scores of a tagger on held-out sentences, each with ``n`` and an interval (see the module for the conventions).

    Parameters
    ----------
    true, predicted : sequence of sequence of str
        Tags by sentence, of equal lengths, see `entities`; at least one sentence.
    seed : int
        Of the bootstrap.
    level : float
        Coverage of the intervals, above 0 and below 1.
    strict : bool
        See `entities`.

    Returns
    -------
    Tagging
        ``n`` of a score is its denominator: entities predicted for precision, there for recall, either for F1; tokens for
        token accuracy. A score with ``n = 0`` is 0 by convention and has no interval.

    Raises
    ------
    ValueError
        If there are no sentences or the lengths differ.

    Examples
    --------
    "PER" is found. "LOC" is found but too short: one entity there, one other given. So P = R = F1 = 1/2 over 3 that are
    either; 4 of 5 tokens are right.

    >>> found = evaluate([["B-PER", "O"], ["B-LOC", "I-LOC", "O"]], [["B-PER", "O"], ["B-LOC", "O", "O"]])
    >>> [(score.name, score.value, score.n) for score in found.scores[:3]]
    [('entity_f1', 0.5, 3), ('entity_precision', 0.5, 2), ('entity_recall', 0.5, 2)]
    >>> found.scores[4].value, found.partial
    (0.8, Matches(exact=1, partial=1, wrong_type=0, missed=0, spurious=0))
    """
    found = _counted(true, predicted, strict=strict)
    scores, classes = _entity_scores(found.counts, found.names, seed, level)
    scores.append(clustered_share("token_accuracy", found.right, found.words, seed=seed, level=level))
    return Tagging(scores, classes, match(found.there, found.given))


@dataclass(frozen=True, slots=True)
class _Tagset:
    """What the tag of each number means: its prefix and its type's number, shape ``(tags,)``, and the types' names."""

    prefix: np.ndarray
    kind: np.ndarray
    names: list[str]

    @classmethod
    def of(cls, vocabulary: dict[str, int]) -> _Tagset:
        parts = [_split(tag) for tag in vocabulary]
        names = sorted({kind for _, kind in parts})
        number = {name: i for i, name in enumerate(names)}
        prefix, kind = np.array([p for p, _ in parts], np.int64), np.array([number[k] for _, k in parts], np.int64)
        return cls(prefix, kind, names)


def _split(tag: str) -> tuple[int, str]:
    prefix = PREFIXES.get(tag[:1]) if tag[1:2] in {"", "-"} else None
    if prefix is None:
        return INSIDE, tag
    return prefix, tag[2:] or "_"


def _lengths(true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> np.ndarray:
    mine, theirs = ([len(tags) for tags in sentences] for sentences in (true, predicted))
    if not mine or mine != theirs:
        raise ValueError("true and predicted must have the same sentences of the same lengths, and at least one")
    return np.array(mine, np.int64)


def _numbered(tags: Iterable[str], vocabulary: dict[str, int]) -> np.ndarray:
    """The number of each tag in `vocabulary`, to which new ones are added, shape ``(T,)``."""
    return np.fromiter((vocabulary.setdefault(tag, len(vocabulary)) for tag in tags), np.int64)


def _spans(codes: np.ndarray, first: np.ndarray, tagset: _Tagset, *, strict: bool) -> Spans:
    """The entities of all sentences, laid end to end; `first` marks where a sentence begins, shape ``(T,)``."""
    if not len(codes):
        return Spans(*np.zeros((3, 0), np.int64))
    prefix, kind = tagset.prefix[codes], tagset.kind[codes]
    before = np.where(first, OUTSIDE, np.roll(prefix, 1))
    inside = prefix != OUTSIDE
    apart = np.isin(before, [OUTSIDE, END, SINGLE]) | np.isin(prefix, [BEGIN, SINGLE]) | (kind != np.roll(kind, 1))
    begins = inside & apart
    goes_on = np.append((inside & ~apart)[1:], False)
    start, end = np.flatnonzero(begins), np.flatnonzero(inside & ~goes_on) + 1
    kept = prefix[start] == BEGIN if strict else slice(None)
    return Spans(kind[start][kept], start[kept], end[kept])


def _counts(there: Spans, given: Spans, owner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Entities found, there and given by sentence and type, shape ``(S, C, 3)``."""
    found, _ = exact(there, given)
    cells = (np.ravel_multi_index((owner[own.start], own.kind), shape) for own in (there.where(found), there, given))
    return np.stack([np.bincount(cell, minlength=math.prod(shape)).reshape(shape) for cell in cells], axis=-1)


def entity_counts(
    true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> tuple[np.ndarray, list[str], np.ndarray, np.ndarray]:
    """What `evaluate` counts in each of S sentences.

    Returns
    -------
    counts : numpy.ndarray
        Entities found, there and given by type, shape ``(S, C, 3)``.
    names : list of str
        Of the C types that occur in either.
    right, words : numpy.ndarray
        Tags that are right, and all, shape ``(S,)``.

    Examples
    --------
    >>> counts, names, right, words = entity_counts([["B-PER", "O"]], [["B-PER", "B-LOC"]])
    >>> counts.tolist(), names, right.tolist(), words.tolist()
    ([[[0, 0, 1], [1, 1, 1]]], ['LOC', 'PER'], [1], [2])
    """
    found = _counted(true, predicted, strict=False)
    return found.counts, found.names, found.right, found.words


class _Counted(NamedTuple):
    """Entities that are there and that are given, and what `entity_counts` says of them."""

    there: Spans
    given: Spans
    counts: np.ndarray
    names: list[str]
    right: np.ndarray
    words: np.ndarray


def _counted(true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, strict: bool) -> _Counted:
    lengths = _lengths(true, predicted)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    first = np.diff(owner, prepend=-1) > 0
    vocabulary: dict[str, int] = {}
    codes = [_numbered(chain.from_iterable(tags), vocabulary) for tags in (true, predicted)]
    tagset = _Tagset.of(vocabulary)
    there, given = (_spans(own, first, tagset, strict=strict) for own in codes)
    counts = _counts(there, given, owner, (len(lengths), len(tagset.names)))
    used = np.flatnonzero(counts.sum((0, 2)))
    right = np.bincount(owner[codes[0] == codes[1]], minlength=len(lengths))
    return _Counted(there, given, counts[:, used], [tagset.names[kind] for kind in used], right, lengths)


def _entity_scores(counts: np.ndarray, names: list[str], seed: int, level: float) -> tuple[list[Score], list[ClassScores]]:
    totals = counts.sum(0)
    draws = resampled_sums(counts.reshape(len(counts), -1), seed=seed).reshape(RESAMPLES, *totals.shape)
    by_kind, micro = (Rates.of(total).of_resamples(drawn) for total, drawn in ((totals, draws), (totals.sum(0), draws.sum(1))))
    classes = [class_scores(name, totals[c], by_kind.f1[:, c], level) for c, name in enumerate(names)]
    hits, support, predicted = (int(total) for total in totals.sum(0))
    f1 = f1_score("entity_f1", [hits, support, predicted], micro.f1, level)
    scores = [
        f1,
        _over_sentences("entity_precision", hits, predicted, micro.precision, level),
        _over_sentences("entity_recall", hits, support, micro.recall, level),
        macro_f1(classes, by_kind.f1, f1.n, level),
    ]
    return scores, classes


def _over_sentences(name: str, hits: int, n: int, draws: np.ndarray, level: float) -> Score:
    plain = proportion(name, hits, n, level)
    interval = percentile(plain.value, draws, level) if n else None
    return plain.model_copy(update={"interval": interval}) if interval else plain
