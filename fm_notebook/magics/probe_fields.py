"""The fields of a ``%%probe`` cell as one spec, for completion: those that every probe has and those of the probes asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from fm_notebook.contracts import fields
from fm_notebook.contracts.probe_specs import ProbeSpec
from fm_notebook.contracts.references import DataRef
from fm_notebook.probes import probes
from fm_notebook.session.probing import OURS

_WORD = re.compile(r"[\w-]+")


def spec(on_line: Sequence[str], body: str) -> type[BaseModel]:
    """That of a cell with the probes `on_line`, or if there are none, with those that `body` names, or else with all."""
    written = body.partition("probes")[2].partition("\n")[0]
    asked = on_line or _WORD.findall(written)
    chosen = [each for word in asked for each in probes.families.get(word, [word]) if each in probes]
    return _of(tuple(dict.fromkeys(chosen or probes)), is_named=len(chosen) > 1)


@cache
def _of(names: tuple[str, ...], *, is_named: bool) -> type[BaseModel]:
    found: dict[str, Any] = {"model": _field(ProbeSpec, "model"), "probes": (list[str], []), "data": (DataRef | None, None)}
    for name in names:
        kind = probes[name].Spec
        for each in fields.names(kind):
            found[each] = _both(found[each], _field(kind, each)) if each in found else _field(kind, each)
    found |= {name: _field(ProbeSpec, name) for name in OURS}
    if is_named:
        found |= {name.replace("-", "_"): (probes[name].Spec | None, None) for name in names}
    return create_model("ProbeCell", **found)


def _field(kind: type[BaseModel], name: str) -> tuple[Any, FieldInfo]:
    found = kind.model_fields[name]
    return found.annotation, found


def _both(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    """A field that two probes have: it may be what either takes."""
    if one[0] == other[0]:
        return one
    if get_origin(one[0]) is get_origin(other[0]) is Literal:
        return Literal[tuple(dict.fromkeys((*get_args(one[0]), *get_args(other[0]))))], one[1]
    return one[0] | other[0], one[1]
