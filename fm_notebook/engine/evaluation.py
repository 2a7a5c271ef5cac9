"""A model's outputs for many texts, quickly."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts.events import ItemsScored
from fm_notebook.contracts.protocols import Command, Outputs, ReadCommand, Task
from fm_notebook.engine import memory
from fm_notebook.engine.batching import Batch, Budget, Examples, micro_batches, spans
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.kernels import switch
from fm_notebook.errors import JobFailed

REPORT_SECONDS = 0.5
CLOSE = 0.1
"""Distance of two logits that rounding to bf16 hardly ever bridges, see `fm_notebook.engine.kernels.reduced_weights`."""
CHUNK = 4096
"""Texts gathered at a time: what is in memory does not grow with the data."""


def outputs(
    model: Any,
    task: Task,
    examples: Examples,
    forward: Forward,
    budget: Budget,
    *,
    command: ReadCommand,
    until: frozenset[Command],
) -> Generator[ItemsScored, None, Outputs | None]:
    """What `task` keeps of the model's answers, in the examples' order; None if a command of `until` came in between.

    Longest texts first, so that a batch holds equal lengths and memory runs out at once or never; dropout off.
    """
    order = np.argsort(-examples.tokens.lengths, kind="stable")
    found = _Found(len(order))
    done, began, reported = 0, perf_counter(), perf_counter()
    was_training = model.training
    model.eval()
    try:
        while done < len(order):
            for micro in micro_batches(examples.batch(order[done : done + CHUNK]), budget, padded=forward.padded):
                if command() in until:
                    return None
                kept = _kept(model, task, micro, forward)
                if kept is None:
                    budget = _smaller(budget, len(micro))
                    break
                found.add(order[done : done + len(micro)], micro, kept)
                done += len(micro)
                if perf_counter() - reported > REPORT_SECONDS or done == len(order):
                    reported = perf_counter()
                    yield ItemsScored(done=done, total=len(order), seconds=reported - began)
    finally:
        model.train(was_training)
    return replace(found.in_order(), rows=examples.rows)


def sure_outputs(
    model: Any,
    task: Task,
    examples: Examples,
    forward: Forward,
    budget: Budget,
    *,
    command: ReadCommand,
    until: frozenset[Command],
) -> Generator[ItemsScored, None, Outputs | None]:
    """As `outputs`, with the labels of fp32: texts whose two best logits are closer than rounding may move them are done again.

    Where that is most of them, as before any training, all are. A task whose labels come of something else than the best logit
    says by its ``margins(logits)`` how far each is from another one.
    """
    with switch.while_scoring(model, forward.precision):
        found = yield from outputs(model, task, examples, forward, budget, command=command, until=until)
    if found is None or forward.precision == "fp32":
        return found
    doubtful = np.flatnonzero(_closest(found, getattr(task, "margins", two_best)) < CLOSE)
    if not len(doubtful):
        return found
    exact, again = replace(forward, precision="fp32"), doubtful if 2 * len(doubtful) < len(found) else np.arange(len(found))
    better = yield from outputs(model, task, examples.only(again), exact, budget, command=command, until=until)
    return better and _with(found, again, better)


def two_best(logits: np.ndarray) -> np.ndarray:
    """How far the best logit is above the next, shape ``(n,)``, from logits ``(n, C)``; infinite where there are no two."""
    if logits.shape[1] < 2:
        return np.full(len(logits), np.inf)
    two = np.partition(logits, -2, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


def _closest(found: Outputs, margins: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The least of the `margins` in each text, shape ``(N,)``; infinite where there are no logits."""
    logits, closest = found.values.get("logits"), np.full(len(found), np.inf)
    if logits is not None:
        np.minimum.at(closest, np.repeat(np.arange(len(found)), found.counts), margins(logits))
    return closest


def _with(found: Outputs, which: np.ndarray, better: Outputs) -> Outputs:
    """`found` with the entries of the texts `which` as in `better`."""
    starts = np.cumsum(found.counts) - found.counts
    places, _ = spans(starts[which], found.counts[which])
    values = {name: kept.copy() for name, kept in found.values.items()}
    for name, kept in better.values.items():
        values[name][places] = kept
    return replace(found, values=values)


class _Found:
    """Collects batches and puts them into the order of the examples."""

    def __init__(self, n: int):
        self.counts = np.zeros(n, np.int64)
        self._which: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []
        self._kept: list[dict[str, np.ndarray]] = []

    def add(self, which: np.ndarray, batch: Batch, kept: dict[str, np.ndarray]) -> None:
        self.counts[which] = batch.counts
        self._which.append(which)
        self._targets.append(batch.targets[batch.places])
        self._kept.append(kept)

    def in_order(self) -> Outputs:
        if not self._which:
            return Outputs({}, np.zeros(0, np.int64), self.counts)
        owner = np.repeat(np.concatenate(self._which), self.counts[np.concatenate(self._which)])
        order = np.argsort(owner, kind="stable")
        values = {name: np.concatenate([kept[name] for kept in self._kept])[order] for name in self._kept[0]}
        return Outputs(values, np.concatenate(self._targets)[order], self.counts)


@torch.inference_mode()
def _kept(model: Any, task: Task, batch: Batch, forward: Forward) -> dict[str, np.ndarray] | None:
    """None if memory ran out."""
    try:
        targets, _ = forward.targets(model, batch)
        return {name: tensor.cpu().numpy() for name, tensor in task.keep(forward.logits(model, batch), targets).items()}
    except RuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        return None


def _smaller(budget: Budget, largest: int) -> Budget:
    memory.free()
    if largest == 1:
        raise JobFailed("engine.out_of_memory_scoring")
    return budget.halved(largest)
