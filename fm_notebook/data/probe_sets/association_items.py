"""The items of ``weat`` and ``seat``: of the user's tests, or of this project's words and sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from fm_notebook.contracts.probe_specs import Remark
from fm_notebook.contracts.probing import ProbeItems
from fm_notebook.data import seed_sets
from fm_notebook.data.probe_sets import association_files
from fm_notebook.data.probe_sets.association_files import AssociationTest, Level, TextSet, text_set

PUBLISHED = "SEAT/WEAT (sent-bias)"
LICENCE = "CC BY-NC 4.0"
SENTENCES_A_WORD = 8
"""As many as names have in SEAT; words at the same place in their sets meet the same templates."""


def items(given: Path | pa.Table | None, level: Level, language: str) -> ProbeItems:
    """One item a text, see `fm_notebook.data.probe_sets.association_files.as_items`; of the seed set if nothing is given.

    Raises
    ------
    DataError
        As `fm_notebook.data.probe_sets.association_files.read` does.
    """
    if given is None:
        tests = list(_seeds(level, language))
        return ProbeItems(
            table=association_files.as_items(tests), texts=("text",), origin="seed", name="seed",
            licence=seed_sets.LICENCE, language=language,
        )  # fmt: skip
    tests = association_files.read(given, level)
    known = all(_is_published(test) for test in tests)
    return ProbeItems(
        table=association_files.as_items(tests), texts=("text",), origin="public" if known else "own",
        name=PUBLISHED if known else "", licence=LICENCE if known else "unknown", language="en" if known else "",
        dropped=_dropped(tests), remarks=tuple(_remarks(tests, level)),
    )  # fmt: skip


def _is_published(test: AssociationTest) -> bool:
    """Whether it has the name of one of the 46 published tests."""
    name = test.name.removeprefix(association_files.SENTENCES)
    return name.startswith(("weat", "heilman_double_bind", "angry_black_woman_stereotype", "religion", "project_implicit"))


def _dropped(tests: Sequence[AssociationTest]) -> tuple[tuple[str, int], ...]:
    repeated = sum(each.repeated for test in tests for each in test.sets.values())
    return (("repeated", repeated),) if repeated else ()


def _remarks(tests: Sequence[AssociationTest], level: Level) -> Iterator[Remark]:
    if any(test.level != level for test in tests):
        yield Remark(key="other_level", values={"n": sum(test.level != level for test in tests)}, level="warning")
    if level == "sentence" and any(_stand_alone(test) for test in tests):
        names = [test.name for test in tests if _stand_alone(test)]
        yield Remark(key="words_unknown", values={"n": len(names)})


def _stand_alone(test: AssociationTest) -> bool:
    return all(test.sets[role].words == test.sets[role].texts for role in "XY")


def _seeds(level: Level, language: str) -> Iterator[AssociationTest]:
    templates = seed_sets.templates(language)
    for test in seed_sets.associations(language):
        words = {"X": test.first, "Y": test.second, "A": test.a_words, "B": test.b_words}
        groups = re.split("[:：]", test.name)[0].partition("/")
        called = {"X": groups[0], "Y": groups[2], "A": test.a, "B": test.b}
        sets = {
            role: text_set(called[role], found) if level == "word" else _in_sentences(called[role], found, templates)
            for role, found in words.items()
        }
        yield AssociationTest(test.name, level, test.axis, sets)


def _in_sentences(category: str, words: Sequence[str], templates: Sequence[str]) -> TextSet:
    met = [
        (seed_sets.filled(templates[(place * SENTENCES_A_WORD + number) % len(templates)], word=word).text, word)
        for place, word in enumerate(words)
        for number in range(min(SENTENCES_A_WORD, len(templates)))
    ]
    return text_set(category, [text for text, _ in met], [word for _, word in met])
