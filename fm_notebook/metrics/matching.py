"""What became of each entity: found exactly, in part, with the wrong type, not at all, or invented."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Spans:
    """Entities of a text, none overlapping another: type number, first token and the token after the last.

    Attributes
    ----------
    kind, start, end : numpy.ndarray
        int64, shape ``(E,)``, in order of `start`.
    """

    kind: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def where(self, kept: np.ndarray) -> Spans:
        """Those that the mask `kept` marks."""
        return Spans(self.kind[kept], self.start[kept], self.end[kept])


@dataclass(frozen=True, slots=True)
class Matches:
    """Pairs of a true and a given entity, each in one pair at most, after SemEval-2013 (task 9) and `nervaluate`.

    ``exact + partial + wrong_type + missed`` is the number of true entities, ``exact + partial + wrong_type + spurious``
    that of the given ones.

    Attributes
    ----------
    exact : int
        The same tokens and type.
    partial : int
        The same type, and a token in common.
    wrong_type : int
        Another type, and a token in common or the very same tokens.
    missed, spurious : int
        True ones without a given one, and given ones without a true one.
    """

    exact: int
    partial: int
    wrong_type: int
    missed: int
    spurious: int


def exact(true: Spans, given: Spans) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the true and of the given entities that the other has too, with equal ends and type."""
    # Entities of one side do not overlap, so that a first token belongs to one at most.
    _, mine, theirs = np.intersect1d(true.start, given.start, assume_unique=True, return_indices=True)
    same = (true.end[mine] == given.end[theirs]) & (true.kind[mine] == given.kind[theirs])
    return _mask(mine[same], len(true)), _mask(theirs[same], len(given))


def match(true: Spans, given: Spans) -> Matches:
    """Pair the entities: first those that are equal, then of those left the overlapping of one type, then of any type.

    Each round pairs as many as can be. Costs Python time only for what is not equal.

    Examples
    --------
    Tokens 0 to 2 are of type 0, token 5 of type 1. Given are 0 to 1 of type 0, and 5 and 8 of type 0.

    >>> true = Spans(*np.array([[0, 1], [0, 5], [3, 6]]))
    >>> match(true, Spans(*np.array([[0, 0, 0], [0, 5, 8], [2, 6, 9]])))
    Matches(exact=0, partial=1, wrong_type=1, missed=0, spurious=1)
    """
    mine, theirs = exact(true, given)
    equal = int(mine.sum())
    true, given = true.where(~mine), given.where(~theirs)
    partial = 0
    mine, theirs = np.zeros(len(true), bool), np.zeros(len(given), bool)
    for kind in np.intersect1d(true.kind, given.kind):
        own, other = np.flatnonzero(true.kind == kind), np.flatnonzero(given.kind == kind)
        pairs = _overlapping(true.where(own), given.where(other))
        partial += len(pairs)
        mine[[own[i] for i, _ in pairs]] = theirs[[other[j] for _, j in pairs]] = True
    true, given = true.where(~mine), given.where(~theirs)
    crossed = len(_overlapping(true, given))
    return Matches(equal, partial, crossed, missed=len(true) - crossed, spurious=len(given) - crossed)


def _overlapping(true: Spans, given: Spans) -> list[tuple[int, int]]:
    """As many pairs with a token in common as there can be.

    In reading order: of two that overlap, the one that ends first overlaps nothing further on, so that pairing them takes
    no better pair away.
    """
    starts, ends = (true.start.tolist(), given.start.tolist()), (true.end.tolist(), given.end.tolist())
    pairs, i, j = [], 0, 0
    while i < len(true) and j < len(given):
        if ends[0][i] <= starts[1][j]:
            i += 1
        elif ends[1][j] <= starts[0][i]:
            j += 1
        else:
            pairs.append((i, j))
            i, j = i + 1, j + 1
    return pairs


def _mask(chosen: np.ndarray, size: int) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[chosen] = True
    return mask
