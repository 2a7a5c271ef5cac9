"""A step's gradient recorded once for each shape and replayed: a GPU is done with a small model before the host has asked for it.

MiniLM takes 640 launches a step, 2 ms of a fast GPU's time and 15 of the host's; a replay is one. The very same kernels run in
the same order, with the random numbers that they would have drawn: on and off agree to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts.protocols import Task
from fm_notebook.engine import checkpoints, families, memory
from fm_notebook.engine.batching import Batch, Budget, micro_batches, to_device
from fm_notebook.engine.flops import cost_of
from fm_notebook.engine.forward import Forward, row
from fm_notebook.engine.packing import Pack, pack
from fm_notebook.engine.parts import Parts, nothing
from fm_notebook.engine.precision import autocast
from fm_notebook.engine.step import Backward, StepFunction, accumulate

MOST_GRAPHS = 64
LARGEST_STEP = 1e13
"""FLOP of a step above which its kernels take longer than launching them, and memory counts more."""


def step_function(parts: Parts, forward: Forward, device: torch.device) -> StepFunction:
    """That of `parts`; the usual one recorded, where that can be and nothing looks into a step or between two."""
    usual = parts.step_function is accumulate and parts.between_steps is nothing and parts.world.size == 1
    if usual and parts.spec.kernels == "auto" and fits(parts.model, parts.task, forward, device):
        return Recorded(parts.spec.batch_size, cost_of(parts.model).parameters)
    return parts.step_function


FAMILIES = frozenset({"bert", "distilbert", "modernbert", "llama"})
"""Whose forward in transformers lets no host wait, and whose recorded steps were seen on a GPU to be the plain ones to the bit.
Found out in a recording, a wait would leave torch's generator unusable."""


def fits(model: Any, task: Task, forward: Forward, device: torch.device) -> bool:
    """Whether steps of `model` can be recorded: packed texts on CUDA, by a task of ours, whose losses wait for nothing either."""
    inner = families.unwrapped(model)
    plain = inner is model and type(inner).__module__.startswith("transformers.models.")  # no adapters
    known = plain and inner.config.model_type in FAMILIES
    packed = device.type == "cuda" and not torch.version.hip and not forward.padded
    ours = type(task).__module__.startswith("fm_notebook.tasks.") and task.level == "text"
    pooled = getattr(inner.config, "classifier_pooling", "cls") != "mean"  # its number of tokens is no shape
    recomputed = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    return known and packed and ours and pooled and not recomputed


@dataclass(frozen=True)
class _Inputs:
    """What a micro-batch is to the device, in two arrays: whole numbers, and the targets with their weights.

    `widths` are the lengths of ids, positions, lengths, starts, ends, boundaries and, where a text has them, type ids.
    """

    numbers: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    widths: tuple[int, ...]
    longest: int

    @classmethod
    def of(cls, batch: Batch, forward: Forward, model: Any, device: torch.device) -> _Inputs:
        plan = pack(batch.lengths, device, move=False)
        places = plan.positions, plan.lengths, plan.starts, plan.ends, plan.boundaries
        parts = [row(batch.ids, plan, batch.pad_id), *(part.numpy() for part in places)]
        if batch.type_ids is not None:
            parts.append(row(batch.type_ids, plan, 0))
        targets, weights = forward.targets(model, batch)
        widths = tuple(map(len, parts))
        return cls(to_device(np.concatenate(parts), device), targets, weights, widths, plan.longest)

    @property
    def shape(self) -> tuple[Any, ...]:
        """What a recording is good for."""
        return self.widths, self.longest, self.targets.shape, self.targets.dtype

    def plan(self) -> tuple[torch.Tensor, torch.Tensor | None, Pack]:
        """Ids, type ids and the plan, as views."""
        ids, positions, lengths, starts, ends, borders, *types = self.numbers.split(self.widths)
        sizes = np.zeros(0, np.int64)  # no groups are made of them
        plan = Pack(positions, lengths, starts, ends, 0, self.longest, borders.to(torch.int32), sizes)
        return ids, types[0] if types else None, plan


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: _Inputs
    loss: torch.Tensor
    gradients: dict[torch.nn.Parameter, torch.Tensor]

    def replay(self, given: _Inputs) -> torch.Tensor:
        pairs = ((self.inputs.numbers, given.numbers), (self.inputs.targets, given.targets), (self.inputs.weights, given.weights))
        for here, there in pairs:
            here.copy_(there)
        self.graph.replay()
        for parameter, gradient in self.gradients.items():
            parameter.grad = gradient
        return self.loss.clone()


