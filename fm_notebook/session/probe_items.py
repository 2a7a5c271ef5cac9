"""The items of a probe: as the user named them, checked, and as many of them as are wanted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from fm_notebook import messages
from fm_notebook.contracts.probing import Probe, ProbeItems
from fm_notebook.contracts.specs import DataRef
from fm_notebook.errors import FMError, SpecError
from fm_notebook.session.given import Assigned

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def read(probe: Probe, spec: BaseModel, data: Assigned) -> tuple[ProbeItems, DataRef]:
    """The probe's items and how the user named them; a file is the probe's own to read, since each has its format."""
    from fm_notebook.data import sources
    from fm_notebook.data.samples import PREFIX

    try:
        if data.value is None:
            return probe.read(None, spec), DataRef(source="", kind="seed")
        if isinstance(data.value, str | Path) and not str(data.value).startswith(PREFIX):
            path = Path(data.value).expanduser()
            if path.exists():
                return probe.read(path, spec), DataRef(source=str(data.value), kind="file")
        table, ref = sources.read(data.value, source=data.reference, field="data", line=data.line)
        return probe.read(table, spec), ref
    except FMError as error:
        raise type(error)(faults=[replace(fault, line=fault.line or data.line) for fault in error.faults]) from None


def checked(items: ProbeItems, name: str, line: int | None) -> pa.Table:
    """The items, of which there is one at least, each with an id of its own.

    Raises
    ------
    SpecError
        If there is none, in view of what was dropped.
    """
    table = items.table
    if not table.num_rows:
        dropped = "; ".join(f"{messages.text(f'skipped.{reason}.text')}: {n}" for reason, n in items.dropped) or "0"
        raise SpecError("probe.no_items", line=line, probe=name, dropped=dropped)
    ids = table["id"]
    assert len(ids.unique()) == len(ids), f"{name}: ids are not unique"
    return table


def limited(table: pa.Table, limit: int, seed: int, name: str) -> pa.Table:
    """About `limit` rows of `table`, of each axis as many as its share, one at least, in their order.

    Raises
    ------
    SpecError
        If the probe's items are only scored together.
    """
    import numpy as np
    import pyarrow as pa

    if "block" in table.column_names:
        raise SpecError("probe.indivisible", probe=name)
    if limit >= table.num_rows:
        return table
    axes, rng = np.asarray(table["axis"].to_pylist(), object), np.random.default_rng(seed)
    chosen: list[np.ndarray] = []
    for axis in dict.fromkeys(axes):
        rows = np.flatnonzero(axes == axis)
        chosen.append(rng.permutation(rows)[: max(1, round(limit * len(rows) / len(axes)))])
    return table.take(pa.array(np.sort(np.concatenate(chosen))))
