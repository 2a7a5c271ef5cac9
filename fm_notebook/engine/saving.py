"""Saving beside training: what is saved is copied at a step border, and one thread writes it while the next steps run.

What a save costs the training is the copy (`fm_notebook.engine.snapshots`) and its share of the processor; hashing, writing and
syncing release Python's lock. Order on disk is order of saving, so a checkpoint never refers to a best model that is not there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from fm_notebook.engine import checkpoints, memory
from fm_notebook.engine.snapshots import snapshot_best
from fm_notebook.engine.state import RunState

MOST_PENDING = 2
"""A best model and the checkpoint of the same step. A third save waits for the first: to skip it would break what the user asked
for, to take it in would let memory grow where the disk is slower than training."""


@dataclass(frozen=True)
class Saved:
    """The checkpoint of `step` is whole in `folder`, `seconds` after it was asked for."""

    step: int
    folder: Path
    seconds: float


class Writer:
    """Writes checkpoints and best models into `folder`, one after the other, and keeps the newest `keep` checkpoints.

    What goes wrong is raised by the next call, as `JobFailed` if the disk is full or the folder read-only; after that nothing is
    written any more. While a save is pending it holds its copy in CPU memory: three times the trainable weights for a checkpoint,
    once for a best model. Where memory does not suffice for the copy, the save is made at once and training waits.

    Attributes
    ----------
    taken_step : int
        Step of the newest checkpoint that was asked for; -1 without one. It is whole once `finished` or `drain` names it.
    """

    def __init__(self, folder: Path, keep: int):
        self.taken_step = -1
        self._folder, self._keep = folder, keep
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._pending: deque[Future[Saved | None]] = deque()
        self._saved: list[Saved] = []
        self._failed = False

    def save(self, state: RunState, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Save a checkpoint of what is now, and remove those that are too many once it is whole."""
        began, then = perf_counter(), RunState.from_json(state.to_json())

        def write(taken: checkpoints.Snapshot) -> Saved:
            path = checkpoints.write(self._folder, taken)
            checkpoints.prune(self._folder, then, self._keep)
            return Saved(then.step, path, perf_counter() - began)

        self._submit(lambda copy: checkpoints.take(state, model, optimizer, copy=copy), write)
        self.taken_step = state.step

    def save_best(self, step: int, model: Any, tokenizer: Any) -> None:
        """Save the model as it is now as the best so far."""

        def write(taken: checkpoints.BestModel) -> None:
            checkpoints.write_best(self._folder, taken, tokenizer)

        self._submit(lambda copy: snapshot_best(step, model, copy=copy), write)

    def finished(self) -> list[Saved]:
        """The checkpoints that became whole since the last call; does not wait."""
        while self._pending and self._pending[0].done():
            self._take_in()
        saved, self._saved = self._saved, []
        return saved

    def drain(self) -> list[Saved]:
        """Wait until all that was asked for is whole; gives what `finished` gives."""
        while self._pending:
            self._take_in()
        return self.finished()

    def close(self) -> None:
        """Wait for what is pending and end the thread; raises nothing, so that it can stand in a ``finally``."""
        self._pool.shutdown(wait=True)

    def _submit(self, take: Callable[[bool], Any], write: Callable[[Any], Saved | None]) -> None:
        while len(self._pending) >= MOST_PENDING:
            self._take_in()
        try:
            taken = take(True)
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
            taken = None
        if taken is not None:
            self._pending.append(self._pool.submit(self._unless_failed, write, taken))
            return
        self._pending.append(self._pool.submit(self._unless_failed, write, take(False)))
        while self._pending:
            self._take_in()

    def _unless_failed(self, write: Callable[[Any], Saved | None], taken: Any) -> Saved | None:
        if self._failed:
            return None
        try:
            return write(taken)
        except BaseException:
            self._failed = True
            raise

    def _take_in(self) -> None:
        saved = self._pending.popleft().result()
        if saved is not None:
            self._saved.append(saved)
