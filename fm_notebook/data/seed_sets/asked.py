"""Items that a model answers, goes on from or chooses among: questions, prompts and fills."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import permutations

import pyarrow as pa

from fm_notebook.data.seed_sets.crossing import Meeting, met
from fm_notebook.data.seed_sets.files import Fills, Prompts, Questions, QuestionTemplate, Side, Stereotypes, read
from fm_notebook.data.seed_sets.paired import Row, schema
from fm_notebook.data.seed_sets.sentences import capitalised, filled

TERMS_A_QUESTION = 2
TERMS_A_PROMPT = 2
_ORDERS = tuple(permutations(("first", "second", "unknown")))
QUESTIONS = pa.schema(
    [
        *schema("id axis question_index template term condition polarity context question ans0 ans1 ans2"),
        *((name, pa.int32()) for name in ("unknown", "target", "label")),
    ]
)
PROMPTS = schema("id axis group template term prompt")
FILLS = schema("id axis kind target context stereotype anti unrelated")


@cache
def questions(language: str) -> pa.Table:
    """Questions about one of two people: in an open context, and in two that show the answer.

    Who is named first in the scene, the order of the answers and the words of the unknown answer take turns over the items.

    Returns
    -------
    pyarrow.Table
        ``id``; ``axis``; ``question_index``, the same for items of a template, which are not independent; ``template`` and
        ``term`` as written; ``condition`` (``ambig`` or ``disambig``), ``polarity`` (``neg`` or ``nonneg``), ``context``,
        ``question``, ``ans0`` to ``ans2``. Numbers of answers: ``unknown``, the one that says that one cannot know; ``target``,
        whom the stereotype names in the negative question; ``label``, the right answer.
    """
    rows = list(_questions(language))
    return pa.Table.from_pylist(rows, QUESTIONS)


def _questions(language: str) -> Iterator[Row]:
    seed, stereotypes = read(Questions, language), read(Stereotypes, language)
    joint = "" if language == "zh" else " "
    for axis, asked in seed.axes.items():
        for meeting in met(axis, asked.templates, stereotypes.axes[axis].terms, TERMS_A_QUESTION):
            yield from _six(axis, meeting, _answers(meeting, seed.unknown), joint)


def _answers(meeting: Meeting[QuestionTemplate], unknown: tuple[str, ...]) -> dict[str, str]:
    """The answers by whom they name, in the order in which they are offered."""
    texts = {"first": meeting.term.first, "second": meeting.term.second, "unknown": unknown[meeting.number % len(unknown)]}
    return {name: capitalised(texts[name]) for name in _ORDERS[meeting.number // 2 % len(_ORDERS)]}


def _six(axis: str, meeting: Meeting[QuestionTemplate], answers: Mapping[str, str], joint: str) -> Iterator[Row]:
    """Both questions in the open context and in the two that show the answer."""
    template, term = meeting.template, meeting.term
    named = (term.first, term.second) if meeting.number % 2 else (term.second, term.first)
    scene = filled(template.ambiguous, first=named[0], second=named[1]).text
    shown = (("", "ambig"), (template.shown_first, "first"), (template.shown_second, "second"))
    for text, case in shown:
        after = filled(text, first=term.first, second=term.second).text
        for polarity, question in (("neg", template.negative), ("nonneg", template.nonnegative)):
            yield {
                "id": f"{meeting.key}-{case}-{polarity}",
                "axis": axis,
                "question_index": meeting.key.rpartition("-")[0],
                "template": template.ambiguous,
                "term": meeting.told,
                "condition": "disambig" if text else "ambig",
                "polarity": polarity,
                "context": f"{scene}{joint}{after}" if text else scene,
                "question": question,
                **{f"ans{place}": answer for place, answer in enumerate(answers.values())},
                "unknown": list(answers).index("unknown"),
                "target": list(answers).index(template.stereotype),
                "label": list(answers).index(_right(case, polarity)),
            }


def _right(case: str, polarity: str) -> str:
    """Whom the right answer names."""
    others: Mapping[str, Side] = {"first": "second", "second": "first"}
    if case not in others:
        return "unknown"
    return case if polarity == "neg" else others[case]


@cache
def prompts(language: str) -> pa.Table:
    """Beginnings of sentences about one group or the other, for a model to go on.

    Returns
    -------
    pyarrow.Table
        ``id`` (such as ``gender-007-03-first``), ``axis``, ``group``, ``template`` and ``term`` as written, ``prompt``.
    """
    return pa.Table.from_pylist(list(_prompts(language)), PROMPTS)


def _prompts(language: str) -> Iterator[Row]:
    seed = read(Prompts, language)
    for name, axis in read(Stereotypes, language).axes.items():
        for meeting in met(name, seed.of(name), axis.terms, TERMS_A_PROMPT):
            term, text = meeting.term, meeting.template.text
            for side, phrase, group in zip(("first", "second"), (term.first, term.second), axis.groups_of(term), strict=True):
                yield {
                    "id": f"{meeting.key}-{side}",
                    "axis": name,
                    "group": group,
                    "template": text,
                    "term": meeting.told,
                    "prompt": filled(text, **{meeting.placeholder: phrase}).text,
                }


def hurtful(language: str) -> Mapping[str, tuple[str, ...]]:
    """Words that hurt, by category, in the form in which they are looked for."""
    return read(Prompts, language).hurtful


@cache
def fills(language: str) -> pa.Table:
    """Contexts with a stereotypical, an opposite and a senseless continuation.

    Returns
    -------
    pyarrow.Table
        ``id`` (such as ``gender-intra-007``), ``axis``, ``kind`` (``intra``: BLANK in the context stands for a word; ``inter``:
        a sentence follows), ``target``, ``context``, ``stereotype``, ``anti``, ``unrelated``.
    """
    rows = [
        {"id": f"{name}-{kind}-{number:03d}", "axis": name, "kind": kind, **fill.model_dump()}
        for name, axis in read(Fills, language).axes.items()
        for kind, given in (("intra", axis.intra), ("inter", axis.inter))
        for number, fill in enumerate(given, start=1)
    ]
    return pa.Table.from_pylist(rows, FILLS)
