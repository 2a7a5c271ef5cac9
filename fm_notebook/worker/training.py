"""A fine-tuning job: its parts built from the folder, then driven by the engine's loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import ReadCommand, Task
from fm_notebook.contracts.specs import FinetuneSpec, ModelRef
from fm_notebook.data.fingerprint import row_hashes
from fm_notebook.data.stored import load
from fm_notebook.engine import adapters, frozen, memory, models, precision
from fm_notebook.engine.batching import Examples
from fm_notebook.engine.distributed import ALONE, World
from fm_notebook.engine.kernels import switch
from fm_notebook.engine.kernels.switch import Techniques
from fm_notebook.engine.loop import finetune as train
from fm_notebook.engine.models import Loaded, ModelSource
from fm_notebook.engine.parts import Parts
from fm_notebook.engine.precision import Precision
from fm_notebook.engine.sharding import Shards
from fm_notebook.engine.step import accumulate
from fm_notebook.engine.token_files import TokenFiles
from fm_notebook.errors import SpecError
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.tasks import tasks
from fm_notebook.worker import assembly, memory_kill, models_loaded, runtime
from fm_notebook.worker.mitigating import mitigated, weighted
from fm_notebook.worker.provenance import provenance
from fm_notebook.worker.watching import looks

TRAINED = "trained.npy"
"""File in a run's folder: sorted hashes (uint64) of the texts it was trained on."""
Features = Callable[[Any, Examples], Examples]


def finetune(folder: JobFolder, spec: FinetuneSpec, command: ReadCommand, world: World = ALONE) -> Iterator[ev.Event]:
    """Load, tokenise, train; at the end the model is kept for the next job, if its weights are those of the result.

    All processes of `world` do the same; what is measured, the first one's measurement decides. After an attempt that the system
    killed for lack of memory, micro-batches are smaller.
    """
    kills = world.ask_first(lambda: memory_kill.kills(folder.path))
    if kills:
        yield ev.Noted(key="killed_for_memory", level="warning")
    with memory_kill.attempt(folder.path, kills, rank=world.rank) as this:
        for event in _finetune(folder, spec, command, world, kills):
            this.see(event)
            yield event


def _finetune(folder: JobFolder, spec: FinetuneSpec, command: ReadCommand, world: World, kills: int) -> Iterator[ev.Event]:
    made = yield from prepare(folder, spec, command, world=world, kills=kills)
    if made is None:
        yield ev.Ended(state="cancelled")
        return
    parts, techniques = made
    last = None
    try:
        for last in train(parts, command):
            yield last
    finally:
        techniques.undo()
    result_is_here = isinstance(last, ev.Ended) and last.result and last.result.best_step == last.step
    elsewhere = spec.lora or spec.prompt_tuning or spec.next_sentence or spec.fsdp  # its file is another one, or many have it
    if result_is_here and not elsewhere:
        _keep(folder, parts)


def prepare(
    folder: JobFolder, spec: FinetuneSpec, command: ReadCommand, *, world: World = ALONE, kills: int = 0,
    features: Features = frozen.with_features,
) -> Generator[ev.Event, None, tuple[Parts, Techniques] | None]:  # fmt: skip
    """All that a run of `spec` on the rows in `folder` is made of, and how to undo what was done to its model.

    None if it was cancelled meanwhile. `features` gives examples what a frozen backbone says of them.
    """
    if spec.fsdp and world.size == 1:
        raise SpecError("fsdp.alone")
    models_loaded.free()
    runtime.give_back()
    idle = memory.used(torch.device("cpu"))
    device = world.device or precision.choose_device(spec.device)
    with timed() as loading:
        loaded, tokenizer, about = yield from _model(spec, folder.facts.labels, device, world)
    with timed() as tokenizing:
        train_rows, held_out = yield from _examples(folder, spec, loaded, tokenizer, world)
    if world.command(command()) == "cancel":
        return None
    if not spec.fsdp:
        loaded.model.to(device)
    world.equalise([*loaded.model.parameters(), *loaded.model.buffers()])
    with timed() as caching:
        if spec.freeze:
            train_rows, held_out = (features(loaded.model, each) for each in (train_rows, held_out))
    layout = yield from assembly.layout(loaded, spec.packing)
    if spec.gradient_checkpointing:
        model = loaded.model  # its name until transformers 6
        getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    shards = Shards(loaded.model, world) if spec.fsdp else None
    fast = layout == "packed" and not shards
    techniques = _techniques(spec, loaded.model, (train_rows, held_out), tokenizer) if fast else Techniques()
    seconds = {"load": loading(), "tokenize": tokenizing()} | ({"features": caching()} if spec.freeze else {})
    parts = Parts(
        spec=spec, task=_task(spec), model=loaded.model, tokenizer=tokenizer, train=train_rows, held_out=held_out,
        labels=folder.facts.labels, precision=about["machine"]["precision"], layout=layout, checkpoints=folder.checkpoints,
        result=folder.model, provenance={**about, "kernels": list(techniques.names)}, seconds=seconds,
        vocabulary=techniques.vocabulary, world=world, shards=shards, kills=kills, idle_memory=idle,
        look=looks(folder, spec, loaded.model, tokenizer), step_function=shards.accumulate if shards else accumulate,
    )  # fmt: skip
    runtime.give_back()  # what loading needed for a while would be taken for what lies there
    return parts, techniques


