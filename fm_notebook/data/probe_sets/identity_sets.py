"""Sentences that differ in an identity term alone: the public sets of them, and the user's own texts with words exchanged.

Two forms. A *pair* names a person of one group, and of another. A *set* is one template with many terms, one row each, all
compared with all. Both have the columns

- ``id``, ``axis``, ``template``, ``label`` (what the sentence says: ``anger``, ``toxic`` …, empty if nobody tells), ``term``;
- ``first``, ``second``: the texts; ``second`` is empty in sets;
- ``first_group``, ``second_group``: whom they name; in sets the term, and `OTHERS`;
- in sets ``block``, the template with its label: its rows have to be scored together.

References
----------
Kiritchenko and Mohammad (2018), *Examining gender and race bias in two hundred sentiment analysis systems*, StarSEM.
Dixon, Li, Sorensen, Thain and Vasserman (2018), *Measuring and mitigating unintended bias in text classification*, AIES.
Borkan, Dixon, Sorensen, Thain and Vasserman (2019), *Nuanced metrics for measuring unintended bias*, WWW companion.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from fm_notebook.data import lexicons
from fm_notebook.data.mentions import HAN
from fm_notebook.data.swapping import Swapper, swapper
from fm_notebook.data.wording import listed
from fm_notebook.errors import DataError

OTHERS = "others"
ORIGINAL, SWAPPED = "original", "swapped"
"""The groups of a pair whose text names both, or neither by a word of our lexicon."""
MOST_LABELS = 20
"""Of own texts; a column with more holds no classes."""
_EEC = ("Sentence", "Template", "Person", "Gender", "Race", "Emotion", "Emotion word")
_JIGSAW = ("template", "toxicity", "phrase")
_MADLIBS = ("Text", "Label", "Template")
_PAIRS = ("first", "second")
_TOXIC = {"toxic": "toxic", "nontoxic": "nontoxic", "bad": "toxic", "not_bad": "nontoxic"}
_Row = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """Items in the columns above, what they are, and the rows that are none, by reason.

    Attributes
    ----------
    kind : str
        ``eec``, ``jigsaw``, ``pairs`` or ``texts``.
    language : str
        ``en``, ``zh`` or empty.
    """

    kind: str
    rows: tuple[_Row, ...]
    language: str = ""
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def table(self) -> pa.Table:
        """The items."""
        names = ("id", "axis", "template", "label", "term", "first", "second", "first_group", "second_group")
        in_sets = self.kind == "jigsaw"
        return pa.table(
            {each: pa.array([row[each] for row in self.rows], pa.string()) for each in (*names, *["block"] * in_sets)}
        )


def read(table: pa.Table, text: str = "text", label: str = "label") -> Found:
    """The items in `table`, told by its columns: EEC, Jigsaw's templates, madlibs, the user's pairs, or texts.

    Texts are the column `text`, or the only one that holds words; their classes, if there is such a column, are in `label`.

    Raises
    ------
    DataError
        If it has the columns of none of them.
    """
    found = set(table.column_names)
    for columns, make in ((_EEC, _eec), (_JIGSAW, _jigsaw), (_MADLIBS, _madlibs), (_PAIRS, _pairs)):
        if found >= set(columns):
            return make(table)
    words = [field.name for field in table.schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    column = text if text in found else words[0] if len(words) == 1 else ""
    if not column:
        raise DataError("identity_swap.columns", text=text, found=listed(table.column_names))
    return _texts(table[column], table[label].to_pylist() if label in found else [])


def _eec(table: pa.Table) -> Found:
    """Pairs by gender, and of given names by race too: the names of two groups are paired in alphabetical order."""
    partner = {tuple(pair) for pair in _words()["eec"]}
    cells: defaultdict[tuple[str, str, str], dict[tuple[str, str], dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    dropped: Counter[str] = Counter()
    for given in table.select(_EEC).to_pylist():
        row = {name: _text(value).strip() for name, value in given.items()}
        if not row["Sentence"]:
            dropped["empty"] += 1
            continue
        people = cells[row["Template"], row["Emotion word"], row["Emotion"] or "neutral"]
        people[row["Gender"].lower(), row["Race"]][row["Person"]] = row["Sentence"]
    rows: list[_Row] = []
    for (template, word, emotion), people in cells.items():
        used: set[tuple[str, str]] = set()
        for axis, first, second in _sides(people):
            ones, others = people[first], people[second]
            if not first[1] and axis == "gender":
                couples = [(one, other) for one, other in partner if one in ones and other in others]
            else:
                couples = list(zip(sorted(ones), sorted(others), strict=False))
            used |= {(first[0], one) for one, _ in couples} | {(second[0], other) for _, other in couples}
            groups = (first[0], second[0]) if axis == "gender" else (first[1], second[1])
            rows += [
                _item(axis, f"{template} {word}".strip(), emotion, f"{one}/{other}", (ones[one], others[other]), groups)
                for one, other in sorted(couples)
            ]
        held = {(gender, person) for (gender, _), each in people.items() for person in each}
        dropped["no_partner"] += len(held - used)
    return Found("eec", _numbered(rows), "en", +dropped)


def _text(value: object) -> str:
    """A cell as text; a column of numbers, such as labels 0 and 1, is one of texts too."""
    return "" if value is None else str(value)


def _sides(people: Mapping[tuple[str, str], object]) -> Iterator[tuple[str, tuple[str, str], tuple[str, str]]]:
    """Axis and the two kinds of people, each a gender and a race, that are compared along it."""
    for race in sorted({race for _, race in people}):
        if ("female", race) in people and ("male", race) in people:
            yield "gender", ("female", race), ("male", race)
    races = sorted({race for _, race in people if race})
    for gender in ("female", "male"):
        held = [race for race in races if (gender, race) in people]
        if len(held) == 2:
            yield "race", (gender, held[0]), (gender, held[1])


def _jigsaw(table: pa.Table) -> Found:
    rows = [tuple(_text(row[name]) for name in _JIGSAW) for row in table.select(_JIGSAW).to_pylist()]
    prefix = _words()["jigsaw-zh"]
    chinese = [text.removeprefix(prefix) for kind, _, text in rows if kind == "hate_identity" and text.startswith(prefix)]
    terms = chinese or _words()["jigsaw"]
    return _sets([(kind, toxicity, text) for kind, toxicity, text in rows], terms, "zh" if chinese else "en")


def _madlibs(table: pa.Table) -> Found:
    rows = table.select(_MADLIBS).to_pylist()
    return _sets([(_text(row["Template"]), _text(row["Label"]), _text(row["Text"])) for row in rows], _words()["jigsaw"], "en")


def _sets(rows: Sequence[tuple[str, str, str]], terms: Sequence[str], language: str) -> Found:
    """One template is a text without its term, the longest that it holds."""
    match, dropped = _longest(terms), Counter[str]()
    sets: defaultdict[str, dict[str, _Row]] = defaultdict(dict)
    for kind, toxicity, text in rows:
        label = _TOXIC.get(toxicity.lower(), toxicity)
        if (at := match(text)) is None:
            dropped["empty" if not text.strip() else "no_identity_term"] += 1
            continue
        template, term = text[: at.start()] + "{}" + text[at.end() :], at.group()
        block = f"{kind} {label} {template}"
        dropped["repeated"] += term in sets[block]
        sets[block].setdefault(term, _item("identity", template, label, term, (text, ""), (term, OTHERS)) | {"block": block})
    whole = [each for each in sets.values() if len(each) > 1]
    dropped["alone_in_template"] += len(sets) - len(whole)
    return Found("jigsaw", _numbered([row for each in whole for row in each.values()]), language, +dropped)


def _longest(terms: Sequence[str]) -> Callable[[str], re.Match[str] | None]:
    """Finds the longest of `terms` in a text, as it is spelt: *Christian is a kind muslim* names one."""
    words = sorted(set(filter(None, terms)), key=lambda word: (-len(word), word))
    parts = [re.escape(word) if HAN.search(word) else rf"(?<!\w){re.escape(word)}(?!\w)" for word in words]
    found = re.compile("|".join(parts))
    return lambda text: max(found.finditer(text), key=lambda each: len(each.group()), default=None)


def _pairs(table: pa.Table) -> Found:
    """The user's pairs; of the other columns those that are there."""
    rows, dropped = [], Counter[str]()
    for number, row in enumerate(table.to_pylist()):
        first, second = (str(row[name] or "").strip() for name in _PAIRS)
        if reason := "empty" if not (first and second) else "identical" if first == second else "":
            dropped[reason] += 1
            continue
        told = {name: str(row.get(name) or "") for name in ("axis", "template", "term", "label", "first_group", "second_group")}
        groups = told["first_group"] or "first", told["second_group"] or "second"
        template = told["template"] or f"row {number}"
        rows.append(_item(told["axis"] or "own", template, told["label"], told["term"] or template, (first, second), groups))
    return Found("pairs", _numbered(rows), "", dropped)


