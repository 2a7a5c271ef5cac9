"""Fine-tuning as a generator of events: pull, not callbacks. Read `finetune` first.

Whoever pulls decides: a test is ``list(finetune(parts))``, and closing the generator ends the run at a step border. What later
methods need to change is passed in or looked up in one place: the losses and weights of examples (`Task.example_losses`,
`Examples.weights`), the batches (`EpochPlan`), the step (`StepFunction`), parameter groups and `between_steps`.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from time import perf_counter, sleep
from typing import Literal

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import Command, ReadCommand
from fm_notebook.engine import checkpoints, evaluation, optim
from fm_notebook.engine.run import Parts, Run
from fm_notebook.errors import JobFailed

POLL_SECONDS = 0.1
QUICK_SECONDS = 5.0
"""A stop still evaluates if the evaluation before took less than this."""

Over = Literal["finished", "stopped", "cancelled"]


def finetune(parts: Parts, command: ReadCommand = lambda: "run") -> Iterator[ev.Event]:
    """Train `parts.model`, from the newest whole checkpoint if there is one; the last event is `Ended`.

    Each pass of the loop reads the user's command and does one thing. The best weights by the run's metric end in
    ``parts.result``. A stopped run keeps its checkpoints to be resumed, a finished one has no use for them and removes them.

    Raises
    ------
    JobFailed
        Loss or gradient is not finite, memory does not suffice for one example, the disk is full. The last checkpoint stays.
    """
    run = Run(parts)
    yield from run.resume()
    run.try_first_batch()
    yield run.started()
    while (wish := command()) not in ("stop", "cancel"):
        if wish == "pause":
            yield from _pause(run, command)
        elif run.evaluation_is_due():
            yield from _evaluate(run, command, until=frozenset({"stop", "cancel"}))
        elif run.is_over():
            yield from _end(run, "finished")
            shutil.rmtree(parts.checkpoints, ignore_errors=True)
            return
        elif run.save_is_due():
            yield from _save(run)
        else:
            yield from _step(run)
            parts.between_steps(parts.model)
    if wish == "stop":
        yield from _stop(run, command)
    if wish == "cancel" or command() == "cancel":
        yield ev.Ended(state="cancelled", step=run.state.step)
    else:
        yield from _end(run, "stopped")


def _pause(run: Run, command: ReadCommand) -> Iterator[ev.Event]:
    yield ev.Paused(step=run.state.step)
    while (wish := command()) == "pause":
        sleep(POLL_SECONDS)
    if wish == "run":
        yield ev.Unpaused(step=run.state.step)


def _stop(run: Run, command: ReadCommand) -> Iterator[ev.Event]:
    """Save first: stopping takes no longer than that. Then score these weights if nothing is scored yet, or it is quick."""
    state = run.state
    yield ev.Stopping(step=state.step)
    if run.saved_step != state.step:
        yield from _save(run)
    if state.best is None or (run.evaluation_seconds < QUICK_SECONDS and not run.is_evaluated()):
        yield from _evaluate(run, command, until=frozenset({"cancel"}))


def _end(run: Run, state: Over) -> Iterator[ev.Event]:
    checkpoints.publish(run.parts.checkpoints, run.result().best_step, run.parts.result)
    yield ev.Ended(state=state, step=run.state.step, result=run.result())


def _step(run: Run) -> Iterator[ev.Event]:
    state, began = run.state, perf_counter()
    rows = run.plan.rows(state.step)
    learning_rate = run.schedule(state.step)
    gradient = None
    while gradient is None:
        gradient = run.try_gradient(rows)
        if gradient is None:
            yield ev.MemoryShrunk(step=state.step + 1, micro_batch_size=state.micro_batch_size)
    if not (math.isfinite(gradient.loss) and math.isfinite(gradient.norm)):
        named = ", ".join(map(str, run.parts.train.rows[rows][:10]))
        raise JobFailed("engine.not_finite", step=state.step + 1, rows=named, saved=max(run.saved_step, 0))
    optim.set_learning_rate(run.optimizer, learning_rate)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    state.step += 1
    state.examples += len(rows)
    state.tokens += gradient.tokens
    seconds = perf_counter() - began
    state.spend("train", seconds)
    yield ev.StepEnded(
        step=state.step, epoch=run.epoch, loss=gradient.loss, learning_rate=learning_rate, grad_norm=gradient.norm,
        examples=len(rows), tokens=gradient.tokens, seconds=seconds, memory_bytes=run.peak.see(),
    )  # fmt: skip


def _evaluate(run: Run, command: ReadCommand, until: frozenset[Command]) -> Iterator[ev.Event]:
    parts, state, began = run.parts, run.state, perf_counter()
    yield ev.PhaseBegan(phase="evaluating")
    size = max(state.micro_batch_size, min(64, parts.spec.batch_size * 2))
    logits = yield from evaluation.outputs(
        parts.model, parts.held_out.tokens, state.precision, batch_size=size, command=command, until=until
    )
    if logits is None:
        return
    scores = evaluation.held_out_scores(parts.task, logits, parts.held_out.targets, step=state.step, seed=parts.spec.seed)
    run.evaluation_seconds = perf_counter() - began
    state.spend("evaluate", run.evaluation_seconds)
    best = state.record(scores, run.metric, parts.task.metrics[run.metric])
    if best:
        with run.timed("save"):
            checkpoints.save_best(parts.checkpoints, state.step, parts.model, parts.tokenizer)
    yield ev.EvalEnded(
        step=state.step, epoch=run.epoch, metrics=scores.metrics, intervals=scores.intervals, n=len(parts.held_out),
        seconds=run.evaluation_seconds, best=best,
    )  # fmt: skip


def _save(run: Run) -> Iterator[ev.Event]:
    parts, state, began = run.parts, run.state, perf_counter()
    yield ev.PhaseBegan(phase="saving")
    with run.timed("save"):
        folder = checkpoints.save(parts.checkpoints, state, parts.model, run.optimizer)
        checkpoints.prune(parts.checkpoints, state, parts.spec.keep_checkpoints)
    run.saved_step = state.step
    yield ev.CheckpointSaved(step=state.step, folder=str(folder), seconds=perf_counter() - began)
