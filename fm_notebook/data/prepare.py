"""From what the user wrote to the rows that a job folder holds, with everything counted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import DataRef
from fm_notebook.data.columns import Encoded, encode
from fm_notebook.data.fingerprint import fingerprint, row_hashes
from fm_notebook.data.sources import read
from fm_notebook.data.splits import held_out
from fm_notebook.errors import DataError


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows to train and evaluate on in canonical columns (see `fm_notebook.data.columns.Encoded`), and what was counted.

    `eval_ref` is None where eval was held out of train.
    """

    train: pa.Table
    eval: pa.Table
    facts: DataFacts
    train_ref: DataRef
    eval_ref: DataRef | None


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to score in canonical columns; `labels` are the classes that their numbers mean, `missing_rows` those left out."""

    table: pa.Table
    ref: DataRef
    missing_rows: int
    labels: tuple[str, ...]


def prepare_training(  # noqa: PLR0913 - these are the fields of the cell
    train: object,
    eval: object = None,  # noqa: A002 - the name of the field
    *,
    text: str = "text",
    text_pair: str | None = None,
    label: str = "label",
    order: Sequence[str] | None = None,
    eval_split: float = 0.1,
    seed: int = 0,
    sources: Mapping[str, str],
    lines: Mapping[str, int] | None = None,
) -> TrainingData:
    """Read, check and count the data of a fine-tuning run; 100,000 rows take about two seconds.

    Parameters
    ----------
    train, eval : object
        See `fm_notebook.data.sources.read`. If `eval` is None, rows are held out of train, equal texts together.
    text, text_pair, label : str
        The user's columns.
    order : sequence of str, optional
        Names of the outputs of the model's own head: if the data have just these labels, they are numbered alike, so that
        the head keeps its meaning.
    eval_split : float
        Share of train to hold out, above 0 and below 1.
    seed : int
        Seed of that split.
    sources, lines : Mapping
        What the user wrote for a field, and on which line of the cell.

    Raises
    ------
    DataError
        See `read` and `fm_notebook.data.columns.encode`.
    """
    lines = lines or {}
    asked = {"text": text, "text_pair": text_pair, "label": label}
    table, train_ref = read(train, source=sources["train"], field="train", line=lines.get("train"))
    whole = encode(table, **asked, field="train", lines=lines)
    if order is not None and set(order) == set(whole.labels):
        whole = encode(table, **asked, labels=order, field="train", lines=lines)
    train_ref = _with_fingerprint(train_ref, whole)
    if eval is None:
        return _hold_out(whole, train_ref, eval_split, seed, lines.get("train"))
    table, eval_ref = read(eval, source=sources["eval"], field="eval", line=lines.get("eval"))
    judged = encode(table, **asked, labels=whole.labels, field="eval", lines=lines)
    missing = whole.missing_rows + judged.missing_rows
    facts = _facts(whole.table, judged.table, whole.labels, row_hashes(whole.table), row_hashes(judged.table), missing)
    return TrainingData(whole.table, judged.table, facts, train_ref, _with_fingerprint(eval_ref, judged))


def prepare_rows(
    data: object,
    *,
    labels: Sequence[str] | None = None,
    text: str = "text",
    text_pair: str | None = None,
    label: str | None = "label",
    source: str,
    line: int | None = None,
) -> Rows:
    """Read and check rows to score by the classes `labels`; with `label` None they are unlabelled.

    Raises
    ------
    DataError
        See `fm_notebook.data.sources.read` and `fm_notebook.data.columns.encode`.
    """
    table, ref = read(data, source=source, field="data", line=line)
    lines = {"data": line} if line else {}
    encoded = encode(table, text=text, text_pair=text_pair, label=label, labels=labels, field="data", lines=lines)
    return Rows(encoded.table, _with_fingerprint(ref, encoded), encoded.missing_rows, encoded.labels)


def shared_rows(table: pa.Table, other: pa.Table) -> int:
    """Rows of `table` whose text also stands in `other`, but for case and white space (see `row_hashes`)."""
    return int(np.isin(row_hashes(table), row_hashes(other)).sum())


def write(table: pa.Table, path: Path) -> None:
    """Write an Arrow file that only its owner may read, whole or not at all.

    Raises
    ------
    OSError
        If the disk is full or the folder is not writable; a file that was there before stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path) -> pa.Table:
    """The table in an Arrow file, mapped into memory: its rows are read when they are used."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _hold_out(whole: Encoded, ref: DataRef, share: float, seed: int, line: int | None) -> TrainingData:
    hashes = row_hashes(whole.table)
    split = held_out(whole.table["label"].to_numpy(), share, seed, hashes)
    train, judged = whole.table.take(pa.array(split.train)), whole.table.take(pa.array(split.eval))
    if len(np.unique(train["label"].to_numpy())) < 2:
        raise DataError("data.split", line=line, rows=whole.table.num_rows)
    facts = _facts(train, judged, whole.labels, hashes[split.train], hashes[split.eval], whole.missing_rows)
    facts = facts.model_copy(update={"held_out": True, "stratified": split.stratified})
    return TrainingData(train.combine_chunks(), judged.combine_chunks(), facts, ref, None)


def _facts(
    train: pa.Table, judged: pa.Table, labels: Sequence[str], train_hashes: np.ndarray, eval_hashes: np.ndarray, missing_rows: int
) -> DataFacts:
    return DataFacts(
        labels=list(labels),
        train_rows=train.num_rows,
        eval_rows=judged.num_rows,
        train_label_counts=np.bincount(train["label"].to_numpy(), minlength=len(labels)).tolist(),
        eval_label_counts=np.bincount(judged["label"].to_numpy(), minlength=len(labels)).tolist(),
        missing_rows=missing_rows,
        shared_texts=int(np.isin(eval_hashes, train_hashes).sum()),
        duplicate_texts=len(train_hashes) - len(np.unique(train_hashes)),
    )


def _with_fingerprint(ref: DataRef, encoded: Encoded) -> DataRef:
    """`ref` with the fingerprint of the used columns; class numbers and names are both in it, as the order is part of a model."""
    used = encoded.table.drop_columns(["row"])
    if "label" in used.column_names:
        names = pa.array(encoded.labels, pa.large_string()).take(pa.array(used["label"].to_numpy()))
        used = used.append_column("label_name", names)
    return ref.model_copy(update={"fingerprint": fingerprint(used)})
