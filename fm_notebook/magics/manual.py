"""``--help``, drawn from a spec."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from fm_notebook import messages
from fm_notebook.contracts import fields
from fm_notebook.magics.arguments import Flag, help_text


def show(magic: str, usage: str, flags: Sequence[Flag], spec: type[BaseModel] | None = None, *, but: Sequence[str] = ()) -> None:
    """Print usage, flags and, for a `spec`, every field `but` some with what it accepts, its default and its meaning."""
    text = help_text(magic, usage, flags)
    if spec is not None:
        text += "\n\n" + _table(messages.text("help.fields"), spec, but)
    messages.say("help.text", text=text)


def show_fields(title: str, spec: type[BaseModel]) -> None:
    """Print every field of `spec` under a title."""
    messages.say("help.text", text=_table(title, spec, ()))


def _table(title: str, spec: type[BaseModel], but: Sequence[str]) -> str:
    shown = [field for field in fields.names(spec) if field not in but]
    rows = [_row(spec, name) for field in shown for name in (field, *fields.parts(spec, field))]
    width = max((len(head) for head, _ in rows), default=0)
    return title + "\n" + "\n".join(f"  {head:<{width}}  {meaning}" for head, meaning in rows)


def _row(spec: type[BaseModel], name: str) -> tuple[str, str]:
    default = fields.default(spec, name)
    shown = messages.text("help.needed") if default is PydanticUndefined else f"= {default!r}"
    group, _, part = name.rpartition(".")
    meaning = messages.text(f"part.{group}.{part}" if group else f"field.{name}")
    return f"{name} {shown}", f"{meaning} ({fields.expected(spec, name)})"
