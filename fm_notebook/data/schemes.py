"""Schemes of tags: which names there are, and the number of each tag."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fm_notebook.data.columns import Place
from fm_notebook.data.labels import Classes
from fm_notebook.data.wording import listed, shown
from fm_notebook.errors import DataError

OUTSIDE = "O"
PREFIXED = re.compile(r"([BIMELSU])-(.+)", re.DOTALL)
_LOOKS_PREFIXED = re.compile(r"[A-Za-z][-_].+", re.DOTALL)
_AS_BIO = {**dict.fromkeys("BSU", "B"), **dict.fromkeys("IMEL", "I")}


@dataclass(frozen=True, slots=True)
class TagSet:
    """The `names` of a tagger's outputs in their order, and the number of each tag as the data write it."""

    names: tuple[str, ...]
    numbers: Mapping[str, int]


def tag_set(found: Sequence[str], labels: Sequence[str] | None, place: Place) -> TagSet:
    """The tags that `found` in the data makes: ``O``, then for each type, sorted, ``B-`` and ``I-``.

    BMES, BIOES and BILOU become BIO, which says the same: the first word of a span is ``B-``, any other ``I-``. Tags without a
    prefix, such as parts of speech, stay as they are. With `labels`, a model's outputs, tags are numbered by these.

    Raises
    ------
    DataError
        If a prefix is unknown, nothing is tagged, or a tag has no place among `labels`.
    """
    if labels is not None:
        return _matched(found, Classes(labels), place)
    tagged = [name for name in found if name != OUTSIDE]
    prefixed = [name for name in tagged if PREFIXED.fullmatch(name)]
    strange = [name for name in tagged if name not in prefixed and (prefixed or _LOOKS_PREFIXED.fullmatch(name))]
    if strange:
        raise DataError("data.tags.prefix", **place.told("label", tags=listed(strange, 10)))
    if found and not tagged:
        raise DataError("data.tags.none", **place.told("label"))
    if not prefixed and len(found) == 1:
        raise DataError("data.label.one", **place.told("label", label=shown(found[0])))
    types = sorted({name[2:] for name in prefixed})
    names = [OUTSIDE] * (OUTSIDE in found or bool(prefixed))
    names += [f"{prefix}-{kind}" for kind in types for prefix in "BI"] or tagged
    numbers = {name: i for i, name in enumerate(names)}
    return TagSet(tuple(names), {name: numbers[name if name in numbers else as_bio(name)] for name in {*names, *found}})


def as_bio(tag: str) -> str:
    """`tag` with its prefix as in BIO."""
    match = PREFIXED.fullmatch(tag)
    return f"{_AS_BIO[match[1]]}-{match[2]}" if match else tag


def _matched(found: Sequence[str], classes: Classes, place: Place) -> TagSet:
    """Each tag by its own name, else as BIO, else by its type alone (a model that tags inside or outside)."""
    numbers = dict(classes.numbers)
    for tag in found:
        forms = (tag, as_bio(tag), tag[2:] if PREFIXED.fullmatch(tag) else tag)
        if known := next((form for form in forms if form in classes.numbers), None):
            numbers[tag] = classes.numbers[known]
    classes.check([tag for tag in found if tag not in numbers], place)
    return TagSet(classes.names, numbers)
