"""Association tests from files: two sets of target texts and two of attribute texts each, as published for WEAT and SEAT.

A test is a JSON object ``{targ1, targ2, attr1, attr2: {category, examples}}``; files hold one, or one a line, in which case
``test`` names it. ``words`` beside ``examples`` says which word each text is about. Without it, the words of a test called
``sent-NAME`` are those of the test ``NAME``, if that is in the same file or folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from fm_notebook.data.wording import listed, shown
from fm_notebook.errors import DataError

Level = Literal["word", "sentence"]
KEYS = {"targ1": "X", "targ2": "Y", "attr1": "A", "attr2": "B"}
_KEYS = ", ".join(KEYS)
SENTENCES = "sent-"
COLUMNS = ("id", "axis", "block", "test", "role", "category", "text", "word", "cluster")
_AXES = (
    (r"weat[678]b?$|heilman", "gender"),
    (r"weat(3|4|5)b?$|black_woman|skin-tone", "race"),
    (r"weat10$", "age"),
    (r"religion", "religion"),
    (r"weat9$|disability", "disability"),
)


@dataclass(frozen=True)
class TextSet:
    """Texts of one kind, and of each the word that it is about; `repeated` texts were there twice and are once."""

    category: str
    texts: tuple[str, ...]
    words: tuple[str, ...]
    repeated: int = 0


@dataclass(frozen=True)
class AssociationTest:
    """A test: target sets X and Y, attribute sets A and B, by these letters."""

    name: str
    level: Level
    axis: str
    sets: Mapping[str, TextSet]


def read(given: Path | pa.Table, level: Level) -> list[AssociationTest]:
    """The tests of `level` in a file or a folder of files, or in rows with the columns of the files' keys.

    Where no test is of that level, those of the other are taken: they are what the user has.

    Raises
    ------
    DataError
        If there is no test, or one is not of this form, or its target sets are empty, overlap or differ in size.
    """
    source, by_name = shown(given.name) if isinstance(given, Path) else "data", _named(given)
    if not by_name:
        raise DataError("association.none", source=source)
    tests = [_test(name, each, _companion(name, by_name, given), source) for name, each in by_name.items()]
    wanted = [test for test in tests if test.level == level] or tests
    for test in wanted:
        _check(test, source)
    return wanted


def as_items(tests: Sequence[AssociationTest]) -> pa.Table:
    """One row a text; texts of a test are a block, texts of a word a cluster."""
    rows = [
        (f"{place}{number}", test.axis, test.name, test.name, role, each.category, text, word, f"{place}/{word}")
        for test in tests
        for role, each in test.sets.items()
        for place in [f"{test.name}/{role}"]
        for number, (text, word) in enumerate(zip(each.texts, each.words, strict=True))
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(COLUMNS, columns, strict=True)})


def text_set(category: str, texts: Sequence[str], words: Sequence[str] | None = None) -> TextSet:
    """A set in which every text is once, as in the reference, where texts are keys."""
    once = dict(reversed(list(zip(texts, words or texts, strict=True))))
    kept = list(dict.fromkeys(texts))
    return TextSet(category, tuple(kept), tuple(once[text] for text in kept), len(texts) - len(kept))


def words_of(sentences: Sequence[str], words: Sequence[str]) -> list[str]:
    """Which of `words` each sentence is about; one that names none is about the word of the sentence before it.

    Sentences of a word stand together in the published files, and plurals such as *men* do not hold the word.

    Examples
    --------
    >>> words_of(["This is a man.", "These are men.", "The boys are here."], ["man", "boy"])
    ['man', 'man', 'boy']
    """
    patterns = {
        word: re.compile(rf"\b{re.escape(word)}(s|es)?\b", re.IGNORECASE) for word in sorted(words, key=len, reverse=True)
    }
    found: list[str] = []
    for sentence in sentences:
        named = next((word for word, pattern in patterns.items() if pattern.search(sentence)), None)
        found.append(named or (found[-1] if found else sentence))
    return found


def _named(given: Path | pa.Table) -> dict[str, Mapping[str, Any]]:
    """The tests by name; of several with one name the later ones are numbered."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, each in _objects(given):
        again = sum(other.partition(" #")[0] == name for other in found)
        found[f"{name} #{again + 1}" if again else name] = each
    return found


