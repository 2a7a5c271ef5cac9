"""Which tokens two sentences of a pair share, and in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

Places = tuple[int, ...]


@dataclass(frozen=True)
class Alignment:
    """Tokens of two sentences, told apart by their ids.

    Attributes
    ----------
    shared : tuple of (int, int)
        Positions of the same token in the first and in the second sentence, in their order; special tokens too.
    first_own, second_own : tuple of int
        Positions of the tokens that only the one has.
    depends_on_order : bool
        Whether other tokens are shared when the sentences change places, as in *men than women* and *women than men*.
    """

    shared: tuple[tuple[int, int], ...]
    first_own: Places
    second_own: Places
    depends_on_order: bool

    @property
    def inner(self) -> tuple[tuple[int, int], ...]:
        """`shared` without the first and the last, which are what the tokenizer puts around a text."""
        return self.shared[1:-1]

    @property
    def swapped(self) -> Alignment:
        """The same, second to first."""
        shared = tuple((other, one) for one, other in self.shared)
        return Alignment(shared, self.second_own, self.first_own, self.depends_on_order)

    @property
    def lengths_differ(self) -> bool:
        """Whether the sentences differ in pieces of different number, so that a sum over tokens favours the shorter one."""
        return len(self.first_own) != len(self.second_own)


def align(first: Sequence[int], second: Sequence[int]) -> Alignment:
    """How the token ids `first` and `second` are aligned by `difflib`, which the CrowS-Pairs metric uses.

    `difflib` takes the longest run of equal tokens first, so that what is shared can depend on which sentence comes first. It is
    kept so that figures can be compared, and told.

    References
    ----------
    Nangia et al. (2020), *CrowS-Pairs*, EMNLP, section 3.

    Examples
    --------
    >>> align([1, 7, 8, 2], [1, 9, 8, 2]).inner
    ((2, 2),)
    >>> align([1, 5, 6, 7, 2], [1, 7, 6, 5, 2]).depends_on_order
    True
    """
    shared = _shared(first, second)
    swapped = {(one, other) for other, one in _shared(second, first)}
    in_first, in_second = {one for one, _ in shared}, {other for _, other in shared}
    return Alignment(
        shared,
        tuple(place for place in range(len(first)) if place not in in_first),
        tuple(place for place in range(len(second)) if place not in in_second),
        set(shared) != swapped,
    )


def _shared(first: Sequence[int], second: Sequence[int]) -> tuple[tuple[int, int], ...]:
    blocks = SequenceMatcher(None, first, second).get_matching_blocks()
    return tuple((block.a + i, block.b + i) for block in blocks for i in range(block.size))
