"""Which groups of people a text names, by a lexicon of identity terms.

Words of scripts with spaces are found whole, Chinese ones anywhere, and the longest first: *other* (其他) is passed over before
*he* (他) is looked for. RE2 reads each text once a group, so that a million short texts take seconds; only those that hold a term
and a longer word around it are read again, by Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fm_notebook.data import lexicons
from fm_notebook.data.lexicons import Axis

NONE = "unmentioned"
"""The group of texts that name nobody of the axis: they are many, and are no reference for the others."""
SEVERAL = "several"
"""The group of texts that name more than one of more than `NAMED` groups."""
NAMED = 4
"""Most groups of an axis whose combinations are named: ``female+male``. Those of ten groups would be a thousand."""

HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# A word may stand between Chinese, Japanese or Korean ones without a space; RE2 and Python say so differently.
_RE2_BORDER = r"[^\p{L}\p{M}\p{N}_]|\p{Han}|\p{Hiragana}|\p{Katakana}|\p{Hangul}"
_LETTER = r"[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]"
_BEFORE, _AFTER = rf"(?<!{_LETTER})", rf"(?!{_LETTER})"


def mentioned(texts: Sequence[pa.ChunkedArray], axis: str) -> pa.Array:
    """The group of each row by whom its texts name.

    Parameters
    ----------
    texts : sequence of ChunkedArray of large string, shape (N,)
        All texts of a row count.
    axis : str
        Such as ``gender``, or a file: see `fm_notebook.data.lexicons.axis`.

    Returns
    -------
    pyarrow.Array of string, shape (N,)
        The group; `NONE`; of several groups, joined by ``+`` in the lexicon's order, or `SEVERAL`. Never null.

    Raises
    ------
    DataError
        If there is no such axis.
    """
    chosen = lexicons.axis(axis)
    found = np.logical_or.reduce([named(each, chosen) for each in texts])
    bits = found @ (1 << np.arange(len(chosen.groups), dtype=np.int64))
    occurring, places = np.unique(bits, return_inverse=True)
    names = [_name(int(each), tuple(chosen.groups)) for each in occurring]
    return pa.array(names, pa.large_string()).take(pa.array(places))


def named(texts: pa.ChunkedArray, axis: Axis) -> np.ndarray:
    """Whether each text names each group of `axis`, bool, shape ``(N, G)``. A missing text names nobody."""
    return np.stack([_names_group(texts, axis, group) for group in axis.groups], axis=1)


def pattern(words: Iterable[str]) -> str:
    """A regular expression of Python that finds `words`: the longest, Chinese ones anywhere and others as whole words.

    A word in small letters is found however it is written; one with a capital only as it stands, or in capitals throughout.
    """
    longest_first = sorted(set(words), key=lambda word: (-len(word), word))
    chinese = [re.escape(word) for word in longest_first if HAN.search(word)]
    spaced = "|".join(_written(word, r"[\s-]+") for word in longest_first if not HAN.search(word))
    return "|".join([*([f"{_BEFORE}(?:{spaced}){_AFTER}"] if spaced else []), *chinese])


def _name(bits: int, groups: Sequence[str]) -> str:
    held = [group for place, group in enumerate(groups) if bits >> place & 1]
    if len(held) > 1 and len(groups) > NAMED:
        return SEVERAL
    return "+".join(held) or NONE


def _names_group(texts: pa.ChunkedArray, axis: Axis, group: str) -> np.ndarray:
    terms = axis.groups[group]
    found = holds(texts, terms)
    if not (around := _around(axis, group)):
        return found
    places = np.flatnonzero(found)
    hits = texts.take(pa.array(places))
    doubtful = np.flatnonzero(holds(hits, around))
    either = re.compile(pattern([*terms, *around]))
    is_term = re.compile(pattern(terms)).fullmatch
    read_again = hits.take(pa.array(doubtful)).to_pylist()
    found[places[doubtful]] = [any(map(is_term, either.findall(text))) for text in read_again]
    return found


def _around(axis: Axis, group: str) -> list[str]:
    """The words around a term of `group` that are none: exceptions, and terms of other groups."""
    own, inside = set(axis.groups[group]), re.compile(pattern(axis.groups[group]))
    others = (term for name, terms in axis.groups.items() if name != group for term in terms)
    return [word for word in dict.fromkeys([*axis.exceptions, *others]) if word not in own and inside.search(word)]


def holds(texts: pa.ChunkedArray, words: Iterable[str]) -> np.ndarray:
    """Whether each text holds one of `words`, found as by `pattern`, bool, shape ``(N,)``. A missing text holds none."""
    options = pc.MatchSubstringOptions(_re2(tuple(words)))
    return np.asarray(pc.call_function("match_substring_regex", [texts], options).fill_null(False), dtype=bool)


def _re2(words: Sequence[str]) -> str:
    """As `pattern`, for RE2, which cannot look around, and which only has to say whether there is one."""
    chinese = [re.escape(word) for word in words if HAN.search(word)]
    spaced = "|".join(_written(word, r"[\s\p{Z}-]+") for word in words if not HAN.search(word))
    whole = [f"(?:^|{_RE2_BORDER})(?:{spaced})(?:$|{_RE2_BORDER})"] if spaced else []
    return "|".join([*whole, *chinese])


def _written(word: str, space: str) -> str:
    """How `word` may be written; a space in it may be a hyphen, an apostrophe a curly one."""
    parts = [re.escape(part).replace("'", "['’]") for part in re.split(r"[\s-]+", word)]
    whole = space.join(parts)
    return f"(?i:{whole})" if word == word.lower() else f"{whole}|{space.join(map(str.upper, parts))}"