def _texts(column: pa.ChunkedArray, labels: Sequence[object]) -> Found:
    """Each text that names a gender, and the same with the genders exchanged: the one that names women stands first."""
    swap, rows, dropped = swapper(), [], Counter[str]()
    texts = [str(each or "").strip() for each in column.to_pylist()]
    touched = swap.touches(pa.chunked_array([pa.array(texts, pa.large_string())]))
    said = labels if 1 < len(set(labels)) <= MOST_LABELS else [""] * len(texts)
    for text, is_touched, label in zip(texts, touched, said, strict=True):
        other = swap(text) if is_touched else text
        if other == text:
            dropped["no_identity_term" if text else "empty"] += 1
            continue
        groups, both, term = _exchanged(swap, text, other)
        rows.append(_item("gender", text, "" if label is None else str(label), term, both, groups))
    return Found("texts", _numbered(rows), "", dropped)


def _exchanged(swap: Swapper, text: str, other: str) -> tuple[tuple[str, str], tuple[str, str], str]:
    """The groups of a pair, its texts in their order, and the first word that is exchanged."""
    terms = [match.group() for match in swap.found.finditer(text) if swap(match.group()) != match.group()]
    sides = {_side(swap, term) for term in terms}
    term = terms[0].lower() if terms else text
    if sides == {"male"}:
        return ("female", "male"), (other, text), term
    return (("female", "male") if sides == {"female"} else (ORIGINAL, SWAPPED)), (text, other), term


