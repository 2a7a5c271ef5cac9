"""Where in a cell's body the cursor is: in a field's name, in a value, or in the keys of a dict. The text may be half written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<skip>\#[^\n]*|[^\S\n]+|\\\n)
  | (?P<string>[rbuRBU]{0,2}(?:
        (?P<triple>\"{3}|'{3})(?:\\.|[^\\])*?(?P<triple_end>(?P=triple)|\Z)
      | (?P<mark>["'])(?P<inside>(?:\\.|(?!(?P=mark))[^\\\n])*)(?P<end>(?P=mark))?))
  | (?P<word>[\w.]+)
  | (?P<line>\n)
  | (?P<other>[^\s])
    """,
    re.VERBOSE | re.DOTALL,
)
_BEGINS = re.compile(r"[^\W\d][\w.]*[ \t]*=(?!=)")
_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_HALF_PATH = re.compile(r"([^\W\d]\w*(\.[^\W\d]\w*)*\.?)?")


class Token(NamedTuple):
    """A piece of Python: its kind (a group of the expression above), its text and where it begins."""

    kind: str
    text: str
    start: int
    mark: str = ""
    inside: str = ""
    is_open: bool = False


@dataclass(frozen=True)
class Place:
    """What is being written at the cursor.

    Attributes
    ----------
    kind : str
        ``field``: the name of a field; ``value``: a whole value; ``item``: one of a list; ``key``: a key of a dict.
    path : tuple of str
        The field that a value is for, with the keys of dicts around it; empty for ``field``.
    head : str
        What stands before the cursor of the word or text that is being written.
    quote : str
        The quote that the text began with; empty outside quotes.
    """

    kind: Literal["field", "value", "item", "key"]
    path: tuple[str, ...]
    head: str
    quote: str = ""


@dataclass
class _Bracket:
    """An open bracket: ``foreign`` inside calls and subscripts, whose contents are not ours."""

    sign: str
    foreign: bool
    key: str = ""
    at_key: bool = True


@dataclass
class _Value:
    """What a value consists of so far."""

    open: list[_Bracket] = field(default_factory=list)
    at_start: bool = True
    before: Token | None = None

    def take(self, token: Token) -> None:
        """Go past `token`."""
        top = self.open[-1] if self.open else None
        if token.text in "([{" and token.kind == "other":
            foreign = bool(top and top.foreign) or token.text == "(" or (token.text == "[" and self._is_operand())
            self.open.append(_Bracket(token.text, foreign))
            self.at_start = True
        elif token.text in ")]}" and token.kind == "other":
            del self.open[-1:]
            self.at_start = False
        elif token.text in ",:" and top:
            top.at_key = token.text == ","
            self.at_start = True
        else:
            if token.kind == "string" and top and top.at_key:
                top.key = token.inside
            self.at_start = False
        self.before = token

    def _is_operand(self) -> bool:
        return self.before is not None and (self.before.kind in {"word", "string"} or self.before.text in ")]}")


def at_end(body: str) -> Place | None:
    """The place at the end of `body`, the text up to the cursor; None where nothing of ours can stand."""
    tokens: list[Token] = []
    for tokens in statements(body):  # noqa: B007 - the last one counts
        pass
    if tokens and tokens[-1].kind == "skip":
        if tokens[-1].text.startswith("#"):
            return None
        rest = [token for token in tokens if token.kind != "skip"]
        return _place(rest, None)
    rest = [token for token in tokens if token.kind != "skip"]
    if rest and (rest[-1].kind == "word" or rest[-1].is_open):
        return _place(rest[:-1], rest[-1])
    return _place(rest, None)


def fields(body: str) -> dict[str, str]:
    """The text of each field's value by its dotted name, as far as `body` can be read."""
    found = {}
    for tokens in statements(body):
        told = [token for token in tokens if token.kind != "skip"]
        name, begin = _target(told)
        if name is not None:
            found[name] = body[begin : told[-1].start + len(told[-1].text)].strip()
    return found


def statements(body: str) -> Iterator[list[Token]]:
    """The tokens of each statement. A line that begins with ``name =`` begins one, even if a bracket was left open."""
    tokens: list[Token] = []
    depth = 0
    for match in _TOKEN.finditer(body):
        token = _token(match, len(body))
        if token.kind == "other" and token.text in "([{":
            depth += 1
        elif token.kind == "other" and token.text in ")]}":
            depth = max(depth - 1, 0)
        ends = token.kind == "line" and (depth == 0 or _BEGINS.match(body, match.end()))
        if ends or (token.text == ";" and depth == 0):
            yield tokens
            tokens, depth = [], 0
        elif token.kind != "line":
            tokens.append(token)
    yield tokens


def _token(match: re.Match[str], length: int) -> Token:
    kind = str(match.lastgroup)
    if match["string"] is None:
        return Token(kind, match[0], match.start())
    if match["triple"]:
        return Token("string", match[0], match.start(), match["triple"], is_open=match["triple_end"] == "")
    is_open = match["end"] is None and match.end() == length
    return Token("string", match[0], match.start(), match["mark"], match["inside"], is_open)


def _target(tokens: list[Token]) -> tuple[str | None, int]:
    """The name that a statement sets, and where its value begins; None if it sets no field."""
    if len(tokens) < 2 or tokens[1].text != "=" or not _PATH.fullmatch(tokens[0].text):
        return None, 0
    return tokens[0].text, tokens[1].start + 1


def _place(tokens: list[Token], last: Token | None) -> Place | None:
    """The place after `tokens` of a statement, of which `last` is being written."""
    if not tokens:
        head = last.text if last else ""
        return Place("field", (), head) if _HALF_PATH.fullmatch(head) else None
    name, begin = _target(tokens)
    if name is None or (last and last.kind == "string" and last.mark not in {'"', "'"}):
        return None
    value = _Value()
    for token in tokens:
        if token.start >= begin:
            value.take(token)
    if not value.at_start or any(bracket.foreign for bracket in value.open):
        return None
    return _within(value, tuple(name.split(".")), last)


def _within(value: _Value, path: tuple[str, ...], last: Token | None) -> Place:
    head, quote = (last.inside, last.mark) if last and last.mark else (last.text if last else "", "")
    path += tuple(bracket.key for bracket in value.open[:-1] if bracket.sign == "{")
    if not value.open:
        return Place("value", path, head, quote)
    top = value.open[-1]
    if top.sign == "[":
        return Place("item", path, head, quote)
    return Place("key", path, head, quote) if top.at_key else Place("value", (*path, top.key), head, quote)
