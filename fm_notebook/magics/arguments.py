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
    has_setting : bool
        Whether a setting may switch it on; ``--no-NAME`` then switches it off.
    many : bool
        Whether it may stand several times; its values are then in `Line.lists`.
    of : str
        The magic whose own meaning it has, where another magic has a flag of that name.
    """

    name: str
    value: str = ""
    choices: tuple[str, ...] = ()
    has_setting: bool = False
    many: bool = False
    of: str = ""

    @property
    def meaning(self) -> str:
        """What it does, for the help."""
        return messages.text(f"{self.of}.flag_{self.name}" if self.of else f"flag.{self.name}")

    def accepts(self, value: str) -> bool:
        """Whether `value` is one of the choices, if there are any."""
        return not self.choices or _NUMBER.sub(":N", value) in self.choices


WAIT = Flag("wait", has_setting=True)
AGAIN = Flag("again")
QUIET = Flag("quiet", has_setting=True)
HELP = Flag("help")
ON = Flag("on", "WHERE", ("process", "kernel"))
ON_SEVERAL = Flag("on", "WHERE", placement.CHOICES)


@dataclass(frozen=True)
class Line:
    """A parsed line: positional `words`, switches that are `on` or `off`, flags with `values`, and those with several."""

    words: tuple[str, ...] = ()
    on: frozenset[str] = frozenset()
    values: Mapping[str, str] = field(default_factory=dict)
    off: frozenset[str] = frozenset()
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def parse(text: str, flags: Sequence[Flag], *, most_words: int) -> Line:
    """Split `text`; ``-h`` and ``--help`` are always known.

    Raises
    ------
    ArgumentError
        On an unknown or repeated flag, a missing or wrong value, or more than `most_words` words.
    """
    known = {f"--{flag.name}": flag for flag in (*flags, HELP)} | {"-h": HELP}
    told = list(known)
    known |= {f"--no-{flag.name}": Flag(f"no-{flag.name}") for flag in flags if flag.has_setting}
    words: list[str] = []
    values: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    rest = _split(text)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        name, has_value, value = word.partition("=")
        flag = known.get(name)
        if flag is None:
            raise ArgumentError("flag.unknown", flag=name, known=", ".join(told), hint=did_you_mean(name, told))
        if flag.name in values:
            raise ArgumentError("flag.twice", flag=name)
        if flag.value and not has_value:
            if not rest or rest[0].startswith("--"):
                raise ArgumentError("flag.no_value", flag=name, value=flag.value)
            value = rest.pop(0)
        elif has_value and not flag.value:
            raise ArgumentError("flag.switch", flag=name)
        if not flag.accepts(value):
            raise ArgumentError(
                "flag.choice", flag=name, value=value, choices=", ".join(flag.choices), hint=did_you_mean(value, flag.choices)
            )
        if flag.many:
            lists[flag.name] = (*lists.get(flag.name, ()), value)
        else:
            values[flag.name] = value
    if len(words) > most_words:
        raise ArgumentError("words.too_many", extra=" ".join(words[most_words:]))
    switches = frozenset(name for name in values if not known[f"--{name}"].value)
    off = frozenset(flag.name for flag in flags if f"no-{flag.name}" in switches)
    for name in sorted(off & switches):
        raise ArgumentError("flag.twice", flag=f"--{name}")
    others = {name: value for name, value in values.items() if name not in switches}
    return Line(tuple(words), switches - {f"no-{name}" for name in off}, others, off, lists)


def help_text(magic: str, usage: str, flags: Sequence[Flag]) -> str:
    """What ``--help`` prints above the fields: usage, what the magic does, and its flags."""
    shown = [(_shown(flag), flag.meaning) for flag in (*flags, HELP)]
    width = max(len(name) for name, _ in shown)
    return "\n".join([usage, "", messages.text(f"magic.{magic}"), "", *(f"  {name:<{width}}  {text}" for name, text in shown)])


def _shown(flag: Flag) -> str:
    return f"--{'[no-]' if flag.has_setting else ''}{flag.name}{' ' + flag.value if flag.value else ''}"


def _split(text: str) -> list[str]:
    try:
        lexer = shlex.shlex(text.strip().removesuffix(";"), posix=True)
        lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""  # backslashes are Windows paths
        return list(lexer)
    except ValueError as error:
        reason = str(error)
    raise ArgumentError("words.quotes", reason=reason)
