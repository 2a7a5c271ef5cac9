"""What a probe job is asked to do, as pure JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from fm_notebook.contracts.references import DataRef, ModelRef
from fm_notebook.contracts.values import Count, Device, Frozen, RunName


class Remark(Frozen):
    """What must be known to read a probe's numbers: the catalogue's ``remark.<key>`` filled with `values`."""

    key: str
    values: dict[str, JsonValue] = Field(default_factory=dict)
    level: Literal["info", "warning"] = "info"


class ItemFacts(Frozen):
    """Whose the items of a probe are, and what was counted in them; see `fm_notebook.contracts.probing.ProbeItems`."""

    texts: tuple[str, ...]
    origin: Literal["seed", "public", "own"]
    name: str
    licence: str
    citation: str = ""
    language: str = ""
    rows: int
    dropped: dict[str, int] = Field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()


class ProbeSpec(Frozen):
    """One probe of one model. `fields` are those of the probe's own spec, all written out; `data` None is its seed set.

    `limit` takes a part of the items, as many of each axis as its share; `head_of` is the model whose head for masked words is
    put on the run's encoder. Figures of references are fp32's.
    """

    kind: Literal["probe"] = "probe"
    format_version: Literal[1] = 1
    model: ModelRef
    tokenizer: ModelRef | None = None
    head_of: ModelRef | None = None
    run: RunName | None = None
    probe: str
    version: int = 1
    fields: dict[str, JsonValue] = Field(default_factory=dict)
    data: DataRef
    items: ItemFacts
    limit: Count | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    device: Device = "auto"
    trust_remote_code: bool = False
    allow_pickle: bool = False


LOOKS = ("every", "items", "data")
"""Fields of a probe in ``probe_every`` that are of the look; the others are the probe's own."""


def items_of_look(probe: str) -> str:
    """Name, without ending, of the file in ``data/`` with the items that `probe` is asked at every look."""
    return f"probe-{probe}"


def own_fields(look: Mapping[str, Any]) -> dict[str, Any]:
    """The probe's own fields of one in ``probe_every``."""
    return {name: value for name, value in look.items() if name not in LOOKS}
