"""``--help``, drawn from a spec."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from fm_notebook import messages
from fm_notebook.contracts import fields
from fm_notebook.magics.arguments import Flag, help_text


def show(magic: str, usage: str, flags: Sequence[Flag], spec: type[BaseModel] | None = None) -> None:
    """Print usage, flags and, for a `spec`, every field with what it accepts, its default and its meaning."""
    text = help_text(magic, usage, flags)
    if spec is not None:
        rows = [_row(spec, name) for name in fields.names(spec)]
        width = max(len(head) for head, _ in rows)
        text += (
            "\n\n" + messages.text("help.fields") + "\n" + "\n".join(f"  {head:<{width}}  {meaning}" for head, meaning in rows)
        )
    messages.say("help.text", text=text)


def _row(spec: type[BaseModel], name: str) -> tuple[str, str]:
    default = spec.model_fields[name].default
    shown = messages.text("help.needed") if default is PydanticUndefined else f"= {default!r}"
    return f"{name} {shown}", f"{messages.text(f'field.{name}')} ({fields.expected(spec, name)})"
