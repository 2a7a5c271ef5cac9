"""What may be offered at a place of a cell's body or of a magic's line, and how it replaces what stands there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fm_notebook.contracts import fields
from fm_notebook.data import samples
from fm_notebook.magics import known, place, tables

_TEXTS = frozenset({"text", "text_pair", "prompt", "completion"})
_WORD = re.compile(r"[\w.]*")
_IN_QUOTES = re.compile(r"[^\s\"']*")


@dataclass(frozen=True)
class Offer:
    """Words for the cursor.

    Attributes
    ----------
    head : str
        The text before the cursor that a word replaces.
    words : tuple of str
        As they are to be inserted.
    alone : bool
        Whether nothing else can stand there, so that IPython need not look further.
    """

    head: str
    words: tuple[str, ...]
    alone: bool


@dataclass(frozen=True)
class Body:
    """A cell's body, its spec and the user's variables; `rows` is the expression of the line's DATA, if it names some."""

    spec: Any
    text: str
    namespace: Mapping[str, Any]
    written: frozenset[str] = frozenset()
    rows: str = ""

    @cached_property
    def _assigned(self) -> dict[str, str]:
        return place.fields(self.text)

    def offer(self, before: str, after: str) -> Offer | None:
        """What may stand between `before`, the body up to the cursor, and `after`, the rest of the cursor's line."""
        at = place.at_end(before)
        if at is None:
            return None
        if at.kind == "field":
            return self._fields(at, after)
        name = ".".join(at.path)
        if at.kind == "key":
            words = [part.rpartition(".")[2] for part in self._parts(name)] or known.plugins(_singular(name))
        else:
            words = self._texts(name, at.head)
        if at.quote:
            return Offer(at.head, tuple(_quoted([*words, *self._paths(name, at.head)], at, after)), alone=True)
        if at.kind == "key" or at.head:  # what is a name IPython completes; it need not know texts
            return Offer(at.head, tuple(_literal(word) for word in words if word.startswith(at.head)), alone=False)
        likely = [*self._names(name), *map(_literal, words)]
        others = known.variables(self.namespace) if likely else []
        return Offer("", tuple(dict.fromkeys([*likely, *others])), alone=True)

    def _fields(self, at: place.Place, after: str) -> Offer:
        """Names of fields that are not written yet, and of the parts of a group whose name is written out."""
        tail = _WORD.match(after)[0]  # type: ignore[index]
        rest = after[len(tail) :].lstrip()
        end = "" if rest.startswith("=") else " = "
        written = set(self._assigned) - {at.head + tail} | self.written
        names = [name for name in fields.names(self.spec) if not any(each.partition(".")[0] == name for each in written)]
        for group in fields.names(self.spec):
            if at.head.startswith(group):
                names += [part for part in fields.parts(self.spec, group) if part not in written]
        return Offer(at.head, tuple(fit(names, at.head, tail, end)), alone=True)

    def _texts(self, name: str, head: str) -> list[str]:
        """The texts that the field `name` may be, without quotes."""
        sources: dict[str, Callable[[], list[str]]] = {
            "column": lambda: self._columns(name),
            "run": lambda: known.runs(head),
            "model": known.models,
            "rows": known.rows,
            "metric": lambda: known.metrics(self._text_of("task") or fields.default(self.spec, "task"), self._text_of("problem")),
        }
        kind = self._takes(name)
        if source := sources.get(kind):
            return source()
        return [text for text in self._suggestions(name) if isinstance(text, str)] or known.plugins(kind or _singular(name))

    def _names(self, name: str) -> list[str]:
        """What the field `name` may be without quotes: truth values, and the variables that hold what it takes."""
        found = [repr(value) for value in self._suggestions(name) if isinstance(value, bool)]
        kind = self._takes(name)
        if kind == "rows":
            found += [each for each in known.variables(self.namespace) if tables.is_table(self.namespace[each])]
        if kind in {"model", "run"}:
            found += [each for each in known.variables(self.namespace) if type(self.namespace[each]).__name__ == "Run"]
        return found

    def _paths(self, name: str, head: str) -> list[str]:
        kind = self._takes(name)
        if kind not in {"rows", "model"} or head.startswith(samples.PREFIX):
            return []
        return known.paths(head, known.DATA_ENDINGS if kind == "rows" else ())

    def _columns(self, name: str) -> list[str]:
        found = self.columns()
        if name in _TEXTS and "token" not in self._text_of("task"):
            return [column for column, text in found.items() if text] or list(found)
        return list(found)

    def columns(self) -> tables.Columns:
        """Those of the rows that the cell names."""
        for name in ("train", "data", "eval"):
            if source := self._assigned.get(name):
                return tables.of_source(source, self.namespace)
        return tables.of_word(self.rows, self.namespace) if self.rows else {}

    def _text_of(self, name: str) -> str:
        """The text that the cell gives to the field `name` in quotes."""
        return self._assigned.get(name, "").strip("\"'")

    def _known(self, name: str) -> bool:
        top = name.partition(".")[0]
        return name in fields.names(self.spec) or name in fields.parts(self.spec, top)

    def _takes(self, name: str) -> str:
        return fields.takes(self.spec, name) if self._known(name) else ""

    def _suggestions(self, name: str) -> list[str | bool]:
        return fields.suggestions(self.spec, name) if self._known(name) else []

    def _parts(self, name: str) -> list[str]:
        return fields.parts(self.spec, name) if self._known(name) else []


def fit(words: Iterable[str], head: str, tail: str, end: str) -> list[str]:
    """The `words` that begin with `head`, with `end` after them, but for folders.

    With the cursor inside a word its `tail` stays in the text, for IPython replaces what is before the cursor: words that end
    in it lose it, and if there are any, no others are meant.
    """
    begun = [word for word in words if word.startswith(head)]
    if not tail:
        return [word if word.endswith("/") else word + end for word in begun]
    return [word.removesuffix(tail) for word in begun if word.endswith(tail) and len(word) >= len(head + tail)] or begun


def _quoted(words: Iterable[str], at: place.Place, after: str) -> list[str]:
    """The `words` for inside quotes, closed if the line does not close them."""
    if at.quote in after:
        tail, end = after[: after.index(at.quote)], ""
    else:
        tail, end = _IN_QUOTES.match(after)[0], at.quote  # type: ignore[index]
    return fit([_escaped(word, at.quote) for word in words], at.head, tail, end)


def _escaped(word: str, quote: str) -> str:
    """`word` as it stands between quotes of Python."""
    return word.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace(quote, "\\" + quote)


def _literal(word: str) -> str:
    return f'"{_escaped(word, chr(34))}"'


def _singular(name: str) -> str:
    return name.rpartition(".")[2].removesuffix("s")
