"""Texts with the words of one gender exchanged for those of the other, for counterfactual data.

A word is exchanged if a lexicon pairs it; the rest of the text stays letter by letter. English *her* and *his* are two
words each:

=======  =======================================  =================================
word     before a word that may begin a noun      else (a function word, the end)
=======  =======================================  =================================
her      his (*her book*)                         him (*saw her and*)
his      her (*his book*)                         hers (*it is his.*)
him      her                                      her
hers     his                                      his
=======  =======================================  =================================

The rule knows no grammar: *I saw her yesterday* is caught by a list of function words, *I made her cry* is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from fm_notebook.data import lexicons
from fm_notebook.data.mentions import HAN, holds, pattern

_NEXT = re.compile(r"\s+(\w+)")
_OF_HER = {"her": ("his", "him"), "his": ("her", "hers"), "him": ("her", "her"), "hers": ("his", "his")}
"""What each becomes before a noun, and elsewhere."""


@dataclass(frozen=True)
class Swapper:
    """Exchanges words: `words` in small letters, `names` as they are written; what stands in neither stays.

    Before one of `function_words`, *her* is no possessive.
    """

    words: dict[str, str]
    names: dict[str, str]
    function_words: frozenset[str]
    found: re.Pattern[str]

    def __call__(self, text: str) -> str:
        """`text` with its words exchanged; itself, if there are none."""
        return self.found.sub(self._other, text)

    def touches(self, texts: pa.ChunkedArray) -> np.ndarray:
        """Whether each of `texts` holds a word that may be exchanged, bool, shape ``(N,)``: a quick look before the slow one."""
        return holds(texts, [*self.words, *self.names, *_OF_HER])

    def _other(self, match: re.Match[str]) -> str:
        word = match.group()
        if HAN.search(word):
            return self.words.get(word, word)
        if word.lower() in _OF_HER:
            other = _OF_HER[word.lower()][not self._before_noun(match)]
        else:
            other = self.names.get(word.title()) or self.words.get(word.lower(), word)
        return _written_like(word, other)

    def _before_noun(self, match: re.Match[str]) -> bool:
        following = _NEXT.match(match.string, match.end())
        return following is not None and following[1].lower() not in self.function_words


@cache
def swapper(axis: str = "gender", *, names: bool = True) -> Swapper:
    """The exchange along `axis`, with given names or without.

    Examples
    --------
    >>> swap = swapper()
    >>> swap("He gave her his book."), swap("MARY met the king"), swap("她和其他人"), swap("the other")
    ('She gave him her book.', 'JAMES met the queen', '他和其他人', 'the other')
    """
    words: dict[str, str] = {}
    given: dict[str, str] = {}
    passed_over: list[str] = []
    function_words: set[str] = set()
    for language in lexicons.LANGUAGES:
        lexicon = lexicons.ours(language)
        table = lexicon.swaps[axis]
        passed_over += lexicon.exceptions.get(axis, ())
        function_words |= set(table.function_words)
        given |= _both_ways(table.names) if names else {}
        for pairs in (dict(table.one_way), _both_ways(table.pairs)):
            target = {word: other for word, other in pairs.items() if word == word.lower()}
            words |= target
            given |= {word: other for word, other in pairs.items() if word not in target}
    found = re.compile(pattern([*words, *given, *_OF_HER, *passed_over]))
    return Swapper(words, given, frozenset(function_words), found)


def _both_ways(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {one: other for pair in pairs for one, other in (pair, pair[::-1])}


def _written_like(word: str, other: str) -> str:
    """`other` in the capitals of `word`."""
    if word.isupper() and len(word) > 1:
        return other.upper()
    return other[0].upper() + other[1:] if word[0].isupper() else other
