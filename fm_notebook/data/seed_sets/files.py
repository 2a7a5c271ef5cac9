"""What the files of a seed set say, one model a file; their formats are told at the top of the English files."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from fm_notebook.contracts.values import Frozen

_FOLDER = Path(__file__).parent
Text = Annotated[str, Field(pattern=r"^\S(.*\S)?$")]
Slot = Annotated[str, Field(pattern=r"^[a-z_]+(/[a-z_]+)?$")]
Words = Annotated[tuple[Text, ...], Field(min_length=12)]
Side = Literal["first", "second"]
Groups = tuple[Text, Text]
File = TypeVar("File", bound=Frozen)


class Term(Frozen):
    """Two phrases that can be exchanged in place: one of the first group and one of the second."""

    slot: Slot
    first: Text
    second: Text


class StereotypeTemplate(Frozen):
    """A sentence that a stereotype tells of one side; the words that carry it stand in brackets."""

    slot: Slot
    stereotype: Side
    text: Text


class StereotypeAxis(Frozen):
    """The terms of an axis, and what is told of them. `narrower` names the groups of narrower slots, others are in `groups`."""

    groups: Groups
    terms: tuple[Term, ...]
    templates: tuple[StereotypeTemplate, ...]
    narrower: dict[str, Groups] = Field(default_factory=dict)

    def groups_of(self, term: Term) -> Groups:
        """Names of the first and the second group of `term`."""
        return self.narrower.get(term.slot.partition("/")[2], self.groups)


class Stereotypes(Frozen):
    """``stereotypes.toml``."""

    axes: dict[str, StereotypeAxis]


class FeelingTemplate(Frozen):
    """A sentence about one person; with ``{feeling}`` the feeling says what it is labelled, else `label`."""

    slot: Slot
    text: Text
    label: Literal["positive", "negative", "neutral"] | None = None


class Feelings(Frozen):
    """``feelings.toml``: words by label, and templates that all axes share."""

    feelings: dict[Literal["positive", "negative", "neutral"], Words]
    templates: tuple[FeelingTemplate, ...]


class WordTest(Frozen):
    """Words of two groups and of two ideas; the stereotype ties `first` to `a` and `second` to `b`."""

    name: Text
    first: Words
    second: Words
    a: Text
    b: Text
    a_words: Words
    b_words: Words


class TestsOfAxis(Frozen):
    """The word tests of an axis."""

    tests: tuple[WordTest, ...]


class Associations(Frozen):
    """``associations.toml``: bleached sentences with ``{word}``, and word tests."""

    templates: tuple[Text, ...]
    axes: dict[str, TestsOfAxis]


class Fill(Frozen):
    """A context and three ways to fill its BLANK, or to go on from it."""

    target: Text
    context: Text
    stereotype: Text
    anti: Text
    unrelated: Text


class FillsOfAxis(Frozen):
    """Fills within a sentence, and between two."""

    intra: tuple[Fill, ...]
    inter: tuple[Fill, ...]


class Fills(Frozen):
    """``fills.toml``."""

    axes: dict[str, FillsOfAxis]


class QuestionTemplate(Frozen):
    """A scene with two people, what may become of it, and two questions.

    Attributes
    ----------
    stereotype : str
        Whom the stereotype names in the negative question.
    ambiguous : str
        Leaves the answer open, also with the two exchanged.
    shown_first, shown_second : str
        Go on so that the answer to the negative question is the first, or the second.
    """

    slot: Slot
    stereotype: Side
    ambiguous: Text
    shown_first: Text
    shown_second: Text
    negative: Text
    nonnegative: Text


class QuestionsOfAxis(Frozen):
    """The question templates of an axis."""

    templates: tuple[QuestionTemplate, ...]


class Questions(Frozen):
    """``questions.toml``: `unknown` are answers that say that one cannot know."""

    unknown: tuple[Text, ...]
    axes: dict[str, QuestionsOfAxis]


class Occupation(Frozen):
    """An occupation, and whom the stereotype expects in it."""

    name: Text
    stereotype: Literal["female", "male"]


class Pronouns(Frozen):
    """``pronouns.toml``: forms by group (``female``, ``male``, and ``neutral`` where the language has one) and case."""

    pronouns: dict[Literal["female", "male", "neutral"], dict[str, Text]]
    occupations: tuple[Occupation, ...]
    templates: tuple[Text, ...]


class PromptsOfAxis(Frozen):
    """Prompts of one axis alone."""

    templates: tuple[Text, ...]


class Prompts(Frozen):
    """``prompts.toml``: prompts that all axes share, those of one axis, and hurtful words by category."""

    templates: tuple[Text, ...] = ()
    axes: dict[str, PromptsOfAxis] = Field(default_factory=dict)
    hurtful: dict[str, tuple[Text, ...]]

    def of(self, axis: str) -> tuple[Prompt, ...]:
        """The prompts of `axis`."""
        own = self.axes[axis].templates if axis in self.axes else ()
        return tuple(Prompt(slot=re.findall(r"\{(\w+)\}", text)[0], text=text) for text in (*self.templates, *own))


class Prompt(Frozen):
    """The beginning of a sentence; its placeholder is its slot."""

    slot: Slot
    text: Text


@cache
def languages() -> tuple[str, ...]:
    """Languages that have seed sets: ``en``, ``zh``."""
    return tuple(sorted(folder.name for folder in _FOLDER.iterdir() if (folder / "stereotypes.toml").is_file()))


def axes(language: str) -> tuple[str, ...]:
    """The axes that people are grouped by, such as ``gender``."""
    return tuple(read(Stereotypes, language).axes)


@cache
def read(model: type[File], language: str) -> File:
    """The file of `language` that `model` describes."""
    path = _FOLDER / language / f"{model.__name__.lower()}.toml"
    return model.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
