"""The learning-rate range test: a run's own steps while the learning rate grows, on weights that are put back afterwards.

References
----------
Smith (2017), *Cyclical learning rates for training neural networks*, WACV, section 3.3.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import ReadCommand
from fm_notebook.engine import checkpoints
from fm_notebook.engine.parts import Parts
from fm_notebook.engine.run import Run
from fm_notebook.metrics.learning_rates import has_diverged, smooth, sweep


@dataclass
class Curve:
    """Losses by learning rate, so far; `ended` says how it came to its end."""

    learning_rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    ended: Literal["swept", "diverged", "interrupted"] = "swept"
    examples: int = 0


def range_test(
    parts: Parts, command: ReadCommand, *, lowest: float, highest: float, steps: int
) -> Generator[ev.Event, None, Curve | None]:
    """Train for `steps` steps from the learning rate `lowest` to `highest`, with the run's batches, in its order.

    It ends before if the loss diverges or somebody wishes to stop; None if it was cancelled. Weights, buffers and generators are
    as they were afterwards, to the bit; that costs one copy of the weights that are trained.
    """
    curve = Curve()
    with _put_back(parts.model):
        run = Run(parts)
        try:
            yield from run.resume()
            yield run.started().model_copy(update={"total_steps": steps})
            for learning_rate in sweep(lowest, highest, steps):
                wish = command()
                if wish == "cancel":
                    return None
                if wish == "stop":
                    curve.ended = "interrupted"
                    break
                yield from _step(run, curve, learning_rate)
                yield ev.ItemsScored(done=len(curve.losses), total=steps)
                if has_diverged(smooth(curve.losses)):
                    curve.ended = "diverged"
                    break
        finally:
            run.optimizer.zero_grad(set_to_none=True)
            run.close()
    return curve


def _step(run: Run, curve: Curve, learning_rate: float) -> Iterator[ev.Event]:
    batch, found = run.batch(), None
    while found is None:
        found = run.try_gradient(batch)
        if found is None:
            yield ev.MemoryShrunk(step=run.state.step + 1, micro_batch_size=run.state.micro_batch_size)
    run.apply(*found, learning_rate)
    run.state.step += 1
    curve.learning_rates.append(learning_rate)
    curve.losses.append(float(found[0]))
    curve.examples += len(batch)


@contextmanager
def _put_back(model: Any) -> Iterator[None]:
    """Whatever the block does to the model's trained weights and buffers, and to torch's generators, is undone."""
    changed = [p for p in model.parameters() if p.requires_grad] + list(model.buffers())
    copies, generators, training = [t.detach().clone() for t in changed], checkpoints.generators(), model.training
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, copy in zip(changed, copies, strict=True):
                tensor.copy_(copy)
        checkpoints.set_generators(generators)
        model.train(training)
