"""A fine-tuning job: its parts built from the folder, then driven by the engine's loop."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import ReadCommand, Task
from fm_notebook.contracts.specs import FinetuneSpec, ModelRef
from fm_notebook.data.fingerprint import text_hashes
from fm_notebook.engine import models, precision
from fm_notebook.engine.batching import Examples
from fm_notebook.engine.loop import finetune as train
from fm_notebook.engine.models import Loaded, ModelSource
from fm_notebook.engine.run import Parts
from fm_notebook.engine.tokens import Tokens
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.tasks import tasks
from fm_notebook.worker import assembly, models_loaded
from fm_notebook.worker.provenance import provenance
from fm_notebook.worker.rows import Rows, read_rows

TRAINED = "trained.npy"
"""File in a run's folder: sorted hashes (uint64) of the texts it was trained on."""


def finetune(folder: JobFolder, spec: FinetuneSpec, command: ReadCommand) -> Iterator[ev.Event]:
    """Load, tokenise, train; at the end the model is kept for the next job, if its weights are those of the result."""
    models_loaded.free()
    task, labels = tasks[spec.task], folder.facts.labels
    device = precision.choose_device(spec.device)
    yield ev.PhaseBegan(phase="loading_model")
    began = perf_counter()
    source = source_of(spec)
    models.refuse_unsafe(source)
    tokenizer = models.load_tokenizer(source)
    loaded: Loaded = task.load_model(source, labels)
    models.set_pad_token(loaded.model, tokenizer)
    about = provenance(spec, device=str(device), precision=precision.choose_precision(spec.precision, device), model=loaded.model)
    yield from _about_head(loaded, spec)
    seconds = {"load": perf_counter() - began}

    yield ev.PhaseBegan(phase="tokenizing")
    began = perf_counter()
    rows = [read_rows(folder.train_rows), read_rows(folder.eval_rows)]
    tokens = [assembly.tokens_of(each, loaded, tokenizer, spec.max_length) for each in rows]
    yield from assembly.notes(tokens, spec.max_length)
    np.save(folder.path / TRAINED, np.unique(text_hashes(rows[0].texts, rows[0].pairs)))
    seconds["tokenize"] = perf_counter() - began
    if command() == "cancel":
        yield ev.Ended(state="cancelled")
        return

    loaded.model.to(device)
    parts = Parts(
        spec=spec, task=task, model=loaded.model, tokenizer=tokenizer,
        train=examples(task, rows[0], tokens[0], labels, spec.class_weight), held_out=examples(task, rows[1], tokens[1], labels),
        precision=precision.choose_precision(spec.precision, device), checkpoints=folder.checkpoints, result=folder.model,
        provenance=about, seconds=seconds,
    )  # fmt: skip
    del rows
    last = None
    for last in train(parts, command):
        yield last
    if isinstance(last, ev.Ended) and last.result and last.result.best_step == last.step:
        _keep(folder, parts)


def source_of(spec: Any) -> ModelSource:
    """What to load for a spec of any kind."""
    return ModelSource(
        model=spec.model, tokenizer=getattr(spec, "tokenizer", None), trust_remote_code=spec.trust_remote_code,
        allow_pickle=spec.allow_pickle, dropout=getattr(spec, "dropout", None), seed=getattr(spec, "seed", 0),
    )  # fmt: skip


def examples(task: Task, rows: Rows, tokens: Tokens, labels: list[str], class_weight: Any = None) -> Examples:
    """Tokens with targets and weights."""
    return Examples(tokens, rows.targets, task.example_weights(rows.targets, labels, class_weight), rows.rows)


def _about_head(loaded: Loaded, spec: FinetuneSpec) -> Iterator[ev.Event]:
    if loaded.fresh:
        yield ev.Noted(key="fresh_head", values={"parameters": len(loaded.fresh), "seed": spec.seed})


def _keep(folder: JobFolder, parts: Parts) -> None:
    parts.model.zero_grad(set_to_none=True)
    parts.model.eval()
    location = str(folder.model)
    result = ModelSource(ModelRef(source=location, kind="run", location=location))
    models_loaded.keep(result, Loaded(parts.model), parts.tokenizer)
