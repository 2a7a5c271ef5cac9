"""A sentence from a template, and where its parts came to stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_PART = re.compile(r"(\[|\]|\{\w+\})")
_START = re.compile(r"(^|[.!?]\"?\s+)(\"?)([a-z])")
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A filled template.

    Attributes
    ----------
    text : str
    marked : (int, int)
        First character of the words in brackets, and the one after their last; (0, 0) without brackets.
    spans : Mapping
        The same of what was filled in, by placeholder.
    """

    text: str
    marked: Span
    spans: Mapping[str, Span]

    def at(self, span: Span) -> str:
        """The characters in `span`."""
        return self.text[slice(*span)]


def filled(template: str, **values: str) -> Sentence:
    """`template` with ``{name}`` replaced by the values and the brackets gone; sentences begin with a capital.

    Raises
    ------
    KeyError
        If a placeholder has no value.
    """
    text, opened, marked, spans = "", 0, (0, 0), {}
    for part in _PART.split(template):
        if part == "[":
            opened = len(text)
        elif part == "]":
            marked = (opened, len(text))
        elif part.startswith("{"):
            value = values[part[1:-1]]
            spans[part[1:-1]] = (len(text), len(text) + len(value))
            text += value
        else:
            text += part
    return Sentence(capitalised(text), marked, spans)


def capitalised(text: str) -> str:
    """`text` with a capital at the start of each sentence; as long as before."""
    return _START.sub(lambda found: found[1] + found[2] + found[3].upper(), text)
