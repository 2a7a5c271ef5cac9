"""Sentences that differ in how they name a person: those of HolisticBias' files, the user's own, or our seed set.

Columns: ``id``, ``axis``, ``text``; ``descriptor``, how the person is named; ``frame``, within which descriptors are compared;
``replicate``, what else varies there, and is the same for all descriptors; ``cluster``. In HolisticBias a frame is a template and
its replicates are nouns. In our seed set a frame is a kind of phrase (such as the plural) and its replicates are the templates;
there ``term`` and ``group`` tell which pair of phrases a descriptor is of, and whom it names.

References
----------
Smith, Hall, Kambadur, Presani and Williams (2022), *"I'm sorry to hear that": Finding new biases in language models with a
holistic descriptor dataset*, EMNLP.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from fm_notebook.data.probe_sets.sentence_pairs import UNKNOWN, Pairs, check_columns
from fm_notebook.errors import DataError

FILES = ("descriptors.json", "nouns.json", "sentence_templates.json")
NO_NOUN = ""
_NAMES = ("id", "axis", "text", "descriptor", "frame", "replicate", "cluster")
_SCHEMA = pa.schema([(name, pa.string()) for name in _NAMES])
_Row = dict[str, str]


def holistic_bias(folder: Path) -> pa.Table:
    """All sentences of HolisticBias' three files: descriptor and noun in every template, and the bare descriptor where one fits.

    Its variations of style and its fixed phrases without a noun are left out.

    Raises
    ------
    DataError
        If a file is missing or not as published.
    """
    descriptors, nouns, templates = (_json(folder, name) for name in FILES)
    try:
        return pa.Table.from_pylist(list(_sentences(descriptors, nouns, templates)), _SCHEMA)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError("probe.holistic_files", folder=str(folder), files=", ".join(FILES)) from error


def own(table: pa.Table) -> Pairs:
    """The user's sentences, in columns such as HolisticBias' own code writes: ``text``, ``axis``, ``descriptor``, ``template``.

    ``noun`` says which sentences of a template have all else alike; without it, they are numbered.

    Raises
    ------
    DataError
        If one of the former is missing.
    """
    check_columns(table, ("text", "axis", "descriptor", "template"))
    dropped: Counter[str] = Counter()
    seen: Counter[tuple[str, ...]] = Counter()
    rows: list[_Row] = []
    for number, row in enumerate(table.to_pylist()):
        text, descriptor, frame = (row[name] for name in ("text", "descriptor", "template"))
        if not all(isinstance(each, str) and each.strip() for each in (text, descriptor, frame)):
            dropped["empty"] += 1
            continue
        axis = str(row["axis"] or "").strip() or UNKNOWN
        seen[axis, frame, descriptor] += 1
        replicate = str(row["noun"]) if "noun" in row else str(seen[axis, frame, descriptor])
        rows.append(_row(str(number), axis, text, descriptor, frame, replicate))
    return Pairs(pa.Table.from_pylist(rows, _SCHEMA), tuple(dropped.items()))


def seed_sentences(language: str) -> pa.Table:
    """Each template of our seed set with every phrase that fits it."""
    from fm_notebook.data.seed_sets.crossing import met
    from fm_notebook.data.seed_sets.files import Stereotypes, read
    from fm_notebook.data.seed_sets.sentences import filled

    rows = []
    for name, axis in read(Stereotypes, language).axes.items():
        for meeting in met(name, axis.templates, axis.terms, len(axis.terms)):
            phrases, groups = (meeting.term.first, meeting.term.second), axis.groups_of(meeting.term)
            for side, phrase, group in zip("ab", phrases, groups, strict=True):
                text = filled(meeting.template.text, **{meeting.placeholder: phrase}).text
                made = _row(f"{meeting.key}-{side}", name, text, phrase, meeting.template.slot, meeting.template.text)
                rows.append(made | {"cluster": meeting.template.text, "term": meeting.told, "group": group})
    return pa.Table.from_pylist(rows, pa.schema([*_SCHEMA, pa.field("term", pa.string()), pa.field("group", pa.string())]))


def _sentences(descriptors: Mapping[str, Any], nouns: Mapping[str, Any], templates: Any) -> Iterator[_Row]:
    known = templates if isinstance(templates, Mapping) else {each: {} for each in templates}
    numbers = {template: i for i, template in enumerate(known)}
    for axis, buckets in descriptors.items():
        told = [each if isinstance(each, Mapping) else {"descriptor": each} for bucket in buckets.values() for each in bucket]
        for place, descriptor in enumerate(told):
            name = str(descriptor["descriptor"])
            for noun, phrase, plural in _phrases(descriptor, nouns):
                for template, facts in known.items():
                    if noun or not facts.get("must_be_noun"):
                        text = template.format(noun_phrase=phrase, plural_noun_phrase=plural)
                        yield _row(f"{axis}-{place}-{noun}-{numbers[template]}", axis, text, name, template, noun)


def _phrases(descriptor: Mapping[str, Any], nouns: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Noun, and the phrase in singular and plural."""
    name, gender = str(descriptor["descriptor"]), descriptor.get("gender")
    article = descriptor.get("article") or ("an" if name[0].lower() in "aeiou" else "a")
    yield NO_NOUN, name, name
    for of, group in nouns.items():
        if gender in {None, "", of}:
            yield from ((noun, f"{article} {name} {noun}", f"{name} {plural}") for noun, plural in group)


def _row(key: str, axis: str, text: str, descriptor: str, frame: str, replicate: str) -> _Row:
    return dict(zip(_NAMES, (key, axis, text, descriptor, frame, replicate, frame), strict=True))


def _json(folder: Path, name: str) -> Any:
    """A file, also where its name has the version in it, as ``descriptors_v1.1.json``."""
    stem = name.removesuffix(".json")
    path = next(iter(sorted(folder.glob(f"{stem}*.json"))), None)
    try:
        return json.loads((path or folder / name).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError("probe.holistic_files", folder=str(folder), files=", ".join(FILES)) from error
