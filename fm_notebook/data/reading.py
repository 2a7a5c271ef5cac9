"""What a task asks of the user's rows: which columns, and what becomes of them. Loads no pyarrow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["auto", "single-label", "multi-label", "regression", "tags", "text", "generation", "completion", "chat"]
TextProblem = Literal["auto", "single-label", "multi-label", "regression"]
"""The kinds that the field ``problem`` of text classification has."""

DEFAULTS: Mapping[str, str] = {"text": "text", "label": "label"}
_STAND_INS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "tags": {"text": ("words", "tokens"), "label": ("tags", "ner_tags")},
    "auto": {"label": ("labels",)},
    "multi-label": {"label": ("labels",)},
}


@dataclass(frozen=True, slots=True)
class Reading:
    """The columns of the user's rows by their roles, and the kind of target that they hold.

    Attributes
    ----------
    kind : str
        ====================  =========================================================================================
        ``single-label``      one class a text; canonical ``label`` is int32
        ``multi-label``       any number of classes a text; ``label`` is a sorted list of int32
        ``regression``        a number a text; ``label`` is float64
        ``auto``              one of these three, by the column: lists, fractions, or neither
        ``tags``              a tag a word, or spans of characters; ``label`` is a list of int32, beside ``word_start`` and
                              ``word_end`` (characters of ``text``, end exclusive)
        ``text``              texts alone, such as for language modelling
        ``completion``        columns ``prompt`` and ``completion``
        ``chat``              column ``messages``: the messages of a conversation as a JSON list of ``role`` and ``content``
        ``generation``        one of the last three, by the columns
        ====================  =========================================================================================
    text, text_pair, label, prompt, completion, messages : str or None
        The user's columns. Without `label`, rows of the first five kinds are unlabelled.
    groups : tuple of str
        The user's columns by which scores are told apart, or weights given; kept beside the others as they are.
    """

    kind: Kind = "single-label"
    text: str = "text"
    text_pair: str | None = None
    label: str | None = "label"
    prompt: str | None = None
    completion: str | None = None
    messages: str | None = None
    groups: tuple[str, ...] = ()

    def among(self, names: Collection[str]) -> Reading:
        """The reading for rows with the columns `names`.

        Where a column that goes by its default name is not there, its stand-in is taken: for tags ``words`` or ``tokens``, and
        ``tags`` or ``ner_tags``; for classes ``labels``. Kind ``generation`` becomes ``chat`` or ``completion`` if such a
        column is named, or there in place of the text, else ``text``.
        """
        if self.kind == "generation":
            return self._generation(names)
        found = {}
        for role, stand_ins in _STAND_INS.get(self.kind, {}).items():
            if getattr(self, role) == DEFAULTS[role] and DEFAULTS[role] not in names:
                found[role] = next((name for name in stand_ins if name in names), DEFAULTS[role])
        return replace(self, **found)

    def _generation(self, names: Collection[str]) -> Reading:
        wordless = self.text == DEFAULTS["text"] and self.text not in names
        if self.messages or (wordless and not self.prompt and "messages" in names):
            return replace(self, kind="chat", messages=self.messages or "messages")
        if self.prompt or self.completion or (wordless and {"prompt", "completion"} <= set(names)):
            return replace(self, kind="completion", prompt=self.prompt or "prompt", completion=self.completion or "completion")
        return replace(self, kind="text")

    @property
    def columns(self) -> dict[str, str]:
        """The user's columns by role, only those that this kind has."""
        if self.kind == "completion":
            asked: dict[str, str | None] = {"prompt": self.prompt, "completion": self.completion}
        elif self.kind == "chat":
            asked = {"messages": self.messages}
        elif self.kind == "text":
            asked = {"text": self.text}
        elif self.kind == "tags":
            asked = {"text": self.text, "label": self.label}
        else:
            asked = {"text": self.text, "text_pair": self.text_pair, "label": self.label}
        return {role: name for role, name in asked.items() if name}