class Recorded:
    """A step function that does what `accumulate` does.

    Steps of several micro-batches, smaller ones (the last of an epoch) and those of a model too large to gain are done as usual;
    all are, once recording has failed. Nothing may change what the model computes between steps but its weights.
    """

    def __init__(self, batch_size: int, parameters: int):
        self._batch_size, self._parameters, self._off = batch_size, parameters, False
        self._recordings: dict[tuple[Any, ...], _Recording] = {}
        self._gradients: dict[torch.nn.Parameter, torch.Tensor] = {}
        self._pool: Any = None
        self._places: list[int] = []

    def __call__(
        self, model: Any, task: Task, batch: Batch, forward: Forward, budget: Budget, backward: Backward
    ) -> torch.Tensor:
        """See `fm_notebook.engine.step.StepFunction`."""
        pieces = list(micro_batches(batch, budget, padded=False))
        if len(pieces) > 1:
            self._recordings.clear()  # memory was short
        large = 6.0 * self._parameters * len(batch.ids) > LARGEST_STEP
        if self._off or large or len(pieces) > 1 or len(batch) != self._batch_size or batch.features is not None:
            return accumulate(model, task, batch, forward, budget, backward)
        self._forget_if_moved(model)
        given = _Inputs.of(pieces[0], forward, model, next(model.parameters()).device)
        known = given.shape in self._recordings
        if known or (len(self._recordings) < MOST_GRAPHS and self._record(model, task, given, forward, backward)):
            return self._recordings[given.shape].replay(given)
        return accumulate(model, task, batch, forward, budget, backward)

    def _forget_if_moved(self, model: Any) -> None:
        """A recording knows weights by their address."""
        places = [p.data_ptr() for p in model.parameters()]
        if places != self._places:
            self._places = places
            self._recordings.clear()

    def _record(self, model: Any, task: Task, given: _Inputs, forward: Forward, backward: Backward) -> bool:
        before = checkpoints.generators()
        try:
            self._recordings[given.shape] = self._recording(model, task, given, forward, backward)
        except RuntimeError as error:
            self._off = True
            self._recordings.clear()
            if memory.is_out_of_memory(error):
                memory.free()
        finally:
            model.zero_grad(set_to_none=True)
            checkpoints.set_generators(before)
        return not self._off

    def _recording(self, model: Any, task: Task, given: _Inputs, forward: Forward, backward: Backward) -> _Recording:
        inputs = _Inputs(given.numbers.clone(), given.targets.clone(), given.weights.clone(), given.widths, given.longest)
        side, here = _stream(inputs.numbers.device), torch.cuda.current_stream(inputs.numbers.device)
        side.wait_stream(here)
        try:
            with torch.cuda.stream(side):  # libraries load what they need, which a recording cannot hold
                backward(_loss(model, task, inputs, forward))
        finally:
            here.wait_stream(side)  # else what it reads could be given away
        for p in model.parameters():
            if p.grad is not None and p not in self._gradients:
                self._gradients[p] = torch.empty_like(p)
            p.grad = None
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        mode = "thread_local"  # another thread may be saving
        with torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode=mode):
            loss = _loss(model, task, inputs, forward)
            backward(loss)
            found = {p: p.grad for p in model.parameters() if p.grad is not None}
            _copy_all([self._gradients[p] for p in found], list(found.values()))
        return _Recording(graph, inputs, loss.detach(), {p: self._gradients[p] for p in found})


_copy_all: Any = torch._foreach_copy_  # type: ignore[attr-defined] - one launch for all


@lru_cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One for all recordings: cuBLAS keeps 32 MB for each stream that it has seen."""
    return torch.cuda.Stream(device)


def _loss(model: Any, task: Task, inputs: _Inputs, forward: Forward) -> torch.Tensor:
    ids, types, plan = inputs.plan()
    with autocast(ids.device, forward.precision):
        logits = families.forward_texts(model, ids, plan, types).float()
    return (task.losses(logits, inputs.targets) * inputs.weights).sum()
