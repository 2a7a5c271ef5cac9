"""Words of two groups and of two ideas, alone and in bleached sentences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from fm_notebook.data.seed_sets.files import Associations, read


@dataclass(frozen=True, slots=True)
class AssociationTest:
    """An association test; a stereotype ties the words of `first` to `a_words` and those of `second` to `b_words`.

    Attributes
    ----------
    name : str
        Such as ``female/male names: family/career``.
    axis : str
    first, second : tuple of str
        As many words of the one group as of the other.
    a, b : str
        Names of the two ideas.
    a_words, b_words : tuple of str
        As many of the one as of the other.
    """

    name: str
    axis: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    a: str
    b: str
    a_words: tuple[str, ...]
    b_words: tuple[str, ...]


@cache
def associations(language: str) -> tuple[AssociationTest, ...]:
    """The association tests of all axes."""
    seed = read(Associations, language)
    return tuple(AssociationTest(axis=axis, **test.model_dump()) for axis, group in seed.axes.items() for test in group.tests)


def templates(language: str) -> tuple[str, ...]:
    """Sentences with ``{word}`` that say as little as possible; `filled` fills them."""
    return read(Associations, language).templates
