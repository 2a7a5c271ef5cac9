"""A whole ``%%finetune`` cell as text: the magic's line and the body below it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fm_notebook.errors import SpecError
from fm_notebook.magics import arguments
from fm_notebook.magics.arguments import Flag, Line

_MAGIC = re.compile(r"\A(\s*%%(?:fm_)?finetune)(?![^\s])([^\n]*)(\n?)")


@dataclass(frozen=True)
class Cell:
    """The parts of the cell's text, which are the text again when put together: `head` + `line` + `gap` + `body`.

    Attributes
    ----------
    head : str
        ``%%finetune``, and the blank lines above it.
    line : str
        The rest of the magic's line: name and flags.
    gap : str
        The line break between line and body, if there is one.
    """

    head: str
    line: str
    gap: str
    body: str

    @property
    def text(self) -> str:
        """The whole cell."""
        return self.head + self.line + self.gap + self.body

    @property
    def first_line(self) -> int:
        """Line of the cell (from 1) at which the body starts."""
        return self.head.count("\n") + 2

    def asked(self, flags: Sequence[Flag]) -> Line:
        """Name and flags, parsed.

        Raises
        ------
        ArgumentError
            If the line is wrong.
        """
        return arguments.parse(self.line, flags, most_words=1)

    def with_body(self, body: str) -> Cell:
        """The cell with another body."""
        return replace(self, gap="\n", body=body)

    def with_name(self, old: str, new: str) -> Cell:
        """The cell with the name `new` for `old`, which may be empty."""
        if not old:
            return replace(self, line=f" {new}{self.line}" if new else self.line)
        named = re.compile(rf"(?<!\S)([\"']?){re.escape(old)}\1(?!\S)")
        return replace(self, line=named.sub(lambda _: new, self.line, count=1))


def read(text: str) -> Cell:
    """The parts of `text`; lines may end as they like.

    Raises
    ------
    SpecError
        If it does not begin with ``%%finetune``.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found = _MAGIC.match(text)
    if found is None:
        raise SpecError("form.no_magic", line=1)
    return Cell(found[1], found[2], found[3], text[found.end() :])
