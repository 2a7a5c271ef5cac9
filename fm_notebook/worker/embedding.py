"""Embedding jobs: a vector for each row, from the model that scored it, so that neighbours are near for *this* model."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import ReadCommand
from fm_notebook.contracts.specs import EmbedSpec
from fm_notebook.data.stored import load
from fm_notebook.engine import families, models, precision
from fm_notebook.engine.batching import Batch, Budget, Examples, micro_batches
from fm_notebook.engine.capabilities import embedding
from fm_notebook.engine.parts import budget
from fm_notebook.engine.tokens import tokenize
from fm_notebook.errors import DataError
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.tasks import tasks
from fm_notebook.worker import assembly, scoring
from fm_notebook.worker.provenance import provenance

FILE = "embeddings.npy"
CHUNK = 4096
"""Texts gathered at a time."""
REPORT_SECONDS = 0.5


def embed(folder: JobFolder, spec: EmbedSpec, command: ReadCommand) -> Iterator[ev.Event]:
    """Write the embeddings of the folder's rows, float16 of unit length, shape ``(N, D)``, in the rows' order."""
    task, device = tasks[spec.task].configure(spec), precision.choose_device(spec.device)
    yield ev.PhaseBegan(phase="loading_model")
    kept = scoring.kept_model(spec, task, folder.facts.labels)  # the model of the evaluation, often still there
    model = kept.loaded.model.to(device).eval()
    yield ev.PhaseBegan(phase="tokenizing")
    examples = _examples(folder, spec, model, kept.tokenizer)
    layout = yield from assembly.layout(kept.loaded, spec.packing)
    yield ev.Started(
        total_steps=len(examples), examples=len(examples), parameters=model.num_parameters(), device=str(device),
        precision="fp32", micro_batch_size=spec.batch_size,
        provenance=provenance(spec, device=str(device), precision="fp32", model=model),
    )  # fmt: skip
    most = budget(model, task, spec.batch_size)
    found = yield from _vectors(model, examples, most, command, packed=layout == "packed")
    if found is not None:
        _write(folder.path / FILE, found)
    yield ev.Ended(state="cancelled" if found is None else "finished")


def _examples(folder: JobFolder, spec: EmbedSpec, model: Any, tokenizer: Any) -> Examples:
    rows = load(folder.eval_rows)
    if not len(rows):
        raise DataError("engine.no_rows")
    longest = models.longest_text(model, tokenizer) - families.virtual_tokens(model)
    pairs = rows["text_pair"] if "text_pair" in rows.column_names else None
    tokens = tokenize(tokenizer, rows["text"], pairs, min(spec.max_length, longest))
    return Examples(tokens, np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32), rows["row"].to_numpy())


def _vectors(
    model: Any, examples: Examples, most: Budget, command: ReadCommand, *, packed: bool
) -> Generator[ev.ItemsScored, None, np.ndarray | None]:
    """Unit vectors in the order of `examples`, longest texts computed first; None if a command came in between."""
    order = np.argsort(-examples.tokens.lengths, kind="stable")
    found: np.ndarray | None = None
    began = reported = perf_counter()
    done = 0
    for at in range(0, len(order), CHUNK):
        for micro in micro_batches(examples.batch(order[at : at + CHUNK]), most, padded=not packed):
            if command() in {"stop", "cancel"}:
                return None
            vectors = _unit(_means(model, micro, packed=packed))
            found = np.zeros((len(order), vectors.shape[1]), np.float16) if found is None else found
            found[order[done : done + len(micro)]] = vectors  # `order` is by length already: the pieces come in it
            done += len(micro)
            if perf_counter() - reported > REPORT_SECONDS or done == len(order):
                reported = perf_counter()
                yield ev.ItemsScored(done=done, total=len(order), seconds=reported - began)
    return found


@torch.inference_mode()
def _means(model: Any, batch: Batch, *, packed: bool) -> np.ndarray:
    """The mean of the last hidden state over the tokens of each text, fp32, shape ``(B, D)``."""
    return embedding.vectors(model, batch, "mean", packed=packed).cpu().numpy()


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


def _write(path: Path, vectors: np.ndarray) -> None:
    """Whole or not at all, and for its owner alone: embeddings tell of people's texts."""
    temporary = path.with_name(f".{path.name}.tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        np.save(file, vectors, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
