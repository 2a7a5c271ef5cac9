"""What two specs say differently, field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fm_notebook.contracts.specs import DataRef, ModelRef, Spec

_LEFT_OUT = frozenset({"kind", "format_version"})
_SHOWN_LETTERS = 8  # of a fingerprint


@dataclass(frozen=True)
class Difference:
    """A dotted `field` and its value in either spec, empty where the spec has no such field."""

    field: str
    left: str
    right: str


def flat(spec: Spec) -> dict[str, str]:
    """The fields of `spec` that are set, by dotted name, as text; rows and models by their source and fingerprint."""
    found: dict[str, str] = {}
    for name in type(spec).model_fields:
        if name not in _LEFT_OUT:
            _flatten(name, getattr(spec, name), found)
    return found


def differences(left: Spec, right: Spec) -> list[Difference]:
    """What `left` and `right` say differently, in the order of the fields.

    Rows and models are compared by fingerprint where both have one: what they were called in a cell decides nothing.
    """
    one, other = flat(left), flat(right)
    same = {name for name in type(left).model_fields if is_same_content(getattr(left, name), getattr(right, name, None))}
    names = dict.fromkeys([*one, *other])
    order = {name: place for place, name in enumerate(type(left).model_fields)}
    ranked = sorted(names, key=lambda name: order.get(name.partition(".")[0], len(order)))
    return [
        Difference(name, one.get(name, ""), other.get(name, ""))
        for name in ranked
        if name not in same and one.get(name, "") != other.get(name, "")
    ]


def _flatten(name: str, value: Any, found: dict[str, str]) -> None:
    if isinstance(value, DataRef | ModelRef):
        found[name] = _reference(value)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            _flatten(f"{name}.{key}", each, found)
    elif hasattr(value, "model_fields_set"):
        for key in type(value).model_fields:
            _flatten(f"{name}.{key}", getattr(value, key), found)
    elif value is not None:
        found[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _reference(ref: DataRef | ModelRef) -> str:
    return f"{ref.source} ({ref.fingerprint[:_SHOWN_LETTERS]})" if ref.fingerprint else ref.source


def is_same_content(left: object, right: object) -> bool:
    """Whether both are rows, or both models, with one fingerprint."""
    if not isinstance(left, DataRef | ModelRef) or not isinstance(right, DataRef | ModelRef):
        return False
    return bool(left.fingerprint) and left.fingerprint == right.fingerprint
