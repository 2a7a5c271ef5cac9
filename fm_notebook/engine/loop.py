"""Fine-tuning as a generator of events: pull, not callbacks. Read `finetune` first.

Whoever pulls decides: a test is ``list(finetune(parts))``, and closing the generator ends the run at a step border. What later
methods need to change is passed in or looked up in one place: the losses and weights of targets (`Task.losses`,
`Examples.weights`), the batches (`Plan`), the step (`StepFunction`), parameter groups and `between_steps`.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Generator, Iterator
from time import perf_counter, sleep
from typing import Literal

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import Command, ReadCommand
from fm_notebook.engine import checkpoints, evaluation
from fm_notebook.engine.parts import Parts
from fm_notebook.engine.run import Run
from fm_notebook.engine.state import Scores
from fm_notebook.errors import JobFailed

POLL_SECONDS = 0.1
QUICK_SECONDS = 5.0
"""A stop still evaluates if the evaluation before took less than this."""

MOST_OVERFLOWS = 40
"""Steps in a row that fp16 may skip: by then the loss scale has fallen from 65,536 to nothing."""

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
    try:
        yield from run.resume()
        run.try_first_batch()
        yield run.started()
        if not run.state.step:
            yield from _look(run)
        yield from _train(run, command)
    except JobFailed:
        yield from run.saved(wait=True)
        raise
    finally:
        run.close()


def _train(run: Run, command: ReadCommand) -> Iterator[ev.Event]:
    parts, world = run.parts, run.parts.world
    while (wish := world.command(command())) not in ("stop", "cancel"):
        yield from run.saved()
        if wish == "pause":
            yield from _pause(run, command)
        elif run.evaluation_is_due():
            yield from _evaluate(run, command, until=frozenset({"stop", "cancel"}))
        elif run.is_over():
            yield from _end(run, "finished")
            return
        elif run.save_is_due():
            yield from _save(run)
        else:
            yield from _step(run)
            parts.between_steps(parts.model)
            yield from _look(run)
    if wish == "stop":
        yield from _stop(run, command)
    if wish == "cancel" or world.command(command()) == "cancel":
        yield from _report(run, all_steps=True)
        yield from run.saved(wait=True)
        yield ev.Ended(state="cancelled", step=run.state.step)
    else:
        yield from _end(run, "stopped")


def _pause(run: Run, command: ReadCommand) -> Iterator[ev.Event]:
    yield from _report(run, all_steps=True)
    yield ev.Paused(step=run.state.step)
    while (wish := run.parts.world.command(command())) == "pause":
        sleep(POLL_SECONDS)
    if wish == "run":
        yield ev.Unpaused(step=run.state.step)


def _stop(run: Run, command: ReadCommand) -> Iterator[ev.Event]:
    """Save first: stopping takes no longer than that. Then score these weights if nothing is scored yet, or it is quick."""
    state = run.state
    yield from _report(run, all_steps=True)
    yield ev.Stopping(step=state.step)
    if run.taken_step != state.step:
        yield from _save(run)
    yield from run.saved(wait=True)
    if state.best is None or (run.evaluation_seconds < QUICK_SECONDS and not run.is_evaluated()):
        yield from _evaluate(run, command, until=frozenset({"cancel"}))


def _end(run: Run, state: Over) -> Iterator[ev.Event]:
    parts = run.parts
    yield from run.saved(wait=True)
    if parts.world.is_first:
        checkpoints.publish(parts.checkpoints, run.result().best_step, parts.result)
    yield ev.Ended(state=state, step=run.state.step, result=run.result())
    if state == "finished" and parts.world.is_first:
        shutil.rmtree(parts.checkpoints, ignore_errors=True)


def _step(run: Run) -> Iterator[ev.Event]:
    state, began = run.state, perf_counter()
    batch, learning_rate = run.batch(), run.schedule(state.step)
    found = None
    while found is None:
        found = run.try_gradient(batch)
        if found is None:
            yield ev.MemoryShrunk(step=state.step + 1, micro_batch_size=state.micro_batch_size)
    run.apply(*found, learning_rate)
    state.step += 1
    state.examples += len(batch)
    state.tokens += len(batch.ids)
    state.squares += int((batch.lengths**2).sum())
    seconds = perf_counter() - began
    state.spend("train", seconds)
    run.pending.add(*found, batch.rows, {
        "step": state.step, "epoch": run.epoch, "learning_rate": learning_rate, "examples": len(batch),
        "tokens": len(batch.ids), "seconds": seconds, "memory_bytes": run.peak.see(),
    })  # fmt: skip
    yield from _report(run)


def _look(run: Run) -> Iterator[ev.Event]:
    """What the first process sees of the model between two steps; the time that it takes is no step's."""
    if not run.parts.world.is_first:
        return
    began, seen = perf_counter(), False
    for event in run.parts.look(run.state.step, run.epoch):
        seen = True
        yield event
    if seen:
        run.state.spend("probe", perf_counter() - began)


