"""Identity terms by axis and group: our own in English and Chinese (``en.toml``, ``zh.toml``), or those of the user's file.

A lexicon is a list of words, no judgement of people: a text that has none of them may well be about a group, and one that has
one need not be.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from fm_notebook.contracts.values import Frozen
from fm_notebook.data.wording import listed, shown
from fm_notebook.errors import DataError, did_you_mean

LANGUAGES = ("en", "zh")
_FOLDER = Path(__file__).parent
_Term = Annotated[str, Field(pattern=r"^\S(.*\S)?$")]
_Groups = Annotated[dict[str, Annotated[tuple[_Term, ...], Field(min_length=1)]], Field(min_length=1)]


class Swaps(Frozen):
    """Words to exchange: `pairs` and `names` both ways, `one_way` from the first to the second.

    `function_words` begin no noun, so that a pronoun before one is an object and no possessive.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    one_way: tuple[tuple[str, str], ...] = Field((), alias="one-way")
    names: tuple[tuple[str, str], ...] = ()
    function_words: tuple[str, ...] = Field((), alias="function-words")


class Lexicon(Frozen):
    """What a lexicon's file says.

    Attributes
    ----------
    axes : dict
        Of each axis the terms by group.
    exceptions : dict
        Words by axis in which a term names nobody, such as the Chinese *other*, which holds *he*.
    swaps : dict
        Words to exchange by axis.
    """

    axes: dict[str, _Groups]
    exceptions: dict[str, tuple[_Term, ...]] = Field(default_factory=dict)
    swaps: dict[str, Swaps] = Field(default_factory=dict)


@dataclass(frozen=True)
class Axis:
    """One axis: its terms by group, and the words in which they name nobody."""

    name: str
    groups: Mapping[str, tuple[str, ...]]
    exceptions: tuple[str, ...] = ()


def axis(asked: str) -> Axis:
    """The axis that `asked` names: of our lexicons, or of a file (``my_terms.toml``, or ``my_terms.toml:AXIS`` of several).

    Raises
    ------
    DataError
        If there is no such axis or file, or the file is no lexicon.
    """
    if ".toml" in asked:
        path, _, name = asked.partition(".toml")
        return _of_file(Path(f"{path}.toml").expanduser(), name.removeprefix(":"))
    known = axes()
    if asked not in known:
        raise DataError("lexicon.axis", axis=shown(asked), known=", ".join(known), hint=did_you_mean(asked, list(known)))
    return _merged(asked, tuple(ours(language) for language in LANGUAGES))


def axes() -> tuple[str, ...]:
    """The axes of our lexicons."""
    return tuple(dict.fromkeys(name for language in LANGUAGES for name in ours(language).axes))


@cache
def ours(language: str) -> Lexicon:
    """Our own lexicon in `language`, ``en`` or ``zh``."""
    return read(_FOLDER / f"{language}.toml")


def read(path: Path) -> Lexicon:
    """The lexicon in the file at `path`.

    Raises
    ------
    DataError
        If there is none, or it is no lexicon.
    """
    try:
        return Lexicon.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError("lexicon.no_file", path=str(path)) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError("lexicon.unreadable", path=str(path), reason=str(error)) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError("lexicon.form", path=str(path), place=place, reason=first["msg"]) from error


def _of_file(path: Path, name: str) -> Axis:
    lexicon = read(path)
    known = list(lexicon.axes)
    chosen = name or (known[0] if len(known) == 1 else "")
    if chosen not in known:
        hint = did_you_mean(name, known) if name else ""
        raise DataError("lexicon.axis_of_file", path=str(path), axis=shown(name), known=listed(known), hint=hint)
    return _merged(chosen, (lexicon,))


def _merged(name: str, lexicons: tuple[Lexicon, ...]) -> Axis:
    """The axis of several lexicons as one: terms of groups that are called alike are put together."""
    groups: dict[str, tuple[str, ...]] = {}
    for lexicon in lexicons:
        for group, terms in lexicon.axes.get(name, {}).items():
            groups[group] = (*groups.get(group, ()), *terms)
    return Axis(name, groups, tuple(word for each in lexicons for word in each.exceptions.get(name, ())))
