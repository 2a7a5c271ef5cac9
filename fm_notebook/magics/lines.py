"""What may be offered on a magic's line: flags, their values, and the words that the magic takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from fm_notebook.magics import known, tables
from fm_notebook.magics.arguments import HELP, Flag
from fm_notebook.magics.offers import Offer, fit

RUN, DATA, ACTION, PATH, PROBE, COLUMN = "RUN", "DATA", "ACTION", "PATH", "PROBE", "COLUMN"
_TAKES: Mapping[str, tuple[str, ...]] = {
    "finetune": (RUN,),
    "evaluate": (RUN, DATA),
    "probe": (RUN, PROBE, "…"),
    "compare": (RUN, "…"),
    "explain": (RUN,),
    "runs": (ACTION, RUN, PATH),
    "panel": (ACTION, RUN, DATA),
}
"""The words of each magic, in order; an ellipsis: the one before again and again."""
_PIECE = re.compile(r"""(?:"[^"]*"?|'[^']*'?|[^\s"'])+""")
_HALF = re.compile(r"""(?P<flag>--[\w-]+=)?(?P<quote>["']?)(?P<head>[^"']*)""")
_NEEDS_QUOTES = re.compile(r"[\s\"';]")


@dataclass(frozen=True)
class Asked:
    """A line as far as it is written: `words`, names of `flags`, the flag that waits for its value, and that of ``--data``."""

    words: tuple[str, ...]
    flags: frozenset[str]
    waiting: Flag | None
    takes: tuple[str, ...] = ()
    data: str = ""

    @property
    def rows(self) -> str:
        """The word for the rows, or the value of ``--data``; an empty text if there is neither."""
        return self.word(DATA) or self.data

    def word(self, kind: str) -> str:
        """The word of that kind, or an empty text."""
        place = self.takes.index(kind) if kind in self.takes else len(self.words)
        return self.words[place] if place < len(self.words) else ""

    @property
    def expects(self) -> str:
        """The kind of word that comes next; empty if there is none."""
        if len(self.words) >= len(self.takes):
            return self.takes[-2] if self.takes[-1:] == ("…",) else ""
        kind = self.takes[len(self.words)]
        return self.takes[-2] if kind == "…" else kind


def fields_of(magic: str) -> tuple[str, ...]:
    """The fields that the words of a magic's line set."""
    return {"evaluate": ("model", "data"), "compare": ("model", "tokenizer"), "probe": ("model", "probes")}.get(magic, ())


def read(magic: str, text: str) -> Asked:
    """The whole words of a line; what is no word or flag is left out."""
    known_flags = {f"--{flag.name}": flag for flag in _flags(magic)}
    words, flags, waiting, data = [], set(), None, ""
    for piece in _PIECE.findall(text):
        name, has_value, _ = piece.partition("=")
        if waiting is not None:
            data = piece.strip("\"'") if waiting.value == DATA else data
            waiting = None
        elif piece.startswith("-"):
            flags.add(name.lstrip("-"))
            flag = known_flags.get(name)
            waiting = flag if flag and flag.value and not has_value else None
            data = piece[len(name) + 1 :].strip("\"'") if flag and has_value and flag.value == DATA else data
        else:
            words.append(piece.strip("\"'"))
    return Asked(tuple(words), frozenset(flags), waiting, _TAKES.get(magic, ()), data)


def offer(magic: str, before: str, after: str, namespace: Mapping[str, Any]) -> Offer | None:
    """What may stand between `before`, the line up to the cursor without the magic's name, and `after`."""
    half = _last(before)
    found = _HALF.fullmatch(half)
    if found is None:
        return None
    asked = read(magic, before[: len(before) - len(half)])
    head, quote = found["head"], found["quote"]
    flags = _flags(magic)
    if found["flag"]:
        asked = Asked(asked.words, asked.flags, next((f for f in flags if f"--{f.name}=" == found["flag"]), None), asked.takes)
    if asked.waiting:
        words = _values(asked.waiting, head, read(magic, before + after).rows, namespace)
        head = head.rpartition("*")[2] if asked.waiting.value == COLUMN else head
        return _fitting(words, head, quote, after, alone=True)
    if head.startswith("-"):
        switched_off = [f"--no-{flag.name}" for flag in flags if flag.has_setting and head.startswith("--n")]
        return _fitting([*_unused(flags, asked), *switched_off], head, quote, after, alone=True)
    words = _words(magic, asked.expects, head) + ([] if head or quote else _likely(magic, asked.expects, namespace))
    alone = not head or asked.expects == ACTION or magic == "finetune"
    return _fitting(words or ([] if head else _unused(flags, asked)), head, quote, after, alone=alone)


def _last(before: str) -> str:
    """The piece that is being written at the end of `before`."""
    pieces = list(_PIECE.finditer(before))
    return pieces[-1][0] if pieces and pieces[-1].end() == len(before) else ""


def _flags(magic: str) -> Sequence[Flag]:
    return (*getattr(import_module(f"fm_notebook.magics.{magic}"), "FLAGS", ()), HELP)


def _unused(flags: Sequence[Flag], asked: Asked) -> list[str]:
    return [f"--{flag.name}" for flag in flags if flag.name not in asked.flags]


def _values(flag: Flag, head: str, rows: str, namespace: Mapping[str, Any]) -> list[str]:
    if flag.choices:
        return [choice.removesuffix("N") if choice.endswith(":N") else choice for choice in flag.choices]
    if flag.value == DATA:
        return [*(name for name in known.variables(namespace) if tables.is_table(namespace[name])), *known.rows()]
    if flag.value == COLUMN:
        own = list(tables.of_word(rows, namespace)) if rows else []
        return [*own, *known.derived_groups()] if flag.name == "by" else own
    return _words("", flag.value, head)


def _likely(magic: str, kind: str, namespace: Mapping[str, Any]) -> list[str]:
    """The user's variables, those that hold what is expected first; a run's new name is none of them."""
    if kind not in {RUN, DATA} or magic == "finetune":
        return []
    mine = known.variables(namespace)
    kinds = {"Run", "ProbeReport", "ProbeReports"} if magic == "panel" else {"Run"}
    fits = tables.is_table if kind == DATA else (lambda value: type(value).__name__ in kinds)
    return sorted(mine, key=lambda name: not fits(namespace[name]))


def _words(magic: str, kind: str, head: str) -> list[str]:
    """Names of a kind; a variable whose name has begun is IPython's to add."""
    if kind == ACTION:
        module = import_module(f"fm_notebook.magics.{magic}")
        return list(getattr(module, "ACTIONS", ()) or getattr(module, "PANELS", ()))
    if kind == RUN:
        return known.runs("" if magic == "finetune" else head)  # a new run has no number yet
    if kind == DATA:
        return known.rows()
    return known.probes() if kind == PROBE else []


def _fitting(words: Sequence[str], head: str, quote: str, after: str, *, alone: bool) -> Offer:
    """The words that begin with `head`; quoted if they need it, and closed if they are quoted."""
    tail = re.match(r"[^\s\"']*", after)[0]  # type: ignore[index]
    if quote:
        closed = after[len(tail) :].startswith(quote)
        return Offer(head, tuple(fit([w for w in words if quote not in w], head, tail, "" if closed else quote)), alone)
    whole = [f'"{word}"' if _NEEDS_QUOTES.search(word) else word for word in fit(words, head, tail, "")]
    return Offer(head, tuple(whole), alone)
