"""A few steps of a run, timed and weighed, that change no weight: their learning rate is 0."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import ReadCommand
from fm_notebook.engine import checkpoints, evaluation
from fm_notebook.engine.batching import Batch
from fm_notebook.engine.run import Run
from fm_notebook.engine.snapshots import snapshot_best

MOST_STEPS, FEWEST_STEPS, ENOUGH_SECONDS = 10, 3, 15.0
"""Steps that are timed: until so many seconds have passed, but for the fewest."""
EVALUATED = 256
"""Held-out texts that are scored; the time for all follows from their tokens."""


@dataclass(frozen=True)
class Tried:
    """What was measured: seconds of steps and of one whole evaluation, and the peak of memory with what the process held."""

    step_seconds: list[float]
    evaluation_seconds: float
    peak_bytes: int


def try_steps(run: Run, command: ReadCommand) -> Generator[ev.Event, None, Tried | None]:
    """Do the fullest step, once more with what a save holds beside it, and then some of the run's own at random.

    None if somebody wished it to end.
    """
    spec, seconds = run.parts.spec, []
    longest = np.argsort(-run.parts.train.tokens.lengths, kind="stable")[: spec.batch_size]
    rng = np.random.default_rng(spec.seed)
    steps = rng.choice(run.plan.steps_per_epoch, MOST_STEPS, replace=run.plan.steps_per_epoch < MOST_STEPS)
    total = 2 + len(steps)
    yield ev.ItemsScored(done=0, total=total)
    for done, step in enumerate([None, None, *steps.tolist()], 1):
        if command() in ("stop", "cancel"):
            return None
        beside = _what_a_save_holds(run) if done == 2 else ()
        began = perf_counter()
        batch = run.batch(step) if step is not None else run.parts.train.batch(longest, 0)
        yield from _step(run, batch)
        if step is not None:
            seconds.append(perf_counter() - began)
        run.peak.see()
        del beside
        yield ev.ItemsScored(done=done, total=total)
        if len(seconds) >= FEWEST_STEPS and sum(seconds) > ENOUGH_SECONDS:
            break
    evaluated = yield from _evaluation(run, command)
    return None if evaluated is None else Tried(seconds, evaluated, run.peak.bytes)


def _step(run: Run, batch: Batch) -> Generator[ev.MemoryShrunk, None, None]:
    found = None
    while found is None:
        found = run.try_gradient(batch)
        if found is None:
            yield ev.MemoryShrunk(step=0, micro_batch_size=run.state.micro_batch_size)
    run.apply(*found, 0.0)
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)


def _what_a_save_holds(run: Run) -> Any:
    """The copies that lie in CPU memory while they are written; those of a GPU's run are none of its memory."""
    if run.device.type != "cpu" or not run.checkpoints_saved:
        return ()
    parts = run.parts
    with parts.vocabulary.whole() if parts.vocabulary else nullcontext():
        best = snapshot_best(0, parts.model)
    return best, checkpoints.take(run.state, parts.model, run.optimizer, copy=True)


def _evaluation(run: Run, command: ReadCommand) -> Generator[ev.Event, None, float | None]:
    """Seconds of one evaluation, from a part of the held-out texts; None if somebody wished it to end."""
    parts, held = run.parts, run.parts.held_out
    which = np.random.default_rng(parts.spec.seed).choice(len(held), min(len(held), EVALUATED), replace=False)
    some, began = held.only(np.sort(which)), perf_counter()
    outputs = yield from evaluation.outputs(
        parts.model, parts.task, some, run.forward, run.evaluation_budget, command=command, until=frozenset({"stop", "cancel"})
    )
    if outputs is None:
        return None
    parts.task.report(outputs, parts.labels, seed=parts.spec.seed)
    return (perf_counter() - began) * len(held.tokens.ids) / max(1, len(some.tokens.ids))
