"""What a spec's fields accept, in the user's words: for errors, ``--help``, completion and forms.

A field may be a group of fields (``lora``); these are named with a dot (``lora.rank``) here, in cells and in errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from fm_notebook import messages
from fm_notebook.errors import Fault, did_you_mean

_HIDDEN = frozenset({"kind", "format_version"})
_REFERENCES = {"DataRef": "rows", "ModelRef": "model"}


def names(spec: type[BaseModel]) -> list[str]:
    """The fields that a user can set, in the order of the spec."""
    return [name for name in spec.model_fields if name not in _HIDDEN]


def parts(spec: type[BaseModel], name: str) -> list[str]:
    """Dotted names of the fields of the group `name`; empty if it is a field like any other."""
    group = _group(spec, name)
    return [f"{name}.{part}" for part in group.model_fields] if group else []


def default(spec: type[BaseModel], name: str) -> Any:
    """What the field `name` is if it is not given; ``PydanticUndefined`` if it has to be."""
    owner, last = _owner(spec, name)
    return owner.model_fields[last].default


def choices(spec: type[BaseModel], name: str) -> list[str]:
    """The words that the field `name` is limited to; empty if it is open."""
    return [value for part in _alternatives(spec, name) for value in part.get("enum", [part["const"]] if "const" in part else [])]


def suggestions(spec: type[BaseModel], name: str) -> list[str | bool]:
    """Values worth offering for the field `name`: all, if it is limited to some, else examples."""
    found: list[str | bool] = []
    for part in _alternatives(spec, name):
        fixed = [part["const"]] if "const" in part else part.get("enum", part.get("examples", []))
        found += [True, False] if part.get("type") == "boolean" else fixed
    return found


def is_closed(spec: type[BaseModel], name: str) -> bool:
    """Whether the field `name` accepts nothing but its `suggestions` and None."""
    kinds = _alternatives(spec, name)
    return all("enum" in part or "const" in part or part.get("type") in {"boolean", "null"} for part in kinds)


def takes(spec: type[BaseModel], name: str) -> str:
    """What the text of the field `name` stands for: ``column``, ``run`` …; empty if for itself."""
    kinds = (_REFERENCES.get(_referred(part)) or part.get("format", "") for part in _alternatives(spec, name))
    return next((kind for kind in kinds if kind), "")


def expected(spec: type[BaseModel], name: str) -> str:
    """What the field `name` accepts, such as *a number above 0* or *one of linear, cosine, constant*."""
    groups = {
        group.__name__: messages.text("expected.group", fields=", ".join(group.model_fields)) for group in _groups(spec, name)
    }
    phrases = (groups.get(_referred(part)) or _phrase(part) for part in _alternatives(spec, name))
    return messages.text("expected.or").join(dict.fromkeys(phrases))


def faults(error: ValidationError, spec: type[BaseModel], lines: dict[str, int], written: dict[str, str]) -> list[Fault]:
    """One fault for each field that `error` complains of, with its line of the cell and what the user wrote."""
    found: dict[str, Fault] = {}
    for each in error.errors(include_url=False):
        name, top = _name(spec, each["loc"]), str(each["loc"][0])
        value = written.get(top, "") if name == top else repr(each["input"])
        found.setdefault(name, _fault(name, each["type"], spec, lines.get(top), value))
    return list(found.values())


def unknown(name: str, spec: type[BaseModel], line: int | None) -> Fault:
    """The fault of a field that does not exist."""
    group, _, last = name.rpartition(".")
    known = parts(spec, group) if group else names(spec)
    hint = did_you_mean(last, [each.rpartition(".")[2] for each in known])
    return Fault("spec.unknown_field", {"field": name, "hint": hint, "known": ", ".join(known)}, line)


def _name(spec: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """The field at `place`, where pydantic found the fault: as deep as the groups go."""
    top, *rest = map(str, place)
    if not rest or _group(spec, top) is None:
        return top
    return f"{top}.{next((part for part in rest if f'{top}.{part}' in parts(spec, top)), rest[-1])}"


def _fault(name: str, kind: str, spec: type[BaseModel], line: int | None, written: str) -> Fault:
    if kind == "extra_forbidden":
        return unknown(name, spec, line)
    told = {"field": name, "expected": expected(spec, name)}
    if kind == "missing":
        return Fault("spec.missing", told, line if "." in name else None)
    return Fault(
        "spec.value", {**told, "written": written, "hint": did_you_mean(written.strip("'\""), choices(spec, name))}, line
    )


def _groups(spec: type[BaseModel], name: str) -> Iterator[type[BaseModel]]:
    annotation = spec.model_fields[name].annotation if name in spec.model_fields else None
    for kind in get_args(annotation) or (annotation,):
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__name__ not in _REFERENCES:
            yield kind


def _group(spec: type[BaseModel], name: str) -> type[BaseModel] | None:
    return next(_groups(spec, name), None)


def _owner(spec: type[BaseModel], name: str) -> tuple[type[BaseModel], str]:
    """The spec or group that has the field of a name that may be dotted, and its name there."""
    top, _, last = name.partition(".")
    group = _group(spec, top) if last else None
    return (group, last) if group else (spec, name)


def _alternatives(spec: type[BaseModel], name: str) -> Sequence[dict[str, Any]]:
    owner, last = _owner(spec, name)
    schema = _properties(owner)[last]
    return list(schema.get("anyOf", [schema]))


@cache  # drawing the schema takes 20 ms
def _properties(owner: type[BaseModel]) -> dict[str, Any]:
    return owner.model_json_schema(mode="validation")["properties"]


def _referred(part: dict[str, Any]) -> str:
    return str(part.get("$ref", "")).rpartition("/")[2]


def _phrase(part: dict[str, Any]) -> str:
    if name := _referred(part):
        return messages.text("expected." + _REFERENCES[name])
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