def _objects(given: Path | pa.Table) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(given, Path):
        yield from ((str(row.get("test") or number), row) for number, row in enumerate(given.to_pylist(), start=1))
        return
    paths = sorted(given.glob("*.jsonl")) if given.is_dir() else [given]
    for path in paths:
        found = _parsed(path)
        for number, each in enumerate(found, start=1):
            yield str(each.get("test") or (path.stem if len(found) == 1 else f"{path.stem} {number}")), each


def _parsed(path: Path) -> list[Mapping[str, Any]]:
    """The objects of a file: one over several lines, a list, or one a line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = [json.loads(line) for line in text.split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError("association.unreadable", source=shown(path.name), reason=str(error)) from error
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(each, Mapping) for each in found):
        raise DataError("association.keys", source=shown(path.name), test="–", found=shown(type(value).__name__), keys=_KEYS)
    return found


def _companion(name: str, by_name: Mapping[str, Mapping[str, Any]], given: Path | pa.Table) -> Mapping[str, Any] | None:
    """The test over words that a test over sentences was made from."""
    if not name.startswith(SENTENCES):
        return None
    plain = name.removeprefix(SENTENCES)
    if plain in by_name or not isinstance(given, Path) or given.is_dir():
        return by_name.get(plain)
    beside = given.with_name(f"{plain}.jsonl")
    return _parsed(beside)[0] if beside.is_file() else None


def _test(name: str, given: Mapping[str, Any], companion: Mapping[str, Any] | None, source: str) -> AssociationTest:
    sets = {role: _set(name, key, given, companion, source) for key, role in KEYS.items()}
    texts = [text for each in sets.values() for text in each.texts]
    told = given.get("level")
    spoken = sum(" " in text.strip() and text.strip()[-1:] in ".!?" for text in texts) > len(texts) / 2
    level: Level = told if told in {"word", "sentence"} else "sentence" if spoken else "word"
    axis = given.get("axis") or next((axis for pattern, axis in _AXES if re.search(pattern, name)), "other")
    return AssociationTest(name, level, str(axis), sets)


def _set(
    name: str, key: str, given: Mapping[str, Any], companion: Mapping[str, Any] | None, source: str
) -> TextSet:  # fmt: skip
    told = given.get(key)
    texts = told.get("examples") if isinstance(told, Mapping) else told
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DataError("association.keys", source=source, test=shown(name), found=listed(list(given)) or "–", keys=_KEYS)
    own = told.get("words") if isinstance(told, Mapping) else None
    if own is not None and (not isinstance(own, list) or len(own) != len(texts)):
        raise DataError("association.words", source=source, test=shown(name), set=key, texts=len(texts))
    if own is None and companion is not None and isinstance(companion.get(key), Mapping):
        own = words_of(texts, companion[key].get("examples") or [])
    category = str(told.get("category") or key) if isinstance(told, Mapping) else key
    return text_set(category, texts, own)


def _check(test: AssociationTest, source: str) -> None:
    """Refuse what has no effect size, or another one than the user means."""
    told: dict[str, Any] = {"source": source, "test": shown(test.name)}
    first, second = test.sets["X"], test.sets["Y"]
    if empty := [
        f"{role} ({each.category})" for role, each in test.sets.items() if not each.texts or not all(map(str.strip, each.texts))
    ]:
        raise DataError("association.empty", sets=listed(empty), **told)
    if len(first.texts) != len(second.texts):
        sizes = {"first": len(first.texts), "second": len(second.texts)}
        raise DataError("association.unequal", **sizes, x=shown(first.category), y=shown(second.category), **told)
    if both := set(first.texts) & set(second.texts):
        raise DataError("association.overlap", texts=listed(sorted(both), most=5), **told)
