"""Cell text ⇄ fields. Each ``field = value`` line sets one field; values are Python expressions of the user's namespace."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from fm_notebook import messages
from fm_notebook.errors import Fault, SpecError
from fm_notebook.session.binding import Assigned

_SHOWN = 60


@dataclass(frozen=True)
class Line:
    """One ``field = value`` of a cell: dotted `path`, the value's expression and text, and its line in the cell (from 1)."""

    path: tuple[str, ...]
    expression: ast.expr
    source: str
    number: int


def parse(body: str, *, first_line: int = 2) -> list[Line]:
    """The fields of a cell's `body`, whose first line is line `first_line` of the cell.

    Raises
    ------
    SpecError
        If the body is no Python, or any statement in it is no assignment to one field; all such are named.
    """
    found, faults = [], []
    for statement in tree(body, first_line=first_line).body:
        number = statement.lineno + first_line - 1
        path = target(statement)
        if path is None:
            shown = (ast.get_source_segment(body, statement) or "").strip().split("\n")[0][:_SHOWN]
            faults.append(Fault("body.no_assignment", {"text": shown}, number))
        elif any(line.path[: len(path)] == path for line in found):
            faults.append(Fault("body.twice", {"field": ".".join(path)}, number))
        else:
            assert isinstance(statement, ast.Assign)
            source = ast.get_source_segment(body, statement.value) or ast.unparse(statement.value)
            found.append(Line(path, statement.value, source, number))
    if faults:
        raise SpecError(faults=faults)
    return found


def evaluate(lines: list[Line], namespace: Mapping[str, Any]) -> dict[str, Assigned]:
    """The fields that `lines` set, their values evaluated in `namespace`; dotted paths become nested dicts.

    An exception inside a user's own expression is theirs: it keeps its type and traceback, with a note that names the field.

    Raises
    ------
    SpecError
        If a dotted line reaches into a field that is no dict.
    """
    __tracebackhide__ = True
    fields: dict[str, Assigned] = {}
    for line in lines:
        code = _compiled(line)
        try:
            value = eval(code, dict(namespace))  # noqa: S307 - it is the user's own cell
        except Exception as error:
            error.add_note(messages.text("body.note", line=line.number, field=".".join(line.path)))
            raise
        name, *rest = line.path
        fields[name] = _nested(fields.get(name), rest, value, line) if rest else Assigned(value, line.source, line.number)
    return fields


def _compiled(line: Line) -> CodeType:
    """The value as code whose source a traceback can show."""
    name = f"<{'.'.join(line.path)}>"
    text = "\n" * (line.expression.lineno - 1) + f"{'.'.join(line.path)} = {line.source}\n"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    try:
        return compile(ast.Expression(line.expression), name, "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:  # await, yield, deep nesting
        reason = error.msg if isinstance(error, SyntaxError) else type(error).__name__
    raise SpecError("body.syntax", line=line.number, reason=reason)


def render(fields: Mapping[str, Any]) -> str:
    """The cell text that sets `fields` to literal values: ``parse`` and ``evaluate`` give them back."""
    return "".join(f"{name} = {value!r}\n" for name, value in fields.items())


def tree(body: str, *, first_line: int = 2) -> ast.Module:
    """The syntax tree of a cell's `body`.

    Raises
    ------
    SpecError
        If it is no Python; with the line of the cell, if that is known.
    """
    number: int | None = None
    try:
        return ast.parse(body)
    except SyntaxError as error:
        number = error.lineno and error.lineno + first_line - 1
        reason = error.msg
    except (ValueError, MemoryError, RecursionError) as error:  # lone surrogates, NUL bytes, deep nesting
        reason = type(error).__name__ if isinstance(error, MemoryError | RecursionError) else str(error)
    raise SpecError("body.syntax", line=number, reason=reason)


def target(statement: ast.stmt) -> tuple[str, ...] | None:
    """The field that `statement` sets; None if it is no assignment to one field."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    path: list[str] = []
    node = statement.targets[0]
    while isinstance(node, ast.Attribute):
        path.append(node.attr)
        node = node.value
    return (node.id, *reversed(path)) if isinstance(node, ast.Name) else None


def _nested(before: Assigned | None, rest: list[str], value: Any, line: Line) -> Assigned:
    top: dict[str, Any] = {"": before.value if before else {}}
    inner, path = top, ["", *rest]
    for depth, name in enumerate(path[:-1], start=1):
        if not isinstance(inner.setdefault(name, {}), dict):
            field = ".".join(line.path[:depth])
            raise SpecError("body.not_nested", line=line.number, field=field, path=".".join(line.path))
        inner[name] = dict(inner[name])
        inner = inner[name]
    inner[rest[-1]] = value
    return Assigned(top[""], line.source, line.number)
