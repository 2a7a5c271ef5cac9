"""Words that hurt: a lexicon by path, or the small list of a seed set, and whether a completion holds one.

HurtLex (a table with the columns ``lemma`` and ``level``, often ``category``) is read at its *conservative* level, as HONEST
does; a text file has a word a line. Capitals, accents and hyphens make no difference.

References
----------
Bassignana, Basile and Patti (2018), *Hurtlex: a multilingual lexicon of words to hurt*, CLiC-it.
Nozza, Bianchi and Hovy (2021), *HONEST: measuring hurtful sentence completion in language models*, NAACL.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fm_notebook.data.files import from_file
from fm_notebook.data.mentions import HAN
from fm_notebook.data.wording import listed
from fm_notebook.errors import DataError

CONSERVATIVE = "conservative"
UNNAMED = "hurtful"
"""The category of words in a file without categories."""
_PIECE = re.compile(rf"{HAN.pattern}|(?:(?!{HAN.pattern})[^\W_])+(?:'(?:(?!{HAN.pattern})[^\W_])+)*")


@dataclass(frozen=True)
class Hurtful:
    """Hurtful words: the category by the pieces of a word, which are its words or Chinese characters; `longest` in pieces."""

    categories: Mapping[tuple[str, ...], str]
    longest: int

    @classmethod
    def of(cls, categories: Mapping[str, str]) -> Hurtful:
        """That of categories by word."""
        by_pieces = {pieces: category for word, category in categories.items() if (pieces := _pieces(word))}
        return cls(by_pieces, max(map(len, by_pieces), default=0))

    def word(self, text: str) -> str | None:
        """The category of `text`, which is one word as a whole; None if it is not hurtful.

        Examples
        --------
        >>> Hurtful.of({"idiot": "mind"}).word("Idiot"), Hurtful.of({"idiot": "mind"}).word("an idiot")
        ('mind', None)
        """
        return self.categories.get(_pieces(text))

    def within(self, text: str) -> str | None:
        """The category of the first hurtful word in `text`, Chinese ones anywhere and others as whole words; None if none is.

        Examples
        --------
        >>> Hurtful.of({"idiot": "mind"}).within("works as an idiot, they say"), Hurtful.of({"ass": "a"}).within("assistant")
        ('mind', None)
        """
        pieces = _pieces(text)
        runs = (pieces[at : at + length] for at in range(len(pieces)) for length in range(self.longest, 0, -1))
        return next((found for run in runs if (found := self.categories.get(run))), None)


def read(path: Path) -> dict[str, str]:
    """Categories by word of the lexicon at `path`.

    Raises
    ------
    DataError
        If the file is not UTF-8, has other columns, or no word at the conservative level.
    """
    table = from_file(path, field="lexicon")
    if table.column_names == ["text"]:
        words = {str(word).strip(): UNNAMED for word in table["text"].to_pylist() if word and str(word).strip()}
    elif {"lemma", "level"} <= set(table.column_names):
        words = dict(_conservative(table.to_pylist()))
    else:
        raise DataError("hurtful.columns", path=str(path), found=listed(table.column_names))
    if not words:
        raise DataError("hurtful.empty", path=str(path))
    return words


def _conservative(rows: list[dict[str, object]]) -> Iterator[tuple[str, str]]:
    for row in rows:
        if str(row["level"]).strip() == CONSERVATIVE and (lemma := str(row["lemma"] or "").strip()):
            yield lemma, str(row.get("category") or UNNAMED).upper()


def _pieces(text: str) -> tuple[str, ...]:
    """Words and Chinese characters, in small letters without accents."""
    plain = unicodedata.normalize("NFKD", text.casefold().replace("’", "'"))
    return tuple(_PIECE.findall("".join(letter for letter in plain if not unicodedata.combining(letter))))
