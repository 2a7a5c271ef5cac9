"""Texts without labels: alone, as prompt and completion, or as the messages of a conversation."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from fm_notebook.data.columns import Place, as_text, check_text, has_text, is_text, value_type
from fm_notebook.data.lists import is_list
from fm_notebook.data.reading import Kind
from fm_notebook.data.targets import Encoder
from fm_notebook.errors import DataError

ROLES = ("system", "user", "assistant", "tool")


def encoder(table: pa.Table, kind: Kind, place: Place) -> Encoder:
    """The encoder of texts, of ``prompt`` and ``completion``, or of ``messages``: a JSON list in its canonical form.

    Messages are lists of dicts with a ``role`` and a ``content``, or such a list as JSON. Other keys with a value are kept:
    chat templates know more, such as ``tool_calls``, beside which ``content`` may be missing.

    Raises
    ------
    DataError
        If a column holds something else; of messages the row is named.
    """
    if kind == "chat":
        column = table.schema.field("messages").type
        if not (is_text(value_type(column)) or (is_list(column) and pa.types.is_struct(column.value_type))):
            raise DataError("data.messages.kind", **place.told("messages", kind=str(column)))
        return Encoder(kind, (), lambda batch: _with_messages(batch, place))
    for role in table.column_names:
        check_text(table, role, place)
    return Encoder(kind, (), _with_texts)


def _with_texts(batch: pa.RecordBatch) -> pa.RecordBatch:
    texts = {role: as_text(batch[role]) for role in batch.schema.names if role != "row"}
    present = np.logical_and.reduce([has_text(array) for array in texts.values()])
    return pa.RecordBatch.from_pydict({**texts, "row": batch["row"]}).filter(pa.array(present))


def _with_messages(batch: pa.RecordBatch, place: Place) -> pa.RecordBatch:
    values, rows = batch["messages"].to_pylist(), batch["row"].to_pylist()
    texts = pa.array([_checked(value, row, place) for value, row in zip(values, rows, strict=True)], pa.large_string())
    return pa.RecordBatch.from_pydict({"messages": texts, "row": batch["row"]}).filter(texts.is_valid())


def _checked(value: Any, row: int, place: Place) -> str | None:
    """The messages of one row as JSON, None if there are none."""
    if isinstance(value, str):
        value = _parsed(value, row, place)
    if not value:
        return None
    for number, message in enumerate(value):
        role = message.get("role") if isinstance(message, dict) else None
        told = place.told("messages", row=row, number=number, roles=", ".join(ROLES))
        if role not in ROLES:
            raise DataError("data.messages.role", **told)
        if not isinstance(message.get("content"), str) and not message.get("tool_calls"):
            raise DataError("data.messages.content", **told)
    kept = [{key: part for key, part in message.items() if part is not None} for message in value]
    return json.dumps(kept, ensure_ascii=False, default=str)


def _parsed(text: str, row: int, place: Place) -> Any:
    if not text.strip():
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, list):
        raise DataError("data.messages.json", **place.told("messages", row=row))
    return value
