"""The line of a magic, split like a shell line: positional words and flags."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fm_notebook import messages
from fm_notebook.errors import ArgumentError, did_you_mean
from fm_notebook.jobs import placement

_NUMBER = re.compile(r":[1-9]\d*$")


@dataclass(frozen=True)
class Flag:
    """A flag such as ``--wait``, or with a value ``--on WHERE``.

    Attributes
    ----------
    value : str
        Name of its value for the help; empty for a switch.
    choices : tuple of str
        What the value may be, ``:N`` at an end standing for a number; empty if open.
    """

    name: str
    value: str = ""
    choices: tuple[str, ...] = ()


WAIT = Flag("wait")
AGAIN = Flag("again")
QUIET = Flag("quiet")
HELP = Flag("help")
ON = Flag("on", "WHERE", ("process", "kernel"))
ON_SEVERAL = Flag("on", "WHERE", placement.CHOICES)


@dataclass(frozen=True)
class Line:
    """A parsed line: positional `words`, switches that are `on`, and flags with `values`."""

    words: tuple[str, ...] = ()
    on: frozenset[str] = frozenset()
    values: Mapping[str, str] = field(default_factory=dict)


def parse(text: str, flags: Sequence[Flag], *, most_words: int) -> Line:
    """Split `text`; ``-h`` and ``--help`` are always known.

    Raises
    ------
    ArgumentError
        On an unknown or repeated flag, a missing or wrong value, or more than `most_words` words.
    """
    known = {f"--{flag.name}": flag for flag in (*flags, HELP)} | {"-h": HELP}
    words: list[str] = []
    values: dict[str, str] = {}
    rest = _split(text)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        name, has_value, value = word.partition("=")
        flag = known.get(name)
        if flag is None:
            raise ArgumentError("flag.unknown", flag=name, known=", ".join(known), hint=did_you_mean(name, list(known)))
        if flag.name in values:
            raise ArgumentError("flag.twice", flag=name)
        if flag.value and not has_value:
            if not rest or rest[0].startswith("--"):
                raise ArgumentError("flag.no_value", flag=name, value=flag.value)
            value = rest.pop(0)
        elif has_value and not flag.value:
            raise ArgumentError("flag.switch", flag=name)
        if flag.choices and _NUMBER.sub(":N", value) not in flag.choices:
            raise ArgumentError(
                "flag.choice", flag=name, value=value, choices=", ".join(flag.choices), hint=did_you_mean(value, flag.choices)
            )
        values[flag.name] = value
    if len(words) > most_words:
        raise ArgumentError("words.too_many", extra=" ".join(words[most_words:]))
    switches = frozenset(name for name in values if not known[f"--{name}"].value)
    return Line(tuple(words), switches, {name: value for name, value in values.items() if name not in switches})


def help_text(magic: str, usage: str, flags: Sequence[Flag]) -> str:
    """What ``--help`` prints above the fields: usage, what the magic does, and its flags."""
    shown = [(f"--{f.name}{' ' + f.value if f.value else ''}", messages.text(f"flag.{f.name}")) for f in (*flags, HELP)]
    width = max(len(name) for name, _ in shown)
    return "\n".join([usage, "", messages.text(f"magic.{magic}"), "", *(f"  {name:<{width}}  {text}" for name, text in shown)])


def _split(text: str) -> list[str]:
    try:
        lexer = shlex.shlex(text.strip().removesuffix(";"), posix=True)
        lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""  # backslashes are Windows paths
        return list(lexer)
    except ValueError as error:
        reason = str(error)
    raise ArgumentError("words.quotes", reason=reason)