def _model(
    spec: FinetuneSpec, labels: list[str], device: torch.device, world: World
) -> Generator[ev.Event, None, tuple[Loaded, Any, dict[str, Any]]]:
    """The model with its head and what of it is to be trained, its tokenizer, and where all comes from."""
    yield ev.PhaseBegan(phase="loading_model")
    source = source_of(spec)
    models.refuse_unsafe(source)
    tokenizer = models.load_tokenizer(source)
    loaded: Loaded = _task(spec).load_model(source, labels)
    models.set_pad_token(loaded.model, tokenizer)
    chosen: Precision = world.ask_first(lambda: precision.choose_precision(spec.precision, device))
    about = provenance(spec, device=str(device), precision=chosen, model=loaded.model)
    yield from _about_head(loaded, spec)
    return _partly_trained(loaded, spec), tokenizer, about


def _examples(
    folder: JobFolder, spec: FinetuneSpec, loaded: Loaded, tokenizer: Any, world: World
) -> Generator[ev.Event, None, list[Examples]]:
    """Rows to train and to evaluate on; notes by hash which texts are trained on."""
    yield ev.PhaseBegan(phase="tokenizing")
    given = yield from mitigated(load(folder.train_rows), spec, folder.facts.labels)
    tables, files = [given.rows, load(folder.eval_rows)], TokenFiles.of(folder.data, spec)
    found = [
        assembly.encode(_task(spec), rows, loaded, tokenizer, folder.facts.labels, spec.max_length, files) for rows in tables
    ]
    yield from assembly.notes([each.tokens for each in found], spec.max_length)
    found[0] = weighted(found[0], given.weights)
    if world.is_first:
        np.save(folder.path / TRAINED, np.unique(row_hashes(tables[0])))
    return found


def _techniques(spec: FinetuneSpec, model: Any, examples: tuple[Examples, Examples], tokenizer: Any) -> Techniques:
    if spec.kernels == "off":
        return Techniques()
    which = switch.ALL if spec.kernels == "auto" else switch.IN_TORCH
    return switch.enable_for(model, examples, tokenizer, spec.seed, which)


def _task(spec: FinetuneSpec) -> Task:
    return tasks[spec.task].configure(spec)


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """Gives a function for the wall seconds that the block took, to be called after it."""
    began = ended = perf_counter()
    yield lambda: ended - began
    ended = perf_counter()


def source_of(spec: Any) -> ModelSource:
    """What to load for a spec of any kind."""
    return ModelSource(
        model=spec.model, tokenizer=getattr(spec, "tokenizer", None), trust_remote_code=spec.trust_remote_code,
        allow_pickle=spec.allow_pickle, dropout=getattr(spec, "dropout", None), seed=getattr(spec, "seed", 0),
    )  # fmt: skip


def _partly_trained(loaded: Loaded, spec: FinetuneSpec) -> Loaded:
    """With the adapter of the spec, or the backbone frozen."""
    if adapter := spec.lora or spec.prompt_tuning:
        return replace(loaded, model=adapters.adapt(loaded.model, adapter, fresh=loaded.fresh, seed=spec.seed))
    if spec.freeze:
        frozen.freeze_backbone(loaded.model, fresh=loaded.fresh)
    return loaded


def _about_head(loaded: Loaded, spec: FinetuneSpec) -> Iterator[ev.Event]:
    if loaded.fresh:
        yield ev.Noted(key="fresh_head", values={"parameters": len(loaded.fresh), "seed": spec.seed})


def _keep(folder: JobFolder, parts: Parts) -> None:
    parts.model.zero_grad(set_to_none=True)
    parts.model.eval()
    location = str(folder.model)
    result = ModelSource(ModelRef(source=location, kind="run", location=location))
    models_loaded.keep(result, parts.spec.task, Loaded(parts.model), parts.tokenizer)
