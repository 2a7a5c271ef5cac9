"""What the field ``by`` may hold: names of columns and crossings, or values for the rows under a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fm_notebook.errors import SpecError
from fm_notebook.session.given import Assigned

_LONGEST = 40


@dataclass(frozen=True)
class Groupings:
    """Names as a spec holds them, and the values of those that the user gave values for."""

    names: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


def groupings(given: Assigned | None) -> Groupings:
    """What `given` asks for.

    It is a name (``"region"``, ``"gender*region"``, ``"length"``), a dict of values by name (``{"young": frame.age < 30}``),
    one such Series or array by itself, or a list of names and dicts.

    Raises
    ------
    SpecError
        If it is none of these.
    """
    if given is None or given.value is None:
        return Groupings()
    parts = given.value if isinstance(given.value, list | tuple) else [given.value]
    names: list[str] = []
    values: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, str):
            names.append(part)
            continue
        named = part if isinstance(part, Mapping) else {_name(part, given): part}
        for name, each in named.items():
            if not isinstance(name, str) or not name.strip() or "*" in name or not _is_column(each):
                kind = type(each).__name__
                raise SpecError("spec.by_value", line=given.line, name=str(name), kind=kind)
            values[name] = each
            names.append(name)
    return Groupings(tuple(dict.fromkeys(names)), values)


def _is_column(value: object) -> bool:
    """Whether it has one value for each row."""
    return isinstance(value, list | tuple) or getattr(value, "ndim", 1 if hasattr(value, "to_arrow") else 0) == 1


def _name(value: object, given: Assigned) -> str:
    """Of a Series its own; but what is reckoned from a column is called as it is written, not like that column."""
    own, source = getattr(value, "name", None), given.source.strip()
    if isinstance(own, str) and own and (not source or source.replace("'", '"').endswith((own, f'"{own}"]'))):
        return own
    return source if source and "*" not in source and "\n" not in source and len(source) <= _LONGEST else own or "by"
