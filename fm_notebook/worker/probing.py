"""Probe jobs: the items of the folder, chunk by chunk in a random order, so that what an interrupted one has is a random part."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.capabilities import Subject
from fm_notebook.contracts.probe_reports import ITEMS, ProbeReport, Remark
from fm_notebook.contracts.probe_specs import ProbeSpec
from fm_notebook.contracts.probing import SKIPPED, Probe
from fm_notebook.contracts.protocols import ReadCommand
from fm_notebook.data import stored
from fm_notebook.engine import precision
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.probes import probes
from fm_notebook.worker.assembly import UNKNOWN_WARNING
from fm_notebook.worker.provenance import provenance
from fm_notebook.worker.subjects import able, subject_for

FEWEST, MOST = 32, 1024
"""Items of a chunk."""
CHUNK_SECONDS = 2.0
"""What a chunk should take: how long a stop has to wait, and how much is lost to a kill."""
GIVEN = "probe.arrow"


def probe(folder: JobFolder, spec: ProbeSpec, command: ReadCommand) -> Iterator[ev.Event]:
    """Put the folder's items to the model; items that were scored before an interruption are not scored again."""
    began = perf_counter()
    plugin = probes[spec.probe]
    device = precision.choose_device(spec.device)
    yield ev.PhaseBegan(phase="loading_model")
    own = plugin.suited(plugin.Spec.model_validate(spec.fields), able(spec))  # of a hub's model it was not known before
    subject = subject_for(spec, plugin.needs(own), device)
    items = stored.load(folder.data / GIVEN)
    scores = Scores(folder.path / "scores")
    yield ev.Started(
        total_steps=len(items), examples=len(items), parameters=subject.model.num_parameters(), device=str(device),
        precision=spec.precision, provenance=provenance(spec, device=str(device), precision=spec.precision, model=subject.model),
    )  # fmt: skip
    yield ev.PhaseBegan(phase="probing")
    wish = yield from _scored(plugin, own, subject, items, scores, spec.seed, command)
    if wish == "cancel":
        yield ev.Ended(state="cancelled")
        return
    rows = joined(items, scores.table())
    stored.write(rows, folder.path / ITEMS)
    found = report(plugin, own, rows, spec, subject, folder.path, perf_counter() - began)
    yield ev.Ended(state="finished" if len(rows) == len(items) else "stopped", probe=found)


@dataclass(frozen=True)
class Scores:
    """What items scored, a file a chunk in `folder`: each is there whole or not at all."""

    folder: Path

    def add(self, ids: pa.ChunkedArray, scores: pa.Table) -> None:
        """Keep the `scores` of the items `ids`."""
        self.folder.mkdir(exist_ok=True, mode=0o700)
        number = sum(1 for _ in self.folder.glob("*.arrow"))
        stored.write(scores.add_column(0, "id", ids), self.folder / f"{number:06d}.arrow")

    def table(self) -> pa.Table | None:
        """All that is scored, None if nothing is."""
        tables = [stored.load(path) for path in sorted(self.folder.glob("*.arrow"))]
        return pa.concat_tables(tables, promote_options="default") if tables else None


def _scored(
    plugin: Probe, own: BaseModel, subject: Subject, items: pa.Table, scores: Scores, seed: int, command: ReadCommand
) -> Generator[ev.ItemsScored, None, str]:
    """Score what is not scored yet; how it ended: ``run``, or the user's ``stop`` or ``cancel``."""
    before = scores.table()
    done = 0 if before is None else len(before)
    left = _not_yet(_shuffled_blocks(items, seed), items, before)
    size, began = FEWEST, perf_counter()
    while left:
        if (wish := command()) in {"stop", "cancel"}:
            return wish
        rows, left = _next(left, size)
        chunk, since = items.take(pa.array(rows)), perf_counter()
        scores.add(chunk["id"], plugin.score(subject, chunk, own))
        done += len(rows)
        size = _next_size(size, perf_counter() - since)
        yield ev.ItemsScored(done=done, total=len(items), seconds=perf_counter() - began)
    return "run"


def _shuffled_blocks(items: pa.Table, seed: int) -> list[np.ndarray]:
    """Numbers of the items in a random order, those of a block together."""
    rng = np.random.default_rng(seed)
    if "block" not in items.column_names:
        return [np.array([row]) for row in rng.permutation(len(items))]
    blocks = np.asarray(items["block"].to_pylist(), object)
    names = list(dict.fromkeys(blocks))
    return [np.flatnonzero(blocks == names[i]) for i in rng.permutation(len(names))]


