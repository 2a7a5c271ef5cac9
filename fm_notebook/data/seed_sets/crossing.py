"""Which terms each template meets: a few, and over all templates each term as often as any other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Generic, TypeVar

from fm_notebook.data.seed_sets.files import FeelingTemplate, Prompt, QuestionTemplate, StereotypeTemplate, Term

Template = TypeVar("Template", FeelingTemplate, Prompt, QuestionTemplate, StereotypeTemplate)


@dataclass(frozen=True, slots=True)
class Meeting(Generic[Template]):
    """A template and a term that fits it.

    Attributes
    ----------
    key : str
        Which of all they are: ``gender-007-03`` is the third term in the seventh template.
    number : int
        Of the meeting, from 0, in the order in which terms took their turns.
    """

    key: str
    number: int
    template: Template
    term: Term

    @property
    def placeholder(self) -> str:
        """What the term replaces in the template, such as ``person``."""
        return self.template.slot.partition("/")[0]

    @property
    def told(self) -> str:
        """Both sides of the term as a reader names them."""
        return f"{self.term.first} / {self.term.second}"


def met(axis: str, templates: Iterable[Template], terms: Sequence[Term], each: int) -> list[Meeting[Template]]:
    """Each template with `each` of the terms that fit it, in turns, so that terms of a slot are used equally often.

    Also with the stereotypes of each side apart: a term whose one half is the rarer phrase would else push the score its way. A
    template for ``person`` takes terms of ``person`` and of narrower slots such as ``person/abroad``. Not all meet all: that
    would be much more work for a model and hardly more to learn, for items that share a template are alike.
    """
    found: list[Meeting[Template]] = []
    turns: Counter[str] = Counter()
    for place, template in sorted(enumerate(templates, start=1), key=lambda item: _side(item[1])):
        fitting = [number for number, term in enumerate(terms) if _fits(term.slot, template.slot)]
        step = _step(len(fitting))
        for _ in range(min(each, len(fitting))):
            chosen = fitting[turns[template.slot] * step % len(fitting)]
            found.append(Meeting(f"{axis}-{place:03d}-{chosen + 1:02d}", turns.total(), template, terms[chosen]))
            turns[template.slot] += 1
    return sorted(found, key=lambda meeting: meeting.key)


def _side(template: FeelingTemplate | Prompt | QuestionTemplate | StereotypeTemplate) -> str:
    return template.stereotype if isinstance(template, QuestionTemplate | StereotypeTemplate) else ""


def _fits(slot: str, wanted: str) -> bool:
    return slot == wanted or slot.startswith(f"{wanted}/")


def _step(count: int) -> int:
    """Without a common divisor, so that every term has its turn, and wide, for neighbours in the list are alike."""
    return next(step for step in range(max(count * 3 // 5, 1), 2 * count + 2) if gcd(step, count) == 1)
