"""From what the user wrote to the rows that a job folder holds, with everything counted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import DataRef
from fm_notebook.data.derived_groups import is_derived
from fm_notebook.data.encoding import Encoded, encode
from fm_notebook.data.fingerprint import fingerprint, row_hashes
from fm_notebook.data.given_groups import with_given
from fm_notebook.data.grouped import PREFIX, kept
from fm_notebook.data.lists import is_list, ragged
from fm_notebook.data.reading import Kind, Reading
from fm_notebook.data.sources import read
from fm_notebook.data.splits import held_out
from fm_notebook.data.stored import chosen_rows, load, write
from fm_notebook.data.wording import shown
from fm_notebook.errors import DataError

__all__ = [
    "Rows",
    "TrainingData",
    "held_out_rows",
    "label_counts",
    "load",
    "prepare_rows",
    "prepare_training",
    "shared_rows",
    "write",
]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows to train and evaluate on in canonical columns (see `fm_notebook.data.encoding.Encoded`), and what was counted.

    `eval_ref` is None where eval was held out of train. `kind` is what the reading came to, such as ``regression``.
    """

    train: pa.Table
    eval: pa.Table
    facts: DataFacts
    train_ref: DataRef
    eval_ref: DataRef | None
    kind: Kind


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to score in canonical columns.

    Attributes
    ----------
    labels : tuple of str
        The classes that their numbers mean.
    label_counts : list of int
        How often each is there, see `label_counts`.
    missing_rows : int
        Rows left out.
    kind : str
        What the reading came to, such as ``regression``.
    """

    table: pa.Table
    ref: DataRef
    missing_rows: int
    labels: tuple[str, ...]
    label_counts: list[int]
    kind: Kind


def prepare_training(
    train: object,
    eval: object = None,  # noqa: A002 - the name of the field
    *,
    reading: Reading | None = None,
    order: Sequence[str] | None = None,
    eval_split: float = 0.1,
    seed: int = 0,
    sources: Mapping[str, str],
    lines: Mapping[str, int] | None = None,
) -> TrainingData:
    """Read, check and count the data of a fine-tuning run; 100,000 rows take about two seconds.

    Tables from `fm_notebook.data.stored.LARGE_BYTES` on are worked on in batches and kept on disk; they need about three times
    their size there until the run's folder is written.

    Parameters
    ----------
    train, eval : object
        See `fm_notebook.data.sources.read`. If `eval` is None, rows are held out of train, equal texts together; where each
        text has one class, with the same shares of the classes.
    reading : Reading, optional
        The user's columns and the kind of target; by default one class a text, columns ``text`` and ``label``.
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
        See `read` and `fm_notebook.data.encoding.encode`.
    """
    lines, reading = lines or {}, reading or Reading()
    table, train_ref = read(train, source=sources["train"], field="train", line=lines.get("train"))
    whole = encode(table, reading, order=order, field="train", lines=lines)
    del table  # a large one is on disk until here
    train_ref = _with_fingerprint(train_ref, whole)
    if eval is None:
        return _hold_out(whole, train_ref, eval_split, seed, lines.get("train"))
    table, eval_ref = read(eval, source=sources["eval"], field="eval", line=lines.get("eval"))
    judged = encode(table, _as(reading, whole.kind), labels=whole.labels, field="eval", lines=lines)
    missing = whole.missing_rows + judged.missing_rows
    facts = _facts(whole.table, judged.table, whole.labels, row_hashes(whole.table), row_hashes(judged.table), missing)
    return TrainingData(whole.table, judged.table, facts, train_ref, _with_fingerprint(eval_ref, judged), whole.kind)


def prepare_rows(
    data: object,
    *,
    reading: Reading | None = None,
    labels: Sequence[str] | None = None,
    source: str,
    lines: Mapping[str, int] | None = None,
    groups: Mapping[str, Any] | None = None,
) -> Rows:
    """Read and check rows to score by the classes `labels`; a `reading` without ``label`` takes them as unlabelled.

    `groups` are values that the user gave for the rows, see `fm_notebook.data.given_groups`.

    Raises
    ------
    DataError
        See `fm_notebook.data.sources.read` and `fm_notebook.data.encoding.encode`.
    """
    lines = lines or {}
    table, ref = read(data, source=source, field="data", line=lines.get("data"))
    table = with_given(table, groups or {}, data, lines.get("by"))
    encoded = encode(table, reading or Reading(), labels=labels, field="data", lines=lines)
    counts = label_counts(encoded.table, encoded.labels)
    return Rows(encoded.table, _with_fingerprint(ref, encoded), encoded.missing_rows, encoded.labels, counts, encoded.kind)


def held_out_rows(
    stored: Path,
    labels: Sequence[str],
    kind: Kind,
    *,
    source: str,
    names: Sequence[str] = (),
    lines: Mapping[str, int] | None = None,
) -> Rows:
    """The rows that a run held out, from its folder, as they were scored while it trained.

    Parameters
    ----------
    stored : Path
        Arrow file of the rows in canonical columns.
    labels : sequence of str
        The classes that their numbers mean.
    kind : str
        What the run's reading came to.
    source : str
        The run's name.
    names : sequence of str
        Groups to keep beside the rows: those that were kept for the run, or made of its texts.
    lines : Mapping, optional
        Line of the cell by field, for errors.

    Raises
    ------
    DataError
        If a group is neither.
    """
    lines, table = lines or {}, load(stored)
    ours = [name for name in table.column_names if not name.startswith(PREFIX)]
    groups = table.drop_columns(ours)
    groups = groups.rename_columns([name.removeprefix(PREFIX) for name in groups.column_names])
    for name in names:
        if name not in groups.column_names and not is_derived(name):
            raise DataError("data.group.held_out", line=lines.get("by"), column=shown(name), run=source)
    texts = table.select([name for name in ("text", "text_pair") if name in ours])
    found = kept(groups, names, "data", lines, texts=texts)
    whole = table.select(ours)
    for name in found.column_names:
        whole = whole.append_column(name, found[name])
    encoded = Encoded(whole, tuple(labels), 0, kind)
    ref = _with_fingerprint(DataRef(source=source, kind="run", rows=whole.num_rows), encoded)
    return Rows(whole, ref, 0, tuple(labels), label_counts(whole, labels), kind)


def shared_rows(table: pa.Table, other: pa.Table) -> int:
    """Rows of `table` whose text also stands in `other`, but for case and white space (see `row_hashes`)."""
    return _shared(row_hashes(table), row_hashes(other))


def label_counts(table: pa.Table, labels: Sequence[str]) -> list[int]:
    """How often each of `labels` stands in a canonical table: rows of a class, words of a tag; of numbers how many there are."""
    if "label" not in table.column_names:
        return [0] * len(labels)
    if pa.types.is_floating(table.schema.field("label").type):
        return [table.num_rows] * len(labels)
    counts = np.zeros(len(labels), np.int64)
    for chunk in table["label"].chunks:
        codes = ragged(chunk).values if is_list(chunk.type) else chunk
        counts += np.bincount(np.asarray(codes), minlength=len(labels))
    return counts.tolist()


def _as(reading: Reading, kind: Kind) -> Reading:
    """What ``auto`` came to for train also holds for eval; which columns there are is seen anew. Groups are for training."""
    asked = replace(reading, groups=())
    return asked if reading.kind != "auto" else Reading(kind, reading.text, reading.text_pair, reading.label)


def _hold_out(whole: Encoded, ref: DataRef, share: float, seed: int, line: int | None) -> TrainingData:
    if whole.table.num_rows < 2:
        raise DataError("data.split", line=line, rows=whole.table.num_rows)
    hashes, classes = row_hashes(whole.table), whole.kind == "single-label"
    codes = whole.table["label"].to_numpy() if classes else np.zeros(whole.table.num_rows, np.int8)
    split = held_out(codes, share, seed, hashes, stratify=classes)
    if classes and np.count_nonzero(np.bincount(codes[split.train])) < 2:
        raise DataError("data.split", line=line, rows=whole.table.num_rows)
    held = np.zeros(whole.table.num_rows, bool)
    held[split.eval] = True
    train, judged = chosen_rows(whole.table, ~held), chosen_rows(whole.table, held)
    facts = _facts(train, judged, whole.labels, hashes[split.train], hashes[split.eval], whole.missing_rows)
    facts = facts.model_copy(update={"held_out": True, "stratified": split.stratified})
    return TrainingData(train, judged, facts, ref, None, whole.kind)


def _facts(
    train: pa.Table, judged: pa.Table, labels: Sequence[str], train_hashes: np.ndarray, eval_hashes: np.ndarray, missing_rows: int
) -> DataFacts:
    return DataFacts(
        labels=list(labels),
        train_rows=train.num_rows,
        eval_rows=judged.num_rows,
        train_label_counts=label_counts(train, labels),
        eval_label_counts=label_counts(judged, labels),
        missing_rows=missing_rows,
        shared_texts=_shared(eval_hashes, train_hashes),
        duplicate_texts=int((np.diff(np.sort(train_hashes)) == 0).sum()),
    )


def _shared(hashes: np.ndarray, others: np.ndarray) -> int:
    """How many of `hashes` are among `others`, by sorting: NumPy's sets of millions of hashes cost ten times as much."""
    ordered = np.append(np.sort(others), 0)  # what is larger than all finds the 0, which is equal to none such
    return int((ordered[np.searchsorted(ordered[:-1], hashes)] == hashes).sum())


def _with_fingerprint(ref: DataRef, encoded: Encoded) -> DataRef:
    """`ref` with the fingerprint of the used columns and of the labels in their order, which is part of a model."""
    used = fingerprint(encoded.table.drop_columns(["row"]))
    names = fingerprint(pa.table({"labels": pa.array(encoded.labels, pa.large_string())}))
    return ref.model_copy(update={"fingerprint": hashlib.sha256(f"{used} {names}".encode()).hexdigest()})
