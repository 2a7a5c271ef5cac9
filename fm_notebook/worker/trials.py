"""What is tried of a run without doing it: dry runs and learning-rate range tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import ReadCommand
from fm_notebook.contracts.results import DataFacts, Interval
from fm_notebook.contracts.specs import DryRunSpec, FindLearningRateSpec, FinetuneSpec
from fm_notebook.contracts.trials import Estimate, LearningRateCurve
from fm_notebook.engine import estimate, frozen
from fm_notebook.engine.batching import Examples
from fm_notebook.engine.dry_run import Tried, try_steps
from fm_notebook.engine.parts import Parts
from fm_notebook.engine.range_test import range_test
from fm_notebook.engine.run import Run
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.metrics.intervals import mean_t
from fm_notebook.metrics.learning_rates import smooth, suggestions
from fm_notebook.worker import training

PERCENTILES = (50, 90, 99, 100)
SOME = 256
"""Texts that a frozen backbone reads in a dry run, of each table; the time for all follows."""


def dry_run(folder: JobFolder, asked: DryRunSpec, command: ReadCommand) -> Iterator[ev.Event]:
    """Say what the run would take; the rows are removed from `folder`."""
    try:
        if asked.run.fsdp:
            yield ev.Noted(key="sharding.tried")
        made = yield from training.prepare(folder, _alone(asked.run), command, features=_some_features)
        if made is None:
            yield ev.Ended(state="cancelled")
            return
        parts, techniques = made
        try:
            yield from _dry_run(folder, parts, command)
        finally:
            techniques.undo()
    finally:
        _remove_rows(folder)


def find_lr(folder: JobFolder, asked: FindLearningRateSpec, command: ReadCommand) -> Iterator[ev.Event]:
    """Sweep the learning rate; the rows are removed from `folder`."""
    try:
        made = yield from training.prepare(folder, _alone(asked.run), command)
        if made is None:
            yield ev.Ended(state="cancelled")
            return
        parts, techniques = made
        try:
            found = yield from range_test(parts, command, lowest=asked.lowest, highest=asked.highest, steps=asked.steps)
        finally:
            techniques.undo()
    finally:
        _remove_rows(folder)
    if found is None:
        yield ev.Ended(state="cancelled")
        return
    smoothed, spec = smooth(found.losses), asked.run
    curve = LearningRateCurve(
        name=folder.identity.name, model=spec.model.source, task=spec.task, learning_rates=found.learning_rates,
        losses=found.losses, smoothed=smoothed, suggestions=suggestions(found.learning_rates, smoothed),
        learning_rate=spec.learning_rate, ended=found.ended, examples=found.examples, batch_size=spec.batch_size, seed=spec.seed,
    )  # fmt: skip
    yield ev.Ended(state="stopped" if curve.partial else "finished", step=len(found.losses), learning_rates=curve)


def _dry_run(folder: JobFolder, parts: Parts, command: ReadCommand) -> Iterator[ev.Event]:
    run = Run(parts)
    free = estimate.free_bytes(run.device)
    try:
        yield from run.resume()
        started = run.started()
        yield started
        tried = None
        if run.device.type != "cpu" or free is None or run.memory.to_come(run.device, resumed=False) <= free:
            tried = yield from try_steps(run, command)
            if tried is None:
                yield ev.Ended(state="cancelled")
                return
    finally:
        run.close()
    yield ev.Ended(state="finished", estimate=_estimate(folder, run, started, tried, free))


def _estimate(folder: JobFolder, run: Run, started: ev.Started, tried: Tried | None, free: int | None) -> Estimate:
    parts, spec, terms = run.parts, run.parts.spec, run.memory.to_json()
    tokens, total = parts.train.tokens, terms.pop("total")
    held = parts.idle_memory or 0 if run.device.type == "cpu" else 0
    seconds, interval = _seconds(run, tried) if tried else ({}, None)
    trained = sum(p.numel() * p.element_size() for p in parts.model.parameters() if p.requires_grad)
    whole = trained if spec.prompt_tuning else 4 * started.parameters  # a prompt is saved without its base
    at_once = spec.keep_checkpoints + 1  # the oldest goes once the newest is whole
    return Estimate(
        name=folder.identity.name, model=spec.model.source, task=spec.task, device=started.device, precision=started.precision,
        parameters=started.parameters, trainable_parameters=started.trainable_parameters, memory=terms, memory_bytes=total,
        measured_memory_bytes=tried.peak_bytes - held if tried else None, free_memory_bytes=_room(run, terms, free),
        total_steps=run.total_steps, steps_per_epoch=run.plan.steps_per_epoch, batch_size=spec.batch_size,
        micro_batch_size=run.state.micro_batch_size, checkpoint_bytes=3 * trained, model_bytes=whole,
        disk_bytes=min(at_once, max(1, run.checkpoints_saved)) * 3 * trained + min(at_once, run.evaluations) * whole,
        free_disk_bytes=shutil.disk_usage(folder.path).free, data=_facts(folder, parts),
        token_percentiles={p: int(np.percentile(tokens.lengths, p, method="higher")) for p in PERCENTILES},
        max_length=tokens.limit, step_seconds=tried.step_seconds if tried else [], seconds=seconds, interval=interval,
    )  # fmt: skip


def _seconds(run: Run, tried: Tried) -> tuple[dict[str, float], Interval | None]:
    """Of the whole run by phase, and the interval of their sum: all but training as measured once."""
    parts = run.parts
    before = {phase: seconds * (_share(parts) if phase == "features" else 1) for phase, seconds in parts.seconds.items()}
    each, spread = float(np.mean(tried.step_seconds)), mean_t(np.asarray(tried.step_seconds))
    found = {**before, "train": run.total_steps * each, "evaluate": run.evaluations * tried.evaluation_seconds}
    if spread is None:
        return found, None
    rest = sum(found.values()) - found["train"]
    low, high = (rest + run.total_steps * max(0.0, end) for end in (spread.low, spread.high))
    return found, spread.model_copy(update={"low": low, "high": high})


def _facts(folder: JobFolder, parts: Parts) -> DataFacts:
    tokens = parts.train.tokens
    return folder.facts.model_copy(update={"truncated_share": tokens.truncated_share, "unknown_share": tokens.unknown_share})


def _room(run: Run, terms: dict[str, int], free: int | None) -> int | None:
    """What there would be for a run that has nothing yet: what was free, and what this one held then."""
    if free is None:
        return None
    return free + terms["weights"] + terms["overhead"] + (terms["optimizer"] if run.device.type != "cpu" else 0)


def _alone(spec: FinetuneSpec) -> FinetuneSpec:
    """The run as one process does it, which shares out nothing."""
    return spec.model_copy(update={"fsdp": False})


def _share(parts: Parts) -> float:
    """How many times as many texts a frozen backbone reads in the run."""
    read = sum(min(len(each), SOME) for each in (parts.train, parts.held_out))
    return (len(parts.train) + len(parts.held_out)) / max(1, read)


def _some_features(model: Any, examples: Examples) -> Examples:
    """Features of some texts, repeated for all: their values matter to no time and no memory."""
    found = frozen.with_features(model, examples.only(np.arange(min(len(examples), SOME)))).features
    if found is None:
        return examples
    return replace(examples, features=np.resize(found, (len(examples), found.shape[1])))


def _remove_rows(folder: JobFolder) -> None:
    shutil.rmtree(folder.data, ignore_errors=True)
    (folder.path / training.TRAINED).unlink(missing_ok=True)