def _not_yet(blocks: Sequence[np.ndarray], items: pa.Table, scored: pa.Table | None) -> list[np.ndarray]:
    if scored is None:
        return list(blocks)
    done, ids = set(scored["id"].to_pylist()), items["id"].to_pylist()
    return [block for block in blocks if ids[block[0]] not in done]


def _next(left: Sequence[np.ndarray], size: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The rows of the next blocks, `size` at least, and the blocks that are left."""
    taken, rows = 0, 0
    while taken < len(left) and rows < size:
        rows += len(left[taken])
        taken += 1
    return np.concatenate(left[:taken]), list(left[taken:])


def _next_size(size: int, seconds: float) -> int:
    """Twice or half as many, where the last chunk took much less or more than `CHUNK_SECONDS`."""
    if seconds < CHUNK_SECONDS / 2:
        return min(MOST, 2 * size)
    return max(FEWEST, size // 2) if seconds > 2 * CHUNK_SECONDS else size


def joined(items: pa.Table, scores: pa.Table | None) -> pa.Table:
    """The items that are scored, in their order, with what they scored."""
    if scores is None:
        return items.slice(0, 0).append_column(SKIPPED, pa.array([], pa.string()))
    place = {each: i for i, each in enumerate(scores["id"].to_pylist())}
    at = [place.get(each, -1) for each in items["id"].to_pylist()]
    rows = items.filter(pa.array([each >= 0 for each in at]))
    answers = scores.take(pa.array([each for each in at if each >= 0], pa.int64()))
    for name in answers.column_names:
        if name != "id":
            rows = rows.append_column(name, answers[name])
    return rows.combine_chunks()


def report(
    plugin: Probe, own: BaseModel, rows: pa.Table, spec: ProbeSpec, read: Subject, folder: Path, seconds: float
) -> ProbeReport:  # fmt: skip
    """What the scored `rows` come to."""
    reasons = rows[SKIPPED].to_pylist()
    skipped = dict(spec.items.dropped)
    for reason in filter(None, reasons):
        skipped[reason] = skipped.get(reason, 0) + 1
    kept = rows.filter(rows[SKIPPED].is_null())
    summary = plugin.summarise(kept, own)
    remarks = [*_remarks(spec, len(rows), read), *_lost(rows, kept), *spec.items.remarks, *summary.remarks]
    return ProbeReport(
        model=spec.model.source, run=Path(spec.run).name if spec.run else None, probe=spec.probe, version=spec.version,
        variant=str(getattr(own, "variant", "")), language=spec.items.language, data=spec.data, origin=spec.items.origin,
        data_name=spec.items.name, licence=spec.items.licence, citation=spec.items.citation or plugin.source,
        items=spec.items.rows, scored=len(rows), skipped=skipped, measurements=summary.measurements, remarks=remarks,
        unknown_share=_unknown_share(read), precision=spec.precision, seed=spec.seed, seconds=seconds, folder=str(folder),
        spec=spec.model_dump(mode="json"),
    )  # fmt: skip


def _lost(rows: pa.Table, kept: pa.Table) -> Iterator[Remark]:
    """Which axes have no score at all: no group goes without a word."""
    left = set(kept["axis"].to_pylist())
    lost = [str(axis) for axis in dict.fromkeys(rows["axis"].to_pylist()) if axis not in left]
    if lost and left:
        yield Remark(key="axes_lost", values={"n": len(lost), "names": ", ".join(lost)}, level="warning")


def _remarks(spec: ProbeSpec, scored: int, read: Subject) -> Iterator[Remark]:
    """What every probe has to say of how it went."""
    if scored < spec.items.rows:
        yield Remark(key="partial", values={"scored": scored, "items": spec.items.rows}, level="warning")
    if spec.head_of is not None:
        yield Remark(key="head_of_base", values={"base": spec.head_of.source}, level="warning")
    if (unknown := _unknown_share(read)) > UNKNOWN_WARNING:
        yield Remark(key="unknown_tokens", values={"share": f"{100 * unknown:.0f} %"}, level="warning")
    if read.truncated:
        yield Remark(key="truncated", values={"n": read.truncated}, level="warning")
    if spec.items.origin == "seed":
        yield Remark(key="seed_set")
    if spec.precision != "fp32":
        yield Remark(key="not_fp32", values={"precision": spec.precision})


def _unknown_share(read: Subject) -> float:
    """Of the tokens read for this job, from 0 to 1."""
    return read.unknown_read / max(1, read.tokens_read)
