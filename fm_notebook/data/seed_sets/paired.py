"""Items of two sentences that differ in one phrase: stereotypes, feelings and pronouns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import pyarrow as pa

from fm_notebook.data.seed_sets.crossing import Meeting, met
from fm_notebook.data.seed_sets.files import (
    Feelings,
    FeelingTemplate,
    Pronouns,
    StereotypeAxis,
    Stereotypes,
    StereotypeTemplate,
    read,
)
from fm_notebook.data.seed_sets.sentences import Span, filled

TERMS_A_TEMPLATE = 4
TEMPLATES_AN_OCCUPATION = 4
Row = dict[str, str | int | None]


def schema(texts: str, places: str = "") -> pa.Schema:
    """Columns of text by name, and of a start and an end (characters) by what stands there."""
    ends = [f"{name}_{end}" for name in places.split() for end in ("start", "end")]
    return pa.schema([(name, pa.string()) for name in texts.split()] + [(name, pa.int32()) for name in ends])


PAIRS = schema(
    "id axis group other_group template term stereotyped other attribute target other_target",
    "attribute other_attribute target other_target",
)
FEELINGS = schema("id axis template term feeling label first second first_group second_group")
PRONOUNS = schema("id occupation stereotype template sentence_female sentence_male sentence_neutral", "female male neutral")


@cache
def pairs(language: str) -> pa.Table:
    """Pairs of sentences of which a stereotype tells the first.

    Returns
    -------
    pyarrow.Table
        ``id`` (such as ``gender-007-03``: template and term), ``axis``; ``group``, whom the stereotype is told of, and
        ``other_group``; ``template`` and ``term`` as written; ``stereotyped``, the sentence that names the former, and
        ``other``; ``attribute``, the words that carry the stereotype; ``target`` and ``other_target``, the terms as they stand.
        Where: ``attribute_start`` and ``_end`` and ``target_start`` and ``_end`` are characters of ``stereotyped``, those of
        ``other_attribute`` and ``other_target`` of ``other``.
    """
    rows = [
        _pair(name, axis, meeting)
        for name, axis in read(Stereotypes, language).axes.items()
        for meeting in met(name, axis.templates, axis.terms, TERMS_A_TEMPLATE)
    ]
    return pa.Table.from_pylist(rows, PAIRS)


def _pair(name: str, axis: StereotypeAxis, meeting: Meeting[StereotypeTemplate]) -> Row:
    template, term, slot = meeting.template, meeting.term, meeting.placeholder
    phrases, groups = (term.first, term.second), axis.groups_of(term)
    if template.stereotype == "second":
        phrases, groups = phrases[::-1], groups[::-1]
    one, other = (filled(template.text, **{slot: phrase}) for phrase in phrases)
    return {
        "id": meeting.key,
        "axis": name,
        "group": groups[0],
        "other_group": groups[1],
        "template": template.text,
        "term": meeting.told,
        "stereotyped": one.text,
        "other": other.text,
        "attribute": one.at(one.marked),
        "target": one.at(one.spans[slot]),
        "other_target": other.at(other.spans[slot]),
        **_place("attribute", one.marked),
        **_place("other_attribute", other.marked),
        **_place("target", one.spans[slot]),
        **_place("other_target", other.spans[slot]),
    }


@cache
def feelings(language: str) -> pa.Table:
    """Pairs of sentences for a classifier, which mean the same of two people.

    Returns
    -------
    pyarrow.Table
        ``id``, ``axis``, ``template`` and ``term`` as written, ``feeling`` (null where the template has none), ``label``
        (``positive``, ``negative`` or ``neutral``), ``first`` and ``second`` (the sentences), ``first_group``, ``second_group``.
    """
    return pa.Table.from_pylist(list(_feelings(language)), FEELINGS)


def _feelings(language: str) -> Iterator[Row]:
    seed = read(Feelings, language)
    words = [
        (label, word) for row in zip(*seed.feelings.values(), strict=True) for label, word in zip(seed.feelings, row, strict=True)
    ]
    drawn = 0
    for name, axis in read(Stereotypes, language).axes.items():
        for meeting in met(name, seed.templates, axis.terms, TERMS_A_TEMPLATE):
            label, feeling = meeting.template.label, None
            if label is None:
                label, feeling = words[drawn % len(words)]
                drawn += 1
            yield _felt(name, axis, meeting, label, feeling)


def _felt(name: str, axis: StereotypeAxis, meeting: Meeting[FeelingTemplate], label: str, feeling: str | None) -> Row:
    term, template, slot = meeting.term, meeting.template.text, meeting.placeholder
    first, second = (filled(template, **{slot: phrase, "feeling": feeling or ""}).text for phrase in (term.first, term.second))
    first_group, second_group = axis.groups_of(term)
    return {
        "id": meeting.key,
        "axis": name,
        "template": template,
        "term": meeting.told,
        "feeling": feeling,
        "label": label,
        "first": first,
        "second": second,
        "first_group": first_group,
        "second_group": second_group,
    }


@cache
def pronouns(language: str) -> pa.Table:
    """Sentences with an occupation and a pronoun of each group.

    Returns
    -------
    pyarrow.Table
        ``id`` (such as ``007-03``: occupation and template), ``occupation``, ``stereotype`` (``female`` or ``male``, whom it
        expects in the occupation), ``template``, ``sentence_female``, ``sentence_male`` and ``sentence_neutral`` (null where the
        language has no such pronoun); ``female_start``, ``female_end`` and so on: characters of the pronoun in its sentence.
    """
    seed = read(Pronouns, language)
    rows: list[Row] = []
    for number, occupation in enumerate(seed.occupations):
        for turn in range(TEMPLATES_AN_OCCUPATION):
            place = (number * TEMPLATES_AN_OCCUPATION + turn) % len(seed.templates)
            template = seed.templates[place]
            known: Row = {
                "id": f"{number + 1:03d}-{place + 1:02d}",
                "occupation": occupation.name,
                "stereotype": occupation.stereotype,
            }
            rows.append({**known, "template": template, **_with_pronouns(seed, template, occupation.name)})
    return pa.Table.from_pylist(rows, PRONOUNS)


def _with_pronouns(seed: Pronouns, template: str, occupation: str) -> Row:
    (case,) = set(re.findall(r"\{(\w+)\}", template)) - {"occupation"}
    row: Row = {}
    for group, forms in seed.pronouns.items():
        sentence = filled(template, **{**forms, "occupation": occupation})
        row |= {f"sentence_{group}": sentence.text, **_place(group, sentence.spans[case])}
    return row


def _place(name: str, span: Span) -> dict[str, int]:
    return {f"{name}_start": span[0], f"{name}_end": span[1]}
