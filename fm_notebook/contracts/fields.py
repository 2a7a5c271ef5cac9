"""What a spec's fields accept, in the user's words: for errors, ``--help``, completion and forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from fm_notebook import messages
from fm_notebook.errors import Fault, did_you_mean

_HIDDEN = frozenset({"kind", "format_version"})
_REFERENCES = {"DataRef": "rows", "ModelRef": "model"}


def names(spec: type[BaseModel]) -> list[str]:
    """The fields that a user can set, in the order of the spec."""
    return [name for name in spec.model_fields if name not in _HIDDEN]


def choices(spec: type[BaseModel], name: str) -> list[str]:
    """The words that the field `name` is limited to; empty if it is open."""
    return [value for part in _alternatives(spec, name) for value in part.get("enum", [part["const"]] if "const" in part else [])]


def expected(spec: type[BaseModel], name: str) -> str:
    """What the field `name` accepts, such as *a number above 0* or *one of linear, cosine, constant*."""
    return messages.text("expected.or").join(dict.fromkeys(_phrase(part) for part in _alternatives(spec, name)))


def faults(error: ValidationError, spec: type[BaseModel], lines: dict[str, int], written: dict[str, str]) -> list[Fault]:
    """One fault for each field that `error` complains of, with its line of the cell and what the user wrote."""
    found: dict[str, Fault] = {}
    for each in error.errors(include_url=False):
        name = str(each["loc"][0])
        found.setdefault(name, _fault(name, each["type"], spec, lines.get(name), written.get(name, "")))
    return list(found.values())


def unknown(name: str, spec: type[BaseModel], line: int | None) -> Fault:
    """The fault of a field that does not exist."""
    known = names(spec)
    return Fault("spec.unknown_field", {"field": name, "hint": did_you_mean(name, known), "known": ", ".join(known)}, line)


def _fault(name: str, kind: str, spec: type[BaseModel], line: int | None, written: str) -> Fault:
    if kind == "extra_forbidden":
        return unknown(name, spec, line)
    if kind == "missing":
        return Fault("spec.missing", {"field": name, "expected": expected(spec, name)})
    options = choices(spec, name)
    return Fault(
        "spec.value",
        {
            "field": name,
            "written": written,
            "expected": expected(spec, name),
            "hint": did_you_mean(written.strip("'\""), options),
        },
        line,
    )


def _alternatives(spec: type[BaseModel], name: str) -> Sequence[dict[str, Any]]:
    schema = spec.model_json_schema(mode="validation")["properties"][name]
    return list(schema.get("anyOf", [schema]))


def _phrase(part: dict[str, Any]) -> str:
    if "$ref" in part:
        return messages.text("expected." + _REFERENCES[part["$ref"].rpartition("/")[2]])
    if "enum" in part or "const" in part:
        return messages.text("expected.choice", choices=", ".join(f'"{v}"' for v in part.get("enum", [part.get("const")])))
    if "pattern" in part:
        return messages.text("expected.device")
    kind = part.get("type", "string")
    if kind not in {"number", "integer"}:
        return messages.text(f"expected.{kind}")
    low = part.get("minimum", part.get("exclusiveMinimum"))
    high = part.get("maximum", part.get("exclusiveMaximum"))
    bound = ("from" if "minimum" in part else "above") if high is None else ("from_below" if "minimum" in part else "between")
    return messages.text(f"expected.{kind}_{bound}", low=low, high=high)
