"""A run on its way: its state, and what the loop asks of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter

import torch

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import RunResult
from fm_notebook.engine import checkpoints, estimate, flops, memory, optim, sharding
from fm_notebook.engine.bad_batch import save_bad_batch
from fm_notebook.engine.batching import Batch, Budget, largest_piece, micro_batches
from fm_notebook.engine.determinism import Repeatable
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.kernels import graphs
from fm_notebook.engine.parts import Parts, budget
from fm_notebook.engine.pending import Pending
from fm_notebook.engine.plans import plan_of
from fm_notebook.engine.precision import LossScale
from fm_notebook.engine.saving import Writer
from fm_notebook.engine.state import RunState
from fm_notebook.engine.step import summed, weighted_loss
from fm_notebook.errors import JobFailed, SpecError


class Run:
    """`parts` on their way: optimiser, schedule and plan, begun anew or where the newest whole checkpoint left off.

    Attributes
    ----------
    pending : Pending
        Steps whose numbers are not reported yet.
    taken_step, saved_step : int
        Step of the newest checkpoint that is being written, and of the newest that is whole; -1 without one.
    overflows : int
        Steps in a row whose gradient overflowed in fp16.
    evaluation_seconds : float
        What the newest evaluation took; infinite before the first.
    """

    def __init__(self, parts: Parts):
        spec = parts.spec
        self._overhead = estimate.overhead(parts.model, parts.idle_memory)
        self.parts, self.device = parts, next(parts.model.parameters()).device
        self.repeatable = Repeatable(self.device)
        self.metric = spec.metric or next(iter(parts.task.metrics))
        if self.metric not in parts.task.metrics:
            raise SpecError("engine.unknown_metric", metric=self.metric, known=", ".join(parts.task.metrics))
        self.plan = parts.plan or plan_of(parts.train, spec.batching, spec.batch_size, spec.seed)
        self.total_steps = spec.max_steps or math.ceil(spec.epochs * self.plan.steps_per_epoch)
        self.schedule = optim.schedule(spec.lr_schedule, spec.learning_rate, spec.warmup_steps, self.total_steps)
        self.optimizer = optim.adamw(parts.parameter_groups(parts.model, spec.weight_decay), spec.learning_rate)
        if parts.vocabulary:
            parts.vocabulary.decay(self.optimizer)
        self.peak, self.pending = memory.Peak(self.device), Pending(self.device)
        self.taken_step = self.saved_step = -1
        self.overflows = 0
        self.evaluation_seconds, self.cost = math.inf, flops.cost_of(parts.model)
        self.writer = Writer(parts.checkpoints, spec.keep_checkpoints) if parts.world.is_first else None
        most = budget(parts.model, parts.task, spec.batch_size)
        if micro := spec.micro_batch_size:
            most = Budget(micro, micro * parts.train.tokens.limit)
        self.state = RunState(most.texts, most.tokens, parts.precision, parts.layout, torch.get_num_threads())
        self._begin()
        torch.manual_seed(spec.seed)
        parts.model.train()

    def _begin(self) -> None:
        """What follows from the measured choices."""
        self.forward = Forward(self.state.precision, self.state.layout, self.parts.shards and self.parts.shards.through)
        self.scale = LossScale(self.state.precision, self.device)
        self.scale.restore(self.state.loss_scale)
        self.step_function = graphs.step_function(self.parts, self.forward, self.device)

    def resume(self) -> Iterator[ev.Event]:
        """Go to the newest whole checkpoint, if there is one, with its measured choices."""
        found = self.parts.world.ask_first(lambda: checkpoints.find(self.parts.checkpoints))
        for each in found.passed_over:
            yield ev.Noted(key=each.note, values=dict(each.values), level="warning")
        if self.writer:
            checkpoints.set_aside(found)
        if checkpoint := found.checkpoint:
            torch.set_num_threads(checkpoint.state.threads)
            checkpoints.restore(checkpoint, self.parts.model, self.optimizer)
            self.state = checkpoint.state
            self.state.layout = self.parts.layout  # the same but for rounding; `changed` below says where versions differ
            self.taken_step = self.saved_step = self.state.step
            self._begin()
            here = checkpoints.versions(self.parts.model)
            changed = [
                f"{name} {old} → {here[name]}" for name, old in checkpoint.written_by.items() if here.get(name, old) != old
            ]
            if changed:
                yield ev.Noted(key="resumed_elsewhere", values={"changed": ", ".join(changed)}, level="warning")
        for phase, seconds in self.parts.seconds.items():
            self.state.spend(phase, seconds)
        yield from self._shrink_after_kills()
        absent = self.parts.vocabulary.absent_bytes if self.parts.vocabulary else 0
        self.memory = estimate.estimate(
            self.parts.model, self.parts.train, self.state.budget, self.forward, self.parts.spec.batch_size,
            saves=estimate.saves(self.parts.model, absent) if self.checkpoints_saved else 0, overhead=self._overhead,
        )  # fmt: skip
        if tight := estimate.note(self.memory, self.device, resumed=found.checkpoint is not None):
            yield tight

    def _shrink_after_kills(self) -> Iterator[ev.Event]:
        """Where one text alone was too much, it is tried again: what else took memory may be gone."""
        for _ in range(self.parts.kills):
            if (largest := largest_piece(self.batch(), self.state.budget, padded=self.forward.padded)) > 1:
                self.state.shrink(largest)
                yield ev.MemoryShrunk(step=self.state.step + 1, micro_batch_size=self.state.micro_batch_size)

    @torch.no_grad()
    def try_first_batch(self) -> None:
        """Send the next micro-batch forward, so that what is set up wrongly fails before the run counts as started.

        Without dropout, so no generator moves; too little memory is left to the step, which mends it.
        """
        batch = next(micro_batches(self.batch(), self.state.budget, padded=self.forward.padded))
        self.parts.model.eval()
        try:
            weighted_loss(self.parts.model, self.parts.task, batch, self.forward)
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
        finally:
            self.parts.model.train()

    def batch(self, step: int | None = None) -> Batch:
        """The examples of the step after `step` done ones; without it, of the next."""
        step = self.state.step if step is None else step
        return self.parts.train.batch(self.plan.rows(step), step // self.plan.steps_per_epoch)

    def started(self) -> ev.Started:
        """The event that says so."""
        with self._whole():
            sizes = [(p.numel(), p.requires_grad) for p in self.parts.model.parameters()]
        return ev.Started(
            step=self.state.step, total_steps=self.total_steps, steps_per_epoch=self.plan.steps_per_epoch,
            examples=len(self.parts.train), parameters=sum(n for n, _ in sizes),
            trainable_parameters=sum(n for n, trained in sizes if trained), device=str(self.device),
            precision=self.state.precision, micro_batch_size=self.state.micro_batch_size, metric=self.metric,
            metric_goal=self.parts.task.metrics[self.metric],
            provenance={
                **self.parts.provenance, "estimated_memory": self.memory.to_json(), "idle_memory": self.parts.idle_memory,
                "records_steps": self.step_function is not self.parts.step_function,
            },
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

    @property
    def evaluations(self) -> int:
        """How many there are if the run goes to its end."""
        return math.ceil(self.total_steps / self._steps(self.parts.spec.eval_every or self.plan.steps_per_epoch))

    @property
    def checkpoints_saved(self) -> int:
        """How many are saved if the run goes to its end, where there is none."""
        every = self.parts.spec.save_every
        return self.evaluations - 1 if every is None else (self.total_steps - 1) // self._steps(every)

    def save_is_due(self) -> bool:
        """At every so many steps, or with each evaluation."""
        every = self.parts.spec.save_every
        due = self.is_evaluated() if every is None else self.state.step > 0 and self.state.step % self._steps(every) == 0
        return due and self.taken_step != self.state.step

    def try_gradient(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Loss and gradient norm of the step, still on the device; None if memory ran out: all is as before, but for the budget.

        Raises
        ------
        JobFailed
            If one example alone does not fit.
        """
        parts, message = self.parts, ""
        parts.world.seed(parts.spec.seed, self.state.step)
        before = checkpoints.generators()
        mine = batch if parts.shards or parts.world.size == 1 else batch.take(parts.world.share(len(batch)))
        loss = torch.zeros((), device=self.device)
        try:
            if len(mine):
                with self.repeatable.kernels():
                    loss = self.step_function(parts.model, parts.task, mine, self.forward, self.state.budget, self.scale.backward)
        except RuntimeError as error:
            if self.repeatable.gives_up(error):
                if parts.shards:
                    parts.shards.start_again()
                self._undo(before)
                return self.try_gradient(batch)
            if not memory.is_out_of_memory(error):
                raise
            message = str(error).partition("\n")[0]
        if not parts.world.any(bool(message)):
            found = parts.shards.summed(loss, self.optimizer) if parts.shards else summed(loss, self.optimizer, parts.world)
            return found[0], found[1] / self.scale.value
        self._undo(before)
        memory.free()
        shares = [batch.take(share) for share in parts.world.shares(len(batch))]
        largest = max(largest_piece(share, self.state.budget, padded=self.forward.padded) for share in shares)
        if largest == 1:
            raise JobFailed("engine.out_of_memory", step=self.state.step + 1, message=message, saved=max(self.taken_step, 0))
        self.state.shrink(largest)
        return None

    def _undo(self, before: dict[str, torch.Tensor]) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        checkpoints.set_generators(before)

    def apply(self, loss: torch.Tensor, norm: torch.Tensor, learning_rate: float) -> None:
        """Step the optimiser with the clipped gradient; weights stay as they are where loss or gradient is not finite."""
        bad = (~(loss.isfinite() & norm.isfinite())).float()
        optim.step(self.optimizer, learning_rate, optim.clip_scale(norm, self.parts.spec.max_grad_norm) * self.scale.value, bad)
        self.scale.update(bad)

    def result(self) -> RunResult:
        """What the run came to so far; there has been an evaluation."""
        state = self.state
        assert state.best is not None
        seconds = state.seconds.get("train") or math.inf
        return RunResult(
            metrics=state.best.metrics, intervals=state.best.intervals, best_step=state.best.step, steps=state.step,
            metric=self.metric, n_eval=self.parts.held_out.distinct_rows, seconds=dict(state.seconds),
            examples_per_second=state.examples / seconds, tokens_per_second=state.tokens / seconds,
            useful_flops_per_second=self.cost.training(state.tokens, state.squares) / seconds, peak_memory_bytes=self.peak.bytes,
        )  # fmt: skip

    @property
    def evaluation_budget(self) -> Budget:
        """Twice the training's: no gradient is kept. A GPU is not filled by few texts."""
        least = 0 if self.device.type == "cpu" else 256
        return Budget(max(4 * self.state.micro_batch_size, least), 2 * self.state.micro_batch_tokens)

    def save(self) -> None:
        """Have a checkpoint written beside the next steps."""
        self.taken_step, self.state.loss_scale = self.state.step, self.scale.to_json()
        if self.writer:
            with self.timed("save"):
                self.writer.save(self.state, self.parts.model, self.optimizer)
        elif self.parts.shards:
            checkpoints.lend(self.parts.model, self.optimizer)

    def save_best(self) -> None:
        """Have the model as it is now written as the best so far."""
        if self.writer:
            with self.timed("save"), self._whole():
                self.writer.save_best(self.state.step, self.parts.model, self.parts.tokenizer)
        elif self.parts.shards:
            sharding.lend(self.parts.model.state_dict(keep_vars=True).values())

    def _whole(self) -> AbstractContextManager[None]:
        """Within it, the model has the vectors of all words."""
        return self.parts.vocabulary.whole() if self.parts.vocabulary else nullcontext()

    def saved(self, *, wait: bool = False) -> Iterator[ev.CheckpointSaved]:
        """Tell of the checkpoints that have become whole; if asked, once all are."""
        if self.writer:
            for each in self.writer.drain() if wait else self.writer.finished():
                self.saved_step = each.step
                yield ev.CheckpointSaved(step=each.step, folder=str(each.folder), seconds=each.seconds)

    def keep_bad_batch(self, step: int) -> None:
        """Write down the examples of `step`, drawn again, for whoever looks for what made its loss no number."""
        if self.writer:
            save_bad_batch(self.parts.checkpoints.parent, step, self.batch(step - 1))

    def close(self) -> None:
        """Wait for what is being written."""
        if self.writer:
            self.writer.close()

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add what the block takes to the wall time of `phase`."""
        began = perf_counter()
        yield
        self.state.spend(phase, perf_counter() - began)

    def _steps(self, every: float) -> int:
        return max(1, round(every * self.plan.steps_per_epoch) if every < 1 else int(every))
