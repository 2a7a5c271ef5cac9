"""What the form draws: the spec's fields in sections, each with the control that fits what it accepts.

Nothing here names a field that has to exist: a new field of the spec stands in the section of its neighbours, and a field that
names plug-ins of a registered kind (``mitigation``) gets a section of its own as soon as there is such a plug-in.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from fm_notebook import messages
from fm_notebook.contracts import fields
from fm_notebook.contracts.registry import Registry
from fm_notebook.contracts.specs import FinetuneSpec

SECTIONS = ("data", "model", "training", "adapter")
_BEGINS = {"train": "data", "model": "model", "lora": "adapter", "epochs": "training"}  # in the order of the spec
_BASIC = frozenset({"train", "eval", "text", "label", "model", "task", "epochs", "learning_rate", "batch_size", "lora", "freeze"})
_CHOSEN = frozenset({"column", "task", "metric", "run"})

Control = Literal["choice", "picker", "text", "group"]


@dataclass(frozen=True)
class Field:
    """One field as it is drawn.

    Attributes
    ----------
    path : str
        Its dotted name.
    control : str
        ``choice``: one of `options`; ``picker``: one of `options` or of those that come with the moment's state, or something
        else; ``text``: Python; ``group``: on or off, and its `parts`.
    hint : str
        What it means and what it accepts.
    absent : str
        What holds if it is not given, in words.
    takes : str
        What is offered for it, as in `form_offers.offers`; ``rows`` can be looked at.
    options : tuple of (source, label)
    """

    path: str
    control: Control
    hint: str
    absent: str
    basic: bool = False
    takes: str = ""
    options: tuple[tuple[str, str], ...] = ()
    parts: tuple[Field, ...] = ()


@dataclass(frozen=True)
class Section:
    """Fields that belong together, under a title."""

    name: str
    title: str
    fields: tuple[Field, ...]

    def to_json(self) -> dict[str, object]:
        """Plain lists and words."""
        return asdict(self)


def sections(spec: type[BaseModel] = FinetuneSpec) -> tuple[Section, ...]:
    """The sections of the form for `spec`; those without a field are left out."""
    found: dict[str, list[Field]] = {name: [] for name in SECTIONS}
    here = SECTIONS[0]
    for name in fields.names(spec):
        here = _BEGINS.get(name, here)
        kind = _kind_of(name)
        if kind is None:
            found[here].append(_field(spec, name))
        elif kind:
            found[name] = [_field(spec, name)]
    return tuple(Section(name, _title(name), tuple(each)) for name, each in found.items() if each)


def all_fields(drawn: tuple[Section, ...]) -> Iterator[Field]:
    """Every field of the sections, with the parts of groups."""
    for section in drawn:
        for field in section.fields:
            yield from (field, *field.parts)


def quoted(text: str) -> str:
    """`text` as a Python literal, in double quotes where that needs no backslash more."""
    plain = repr(text)
    return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in text else plain


def _kind_of(name: str) -> Registry[object] | None:
    """The registry of the plug-ins that the field `name` names; None if it is a field like any other, as the task is."""
    if name == "task" or importlib.util.find_spec(f"fm_notebook.{name}s") is None:
        return None
    found = getattr(importlib.import_module(f"fm_notebook.{name}s"), f"{name}s", None)
    return found if isinstance(found, Registry) else None


def _field(spec: type[BaseModel], name: str) -> Field:
    parts = tuple(_field(spec, part) for part in fields.parts(spec, name))
    group, _, last = name.rpartition(".")
    meaning = messages.text(f"part.{group}.{last}" if group else f"field.{name}")
    default = fields.default(spec, name)
    control, takes = _control(spec, name), "" if parts else fields.takes(spec, name)
    told = control in {"choice", "group"} or takes in _CHOSEN  # by what there is to choose
    hint = meaning if told else f"{meaning} ({fields.expected(spec, name)})"
    return Field(name, control, hint, _absent(default), name in _BASIC, takes, _options(spec, name), parts)


def _control(spec: type[BaseModel], name: str) -> Control:
    if fields.parts(spec, name):
        return "group"
    if fields.is_closed(spec, name):
        return "choice"
    return "picker" if fields.takes(spec, name) or fields.suggestions(spec, name) else "text"


def _options(spec: type[BaseModel], name: str) -> tuple[tuple[str, str], ...]:
    values = [] if fields.parts(spec, name) else fields.suggestions(spec, name)
    return tuple((quoted(value) if isinstance(value, str) else repr(value), str(value)) for value in values)


def _absent(default: object) -> str:
    if default is PydanticUndefined:
        return messages.text("form.needed")
    if default is None:
        return messages.text("form.unset")
    return messages.text("form.absent", value=default if isinstance(default, str) else repr(default))


def _title(name: str) -> str:
    key = f"form.section.{name}"
    return messages.text(key) if messages.has(key) else name