def _report(run: Run, *, all_steps: bool = False) -> Iterator[ev.StepEnded]:
    """Tell of the steps whose numbers have come; the host waits for none of them unless it must know them all."""
    for step in run.pending.ready(all_of_them=all_steps):
        overflowed = run.scale.is_on and math.isfinite(step.loss)  # a smaller scale mends the gradient, but no loss
        if not (math.isfinite(step.norm) and math.isfinite(step.loss)) and not overflowed:
            named = ", ".join(map(str, step.rows[:10]))
            run.keep_bad_batch(step.facts["step"])
            raise JobFailed("engine.not_finite", step=step.facts["step"], rows=named, saved=max(run.taken_step, 0))
        run.overflows = 0 if math.isfinite(step.norm) else run.overflows + 1
        if run.overflows > MOST_OVERFLOWS:
            raise JobFailed("engine.always_overflows", step=step.facts["step"], n=run.overflows, saved=max(run.taken_step, 0))
        run.state.spend("train", step.waited)
        facts = {**step.facts, "seconds": step.facts["seconds"] + step.waited}
        yield ev.StepEnded(loss=step.loss, grad_norm=step.norm, **facts)


def _evaluate(run: Run, command: ReadCommand, until: frozenset[Command]) -> Iterator[ev.Event]:
    parts, state = run.parts, run.state
    yield from _report(run, all_steps=True)
    yield ev.PhaseBegan(phase="evaluating")
    found = (yield from _scores(run, command, until)) if parts.world.is_first or parts.shards else None
    found = parts.world.tell(found)
    if found is None:
        return
    scores, run.evaluation_seconds = found
    state.spend("evaluate", run.evaluation_seconds)
    best = state.record(scores, run.metric, parts.task.metrics[run.metric])
    if best:
        run.save_best()
    yield ev.EvalEnded(
        step=state.step, epoch=run.epoch, metrics=scores.metrics, intervals=scores.intervals, n=parts.held_out.distinct_rows,
        seconds=run.evaluation_seconds, best=best,
    )  # fmt: skip


def _scores(run: Run, command: ReadCommand, until: frozenset[Command]) -> Generator[ev.Event, None, tuple[Scores, float] | None]:
    """Held-out scores and the seconds they took; None if a command came in between, and in all processes but the first."""
    parts, began = run.parts, perf_counter()
    wish = (lambda: parts.world.command(command())) if parts.shards else command  # all go through the model, or none
    outputs = yield from evaluation.outputs(
        parts.model, parts.task, parts.held_out, run.forward, run.evaluation_budget, command=wish, until=until
    )
    if outputs is None or not parts.world.is_first:
        return None
    found = parts.task.report(outputs, parts.labels, seed=parts.spec.seed)
    return Scores.of(run.state.step, [found[name] for name in parts.task.metrics]), perf_counter() - began


def _save(run: Run) -> Iterator[ev.Event]:
    yield from _report(run, all_steps=True)
    yield ev.PhaseBegan(phase="saving")
    run.save()
