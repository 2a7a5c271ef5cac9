"""All that a run is made of, put together before it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fm_notebook.contracts.events import Event
from fm_notebook.contracts.protocols import Task
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.engine import optim
from fm_notebook.engine.batching import Budget, Examples
from fm_notebook.engine.distributed import ALONE, World
from fm_notebook.engine.families import unwrapped
from fm_notebook.engine.forward import Layout
from fm_notebook.engine.kernels.vocabulary import CompactVocabulary
from fm_notebook.engine.plans import Plan
from fm_notebook.engine.precision import Precision
from fm_notebook.engine.sharding import Shards
from fm_notebook.engine.step import StepFunction, accumulate

CPU_TOKENS, GPU_TOKENS = 2048, 16384
"""Tokens that go through the model at once, unless the user asks for another micro-batch: on CPU more saves no time."""
LARGEST_LOGITS = 2**25
"""Most logits at once: 128 MB in fp32, of which a language model needs four copies."""


def nothing(model: Any) -> None:
    """What happens between steps, by default."""
    del model


def _no_look(step: int, epoch: float) -> Iterator[Event]:
    del step, epoch
    return iter(())


@dataclass(frozen=True)
class Parts:
    """All that a run is made of.

    Attributes
    ----------
    model : PreTrainedModel
        On its device; trained in place.
    labels : sequence of str
        Names of the classes in the order of the model's outputs; empty where there are none.
    layout : str
        See `fm_notebook.engine.forward.Forward`.
    checkpoints, result : Path
        Folders of the checkpoints and of the best model at the end.
    seconds : dict
        Wall seconds spent on ``load`` and ``tokenize`` before.
    plan, parameter_groups, step_function, between_steps
        Seams for other methods of training: the sampler, the optimiser's groups, the step's gradient, a word in between.
    look : callable
        Told of every step and its epoch, from 0 before the first one; what it sees of the model it gives as events.
    vocabulary : CompactVocabulary, optional
        If only the vectors of words that occur are trained.
    world : World
        The processes that train together.
    shards : Shards, optional
        If each of them keeps but a share of the model.
    kills : int
        How many attempts since the newest checkpoint the system killed for lack of memory: so often is the budget halved.
    idle_memory : int, optional
        Bytes that this process held before the model was loaded, for the estimate of memory.
    """

    spec: FinetuneSpec
    task: Task
    model: Any
    tokenizer: Any
    train: Examples
    held_out: Examples
    labels: Sequence[str]
    precision: Precision
    checkpoints: Path
    result: Path
    layout: Layout = "padded"
    provenance: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    plan: Plan | None = None
    parameter_groups: Callable[[Any, float], list[dict[str, Any]]] = optim.parameter_groups
    step_function: StepFunction = accumulate
    between_steps: Callable[[Any], None] = nothing
    look: Callable[[int, float], Iterator[Event]] = _no_look
    vocabulary: CompactVocabulary | None = None
    world: World = ALONE
    shards: Shards | None = None
    kills: int = 0
    idle_memory: int | None = None


def budget(model: Any, task: Task, texts: int) -> Budget:
    """How much goes through `model` at once: at most `texts` texts, and tokens as suit the device and the logits of each."""
    most = CPU_TOKENS if next(model.parameters()).device.type == "cpu" else GPU_TOKENS
    words = unwrapped(model).get_output_embeddings() if task.level == "token" else None
    each = 1 if words is None else words.weight.shape[0]  # logits of a place; classes are few
    return Budget(texts, min(most, max(1, LARGEST_LOGITS // each)))
