r"""Changing one field of a cell's text, and nothing else: comments, order and spacing stay as they were.

The text is a cell's body, its lines ended by ``\n``. Values are found by the positions of the syntax tree and of the tokens,
never by patterns: they may span lines and hold ``=``, ``#`` or brackets.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from fm_notebook.errors import SpecError
from fm_notebook.magics import body

FieldPath = tuple[str, ...]
_IDLE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER, tokenize.INDENT, tokenize.DEDENT}
_ALONE, _IN_DICT = "x = {}; y", "{{0: {}, 1: 2}}"


@dataclass(frozen=True)
class _Token:
    text: str
    start: int
    end: int
    depth: int  # brackets open before it


@dataclass(frozen=True)
class _Entry:
    """One ``"key": value`` of a literal dict, by offsets: the key's start, the value's two ends."""

    start: int
    value: int
    end: int


@dataclass(frozen=True)
class _Setting:
    """One assignment, by offsets: the statement's start, the value's two ends; the entries if the value is a literal dict."""

    path: FieldPath
    start: int
    value: int
    end: int
    node: ast.expr
    inside: int  # behind the opening brace of a literal dict, else -1
    entries: dict[str, _Entry]


def sources(text: str) -> dict[FieldPath, str]:
    """The source of every field that `text` sets, by path; the keys of a literal dict are fields of its field.

    Raises
    ------
    SpecError
        If `text` is no Python. Statements that set no field are passed over.
    """
    found: dict[FieldPath, str] = {}
    for each in _settings(text):
        found[each.path] = text[each.value : each.end]
        found |= {(*each.path, key): text[entry.value : entry.end] for key, entry in each.entries.items()}
    return found


def with_field(text: str, path: FieldPath, source: str | None) -> str:
    """`text` with the field `path` set to the expression `source`; None takes the field away, with all that is below it.

    A value of a group takes the place of its dotted parts, unless the group had a value that they refined.

    A comment is never taken away with its field. A new field comes after its own kind (``lora.rank``), else at the end.

    Raises
    ------
    SpecError
        If `text` or `source` is no Python.
    """
    settings = _settings(text)
    below = [each for each in settings if each.path[: len(path)] == path]
    if source is None and below:
        return with_field(_without(text, below[-1]), path, None)
    same = [each for each in below if each.path == path]
    if below[1:] and not same:
        return with_field(_without(text, below[-1]), path, source)
    if below and source is not None:
        return _assigned(text, (same or below)[-1], path, source)
    above = [each for each in settings if path[1:] and each.path == path[:-1]]
    if above:
        return _within_group(text, above[-1], path, source)
    kin = [each for each in settings if each.path[0] == path[0]]
    return text if source is None else _added(text, path, source, kin=kin)


def _within_group(text: str, group: _Setting, path: FieldPath, source: str | None) -> str:
    """`text` with the part `path` of a group that has a value of its own."""
    entry = group.entries.get(path[-1])
    if source is None:
        return _without_entry(text, entry) if entry else text
    if entry:
        return text[: entry.value] + _fitting(source, _IN_DICT) + text[entry.end :]
    if group.inside >= 0:
        return _with_entry(text, group, path[-1], source)
    if isinstance(group.node, ast.Constant) and group.node.value is None:
        return _assigned(text, group, path, source)
    return _added(text, path, source, kin=[group])


def _assigned(text: str, old: _Setting, path: FieldPath, source: str) -> str:
    start, target = (old.value, "") if old.path == path else (old.start, ".".join(path) + " = ")
    return text[:start] + target + _fitting(source, _ALONE) + text[old.end :]


def _added(text: str, path: FieldPath, source: str, *, kin: list[_Setting]) -> str:
    """`text` with a new line, after the last of `kin`, else at the end."""
    line = f"{'.'.join(path)} = {_fitting(source, _ALONE)}"
    end = _line_end(text, max((each.end for each in kin), default=len(text.rstrip())))
    before, after = (text, "") if end < 0 else (text[:end], text[end:])
    if not before.strip():
        return line + (text or "\n")
    return f"{before}\n{line}{after}"


def _line_end(text: str, place: int) -> int:
    """The first line break from `place` on that lies in no statement; -1 if there is none."""
    for each in _settings(text):
        end = text.find("\n", place)
        if each.start < end < each.end:
            place = each.end
    return text.find("\n", place)


def _without(text: str, old: _Setting) -> str:
    """`text` without the statement; its comment stays, and so do its neighbours between semicolons."""
    line_start = text.rfind("\n", 0, old.start) + 1
    line_end = text.find("\n", old.end)
    line_end = len(text) if line_end < 0 else line_end
    before, after = text[line_start : old.start].rstrip(), text[old.end : line_end].lstrip()
    if before:  # `a = 1; ` stands before
        return text[:line_start] + before.removesuffix(";") + text[old.end :]
    rest = after.removeprefix(";").lstrip()
    if rest:
        return text[:line_start] + rest + text[line_end:]
    return text[:line_start] + text[line_end + 1 :]


def _without_entry(text: str, old: _Entry) -> str:
    after = re.compile(r"\s*,[ \t]*").match(text, old.end)
    if after:
        start, end = old.start, after.end()
    else:  # the last one goes with the comma before it
        before = re.compile(r",\s*$").search(text, 0, old.start)
        start, end = (before.start() if before else old.start), old.end
    return text[:start] + text[end:]


def _with_entry(text: str, parent: _Setting, key: str, source: str) -> str:
    written = f'"{key}": {_fitting(source, _IN_DICT)}'
    if not parent.entries:
        return text[: parent.inside] + written + text[parent.inside :]
    last = max(entry.end for entry in parent.entries.values())
    return f"{text[:last]}, {written}{text[last:]}"


def _fitting(source: str, frame: str) -> str:
    """`source`, in brackets if it would not be one value within `frame`: a bare tuple in a dict, a comment at its end."""
    source = source.strip()
    try:
        meant = ast.dump(ast.parse(source, mode="eval").body)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else type(error).__name__
    else:
        return next(form for form in (source, f"({source})", f"({source}\n)") if _is_within(frame, form, meant))
    raise SpecError("body.syntax", reason=reason)


def _is_within(frame: str, source: str, meant: str) -> bool:
    try:
        statements = ast.parse(frame.format(source)).body
    except SyntaxError:
        return False
    match statements:
        case [ast.Assign(targets=[_], value=value), _] | [ast.Expr(value=ast.Dict(keys=[_, _], values=[value, _]))]:
            return ast.dump(value) == meant
    return False


def _settings(text: str) -> list[_Setting]:
    starts = [0, *(place.end() for place in re.finditer("\n", text))]
    lines = text.split("\n")

    def offset(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())  # the tree counts bytes of UTF-8

    found = []
    for statement in body.tree(text).body:
        if (path := body.target(statement)) and isinstance(statement, ast.Assign):
            assert statement.end_lineno is not None
            assert statement.end_col_offset is not None
            start = offset(statement.lineno, statement.col_offset)
            end = offset(statement.end_lineno, statement.end_col_offset)
            tokens = list(_tokens(text[start:end], start))
            sign = next(i for i, token in enumerate(tokens) if token.text == "=" and not token.depth)
            inside, entries = _entries(statement.value, tokens[sign + 1 :])
            found.append(_Setting(path, start, tokens[sign + 1].start, end, statement.value, inside, entries))
    return found


def _tokens(text: str, base: int) -> Iterator[_Token]:
    starts = [0, *(place.end() for place in re.finditer("\n", text))]
    depth = 0
    for kind, word, (line, column), (last_line, last_column), _ in tokenize.generate_tokens(io.StringIO(text).readline):
        if kind in _IDLE:
            continue
        depth -= word in {")", "]", "}"}
        yield _Token(word, base + starts[line - 1] + column, base + starts[last_line - 1] + last_column, depth)
        depth += word in {"(", "[", "{"}


def _entries(node: ast.expr, tokens: list[_Token]) -> tuple[int, dict[str, _Entry]]:
    """Where a literal dict opens, and its entries by key; (-1, {}) for anything else, also a dict with keys that are no text."""
    keys = [key.value for key in node.keys if isinstance(key, ast.Constant)] if isinstance(node, ast.Dict) else [None]
    first = next((i for i, token in enumerate(tokens) if token.text != "("), 0)
    if any(not isinstance(key, str) for key in keys) or len({*keys}) != len(keys) or len(keys) != len(getattr(node, "keys", [])):
        return -1, {}
    depth = tokens[first].depth + 1
    entries: dict[str, _Entry] = {}
    words = [token for token in tokens[first + 1 :] if token.depth >= depth]
    for key in keys:
        colon = next(i for i, token in enumerate(words) if token.text == ":" and token.depth == depth)
        stop = next((i for i, token in enumerate(words) if token.text == "," and token.depth == depth and i > colon), len(words))
        entries[str(key)] = _Entry(words[0].start, words[colon + 1].start, words[stop - 1].end)
        words = words[stop + 1 :]
    return tokens[first].end, entries
