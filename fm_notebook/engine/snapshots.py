"""What is saved, held still: copies in CPU memory of what the next step changes.

On CUDA they are made into pinned memory by the stream that trains, so neither the host nor the next step waits for more than the
copy itself; `wait` is for the thread that reads them.
"""

from __future__ import annotations

import copy as copying
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fm_notebook.engine import sharding
from fm_notebook.engine.models import quietly
from fm_notebook.engine.state import RunState

Tensors = dict[str, torch.Tensor]
Wait = Callable[[], None]


@dataclass(frozen=True)
class Snapshot:
    """All that a resume needs as it was after `step`: `tensors` by file and name, `about` for the manifest."""

    step: int
    tensors: dict[str, Tensors]
    about: dict[str, Any]
    wait: Wait


@dataclass(frozen=True)
class BestModel:
    """A model as it was after `step`; `write` puts it into a folder, in transformers' form."""

    step: int
    write: Callable[[Path], None]
    wait: Wait


def every_tensor(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensors]:
    """The tensors that a step changes, themselves, by file and name: weights, and what the optimiser keeps of each.

    Saving copies from them and a resume into them, so what is named here, and nothing else, is kept.
    """
    files: dict[str, Tensors] = {"weights": _weights(model)}
    for name, p in _trainable(model):
        for key, value in optimizer.state.get(p, {}).items():
            files.setdefault(key, {})[name] = value
    return files


def snapshot(
    state: RunState, model: torch.nn.Module, optimizer: torch.optim.Optimizer, generators: Tensors, versions: dict[str, str],
    *, copy: bool = True,
) -> Snapshot:  # fmt: skip
    """Hold still all that a resume needs; three times the trainable weights in CPU memory.

    Without `copy`, tensors are referred to: for who writes them before the next step.
    """
    held = _Copies(copy)
    tensors = {file: held.of(tensors) for file, tensors in every_tensor(model, optimizer).items()}
    kind, numbers, *rest = np.random.get_state()  # noqa: NPY002 - what plug-ins may draw from
    about = {
        "state": state.to_json(), "written_by": versions, "python": random.getstate(),
        "numpy": [kind, np.asarray(numbers).tolist(), *rest],
    }  # fmt: skip
    return Snapshot(state.step, {**tensors, "generators": generators}, about, held.done(model))


def snapshot_best(step: int, model: Any, *, copy: bool = True) -> BestModel:
    """Hold a model still; once the trainable weights in CPU memory. Frozen weights never change and are referred to.

    Of a model with an adapter a twin is made that shares all that is frozen: its writing merges them.
    """
    held = _Copies(copy)
    if _has_adapter(model):
        from fm_notebook.engine import adapters

        frozen = {id(p): p for p in model.parameters() if not p.requires_grad}
        return BestModel(step, partial(adapters.save, copying.deepcopy(model, frozen) if copy else model), held.done(model))
    frozen = {p.data_ptr() for p in model.parameters() if not p.requires_grad}
    state_dict = held.of(model.state_dict(keep_vars=True), but=frozen)
    return BestModel(step, partial(_save_pretrained, model, state_dict), held.done(model))


class _Copies:
    """Makes copies; tensors that are one stay one, since transformers leaves the second of tied weights out."""

    def __init__(self, copy: bool):
        self._copy = copy
        self._made: dict[Any, torch.Tensor] = {}

    def of(self, tensors: Tensors, but: frozenset[int] | set[int] = frozenset()) -> Tensors:
        return {name: t.detach() if t.data_ptr() in but else self._one(t) for name, t in tensors.items()}

    def done(self, model: torch.nn.Module) -> Wait:
        """Waits until all copies asked for so far are there."""
        device = next(model.parameters()).device
        if device.type != "cuda":
            return lambda: None
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(device))
        return event.synchronize

    def _one(self, tensor: torch.Tensor) -> torch.Tensor:
        place = sharding.place_of(tensor)
        if place not in self._made:
            self._made[place] = sharding.whole(tensor, self._copy_of)
        return self._made[place]

    def _copy_of(self, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.detach()
        if not self._copy:
            return tensor.contiguous()
        pinned = tensor.is_cuda
        room = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=pinned)
        return room.copy_(tensor, non_blocking=pinned)


def _trainable(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _weights(model: torch.nn.Module) -> Tensors:
    """Trainable parameters (tied ones once) and the buffers that a model saves."""
    saved = model.state_dict()
    return {**dict(_trainable(model)), **{name: b for name, b in model.named_buffers() if name in saved}}


def _has_adapter(model: Any) -> bool:
    peft = sys.modules.get("peft")  # a model of its kind has loaded it
    return peft is not None and isinstance(model, peft.PeftModel)


def _save_pretrained(model: Any, state_dict: Tensors, into: Path) -> None:
    with quietly():
        model.save_pretrained(into, state_dict=state_dict)
