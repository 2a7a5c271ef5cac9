"""A run in the making: its parts, its state, and what the loop asks of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import Task
from fm_notebook.contracts.results import RunResult
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.engine import checkpoints, memory, optim
from fm_notebook.engine.batching import EpochPlan, Examples
from fm_notebook.engine.precision import Precision
from fm_notebook.engine.state import RunState
from fm_notebook.engine.step import Gradient, StepFunction, accumulate, clip, example_losses
from fm_notebook.errors import JobFailed, SpecError

CPU_MICRO_BATCH = 16
"""Unless the user asks for another size: half the memory of 32 (0.3 GB for MiniLM) and less padding at no cost in time."""


def _nothing(model: Any) -> None:
    del model


@dataclass(frozen=True)
class Parts:
    """All that a run is made of.

    Attributes
    ----------
    model : PreTrainedModel
        On its device; trained in place.
    checkpoints, result : Path
        Folders of the checkpoints and of the best model at the end.
    seconds : dict
        Wall seconds spent on ``load`` and ``tokenize`` before.
    step_function, between_steps : callable
        Seams for other methods of training.
    """

    spec: FinetuneSpec
    task: Task
    model: Any
    tokenizer: Any
    train: Examples
    held_out: Examples
    precision: Precision
    checkpoints: Path
    result: Path
    provenance: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    step_function: StepFunction = accumulate
    between_steps: Callable[[Any], None] = _nothing


class Run:
    """`parts` on their way: optimiser, schedule and plan, begun anew or where the newest whole checkpoint left off.

    Attributes
    ----------
    saved_step : int
        Step of the newest whole checkpoint; -1 without one.
    evaluation_seconds : float
        What the newest evaluation took; infinite before the first.
    """

    def __init__(self, parts: Parts):
        spec = parts.spec
        self.parts, self.device = parts, next(parts.model.parameters()).device
        self.metric = spec.metric or next(iter(parts.task.metrics))
        if self.metric not in parts.task.metrics:
            raise SpecError("engine.unknown_metric", metric=self.metric, known=", ".join(parts.task.metrics))
        self.plan = EpochPlan(len(parts.train), spec.batch_size, spec.seed)
        self.total_steps = spec.max_steps or math.ceil(spec.epochs * self.plan.steps_per_epoch)
        self.schedule = optim.schedule(spec.lr_schedule, spec.learning_rate, spec.warmup_steps, self.total_steps)
        self.optimizer = optim.adamw(optim.parameter_groups(parts.model, spec.weight_decay), spec.learning_rate)
        self.peak = memory.Peak(self.device)
        self.saved_step, self.evaluation_seconds = -1, math.inf
        most = CPU_MICRO_BATCH if self.device.type == "cpu" else spec.batch_size
        micro = min(spec.micro_batch_size or most, spec.batch_size)
        self.state = RunState(micro, parts.precision, torch.get_num_threads())
        torch.manual_seed(spec.seed)
        parts.model.train()

    def resume(self) -> Iterator[ev.Event]:
        """Go to the newest whole checkpoint, if there is one, with its measured choices."""
        if checkpoint := checkpoints.newest(self.parts.checkpoints):
            torch.set_num_threads(checkpoint.state.threads)
            checkpoints.restore(checkpoint, self.parts.model, self.optimizer)
            self.state, self.saved_step = checkpoint.state, checkpoint.state.step
            here = checkpoints.versions(self.parts.model)
            changed = [f"{name} {old} → {here[name]}" for name, old in checkpoint.written_by.items() if here[name] != old]
            if changed:
                yield ev.Noted(key="resumed_elsewhere", values={"changed": ", ".join(changed)}, level="warning")
        for phase, seconds in self.parts.seconds.items():
            self.state.spend(phase, seconds)

    @torch.no_grad()
    def try_first_batch(self) -> None:
        """Send the next micro-batch forward, so that what is set up wrongly fails before the run counts as started.

        Without dropout, so no generator moves; too little memory is left to the step, which mends it.
        """
        rows = self.plan.rows(self.state.step)[: self.state.micro_batch_size]
        self.parts.model.eval()
        try:
            example_losses(self.parts.model, self.parts.task, self.parts.train, rows, self.state.precision)
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
        finally:
            self.parts.model.train()

    def started(self) -> ev.Started:
        """The event that says so."""
        sizes = [(p.numel(), p.requires_grad) for p in self.parts.model.parameters()]
        return ev.Started(
            step=self.state.step, total_steps=self.total_steps, steps_per_epoch=self.plan.steps_per_epoch,
            examples=len(self.parts.train), parameters=sum(n for n, _ in sizes),
            trainable_parameters=sum(n for n, trained in sizes if trained), device=str(self.device),
            precision=self.state.precision, micro_batch_size=self.state.micro_batch_size, metric=self.metric,
            metric_goal=self.parts.task.metrics[self.metric], provenance=self.parts.provenance,
        )  # fmt: skip

    @property
    def epoch(self) -> float:
        """Epochs done, with their fraction."""
        return self.state.step / self.plan.steps_per_epoch

    def is_over(self) -> bool:
        """Whether no step is left, or the metric has not risen for long enough."""
        patience = self.parts.spec.early_stopping
        return self.state.step >= self.total_steps or (patience is not None and self.state.without_gain >= patience)

    def is_evaluated(self) -> bool:
        """Whether the weights as they are now have been scored."""
        return self.state.last is not None and self.state.last.step == self.state.step

    def evaluation_is_due(self) -> bool:
        """At every so many steps and at the end, once."""
        every = self._steps(self.parts.spec.eval_every or self.plan.steps_per_epoch)
        return self.state.step > 0 and not self.is_evaluated() and (self.state.step % every == 0 or self.is_over())

    def save_is_due(self) -> bool:
        """At every so many steps, or with each evaluation."""
        every = self.parts.spec.save_every
        due = self.is_evaluated() if every is None else self.state.step > 0 and self.state.step % self._steps(every) == 0
        return due and self.saved_step != self.state.step

    def try_gradient(self, rows: np.ndarray) -> Gradient | None:
        """The step's gradient, clipped; None if memory ran out: all is as before, but for smaller micro-batches.

        Raises
        ------
        JobFailed
            If one example alone does not fit.
        """
        parts, before = self.parts, checkpoints.generators()
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        try:
            loss, tokens = parts.step_function(
                parts.model, parts.task, parts.train, rows, self.state.micro_batch_size, self.state.precision
            )
            return Gradient(float(loss), float(clip(trained, parts.spec.max_grad_norm)), tokens)
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
            message = str(error).partition("\n")[0]
        self.optimizer.zero_grad(set_to_none=True)
        checkpoints.set_generators(before)
        memory.free()
        if self.state.micro_batch_size == 1:
            raise JobFailed("engine.out_of_memory", step=self.state.step + 1, message=message, saved=max(self.saved_step, 0))
        self.state.micro_batch_size = min(self.state.micro_batch_size, len(rows)) // 2 or 1
        return None

    def result(self) -> RunResult:
        """What the run came to so far; there has been an evaluation."""
        state = self.state
        assert state.best is not None
        seconds = state.seconds.get("train") or math.inf
        return RunResult(
            metrics=state.best.metrics, intervals=state.best.intervals, best_step=state.best.step, steps=state.step,
            metric=self.metric, n_eval=len(self.parts.held_out), seconds=dict(state.seconds),
            examples_per_second=state.examples / seconds, tokens_per_second=state.tokens / seconds,
            peak_memory_bytes=self.peak.bytes,
        )  # fmt: skip

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add what the block takes to the wall time of `phase`."""
        began = perf_counter()
        yield
        self.state.spend(phase, perf_counter() - began)

    def _steps(self, every: float) -> int:
        return max(1, round(every * self.plan.steps_per_epoch) if every < 1 else int(every))