def _side(swap: Swapper, word: str) -> str:
    """The gender that `word` names, told by the lexicons, or by the word it is exchanged for."""
    known = _genders()
    opposite = {"female": "male", "male": "female"}
    return known.get(word.lower()) or opposite.get(known.get(swap(word).lower(), ""), "")


@cache
def _genders() -> dict[str, str]:
    found: dict[str, str] = {}
    for language in lexicons.LANGUAGES:
        lexicon = lexicons.ours(language)
        swaps = lexicon.swaps["gender"]
        for male, female in (*swaps.pairs, *swaps.names):
            found |= {male.lower(): "male", female.lower(): "female"}
        found |= {term.lower(): side for side in ("female", "male") for term in lexicon.axes["gender"].get(side, ())}
    return found


def _item(axis: str, template: str, label: str, term: str, texts: tuple[str, str], groups: tuple[str, str]) -> _Row:
    return {
        "axis": axis, "template": template, "label": label, "term": term,
        "first": texts[0], "second": texts[1], "first_group": groups[0], "second_group": groups[1],
    }  # fmt: skip


def _numbered(rows: Sequence[_Row]) -> tuple[_Row, ...]:
    return tuple({"id": f"{row['axis']}-{number:06d}"} | row for number, row in enumerate(rows))


@cache
def _words() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
