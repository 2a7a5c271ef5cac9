"""A model's outputs for many texts, quickly."""

from __future__ import annotations

from collections.abc import Generator
from time import perf_counter
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts.events import ItemsScored
from fm_notebook.contracts.protocols import Command, ReadCommand, Task
from fm_notebook.engine import memory
from fm_notebook.engine.batching import collate
from fm_notebook.engine.precision import Precision, autocast
from fm_notebook.engine.state import Scores
from fm_notebook.engine.tokens import Tokens
from fm_notebook.errors import JobFailed
from fm_notebook.metrics.intervals import mean_t

REPORT_SECONDS = 0.5


def outputs(
    model: Any, tokens: Tokens, precision: Precision, *, batch_size: int, command: ReadCommand, until: frozenset[Command]
) -> Generator[ItemsScored, None, np.ndarray | None]:
    """Logits of every text, in the texts' order, shape ``(N, C)``; None if a command of `until` came in between.

    Longest texts first, so that a batch holds equal lengths and memory runs out at once or never; dropout off.
    """
    order = np.argsort(-tokens.lengths, kind="stable")
    device = next(model.parameters()).device
    found: list[np.ndarray] = []
    done, began, reported = 0, perf_counter(), perf_counter()
    was_training = model.training
    model.eval()
    try:
        while done < len(order):
            if command() in until:
                return None
            rows = order[done : done + batch_size]
            try:
                found.append(_logits(model, collate(tokens, rows, device), device, precision))
            except RuntimeError as error:
                if not memory.is_out_of_memory(error):
                    raise
                batch_size = _smaller(len(rows))
                continue
            done += len(rows)
            if perf_counter() - reported > REPORT_SECONDS or done == len(order):
                reported = perf_counter()
                yield ItemsScored(done=done, total=len(order), seconds=reported - began)
    finally:
        model.train(was_training)
    logits = np.concatenate(found) if found else np.zeros((0, model.config.num_labels), np.float32)
    in_order = np.empty_like(logits)
    in_order[order] = logits
    return in_order


def held_out_scores(task: Task, logits: np.ndarray, targets: np.ndarray, *, step: int, seed: int) -> Scores:
    """The task's scores and ``loss``, the mean over examples, each weighing 1; with intervals, of the loss Student's t."""
    losses = task.example_losses(torch.from_numpy(logits), {"labels": torch.from_numpy(targets)}).double().numpy()
    found = task.score(logits, targets, seed=seed)
    metrics = {score.name: score.value for score in found} | {"loss": float(losses.mean())}
    intervals = {score.name: score.interval for score in found} | {"loss": mean_t(losses)}
    return Scores(step=step, metrics=metrics, intervals={name: each for name, each in intervals.items() if each})


@torch.inference_mode()
def _logits(model: Any, batch: dict[str, Any], device: torch.device, precision: Precision) -> np.ndarray:
    with autocast(device, precision):
        logits = model(**batch).logits
    return logits.float().cpu().numpy()


def _smaller(batch_size: int) -> int:
    memory.free()
    if batch_size == 1:
        raise JobFailed("engine.out_of_memory_scoring")
    return batch_size // 2
