"""The ``%%finetune`` cell that a run stands for: run again in a notebook with the same names, it makes the same spec."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

from fm_notebook.contracts import fields
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef

_FIRST = ("model", "train", "eval")
_LEFT_OUT = frozenset({"base"})  # the spec says all that came from it
_RUN = re.compile(r"[^\W\d]\w*(\.\d+)?")


def cell_text(name: str, spec: FinetuneSpec) -> str:
    """The cell that sets every field of `spec` which is not its default."""
    names = [*_FIRST, *(each for each in fields.names(FinetuneSpec) if each not in (*_FIRST, *_LEFT_OUT))]
    given = [(each, value) for each in names if (value := getattr(spec, each)) != fields.default(FinetuneSpec, each)]
    return "\n".join([f"%%finetune {name}", *(f"{each} = {_expression(value)}" for each, value in given)]) + "\n"


def _expression(value: Any) -> str:
    """Python that gives `value` back: rows and models as they were written, if that was an expression."""
    if isinstance(value, DataRef):
        return value.source if value.kind in {"value", "run"} else repr(value.source)
    if isinstance(value, ModelRef):
        by_name = value.kind != "value" and (value.kind != "run" or _RUN.fullmatch(value.source))
        return repr(value.source) if by_name else value.source
    if isinstance(value, BaseModel):
        return repr(value.model_dump(exclude_defaults=True))
    return repr(value)
