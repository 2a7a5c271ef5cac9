"""Checkpoints: whole or not there, and the same bits again.

::

    checkpoints/
      step-00000250/        weights.safetensors exp_avg.safetensors exp_avg_sq.safetensors step.safetensors
                            generators.safetensors manifest.json
      best-00000250/        the best model so far, as a transformers folder, with a manifest

How a folder is whole or not there is said in `fm_notebook.engine.manifests`; how it is written beside training, in
`fm_notebook.engine.saving`. A checkpoint that is torn or corrupted is passed over for the one before. Best models are folders of
their own, kept as long as a checkpoint or the run refers to them, so that a resume never finds a best model from a future that it
may not reach. Steps name folders, so no clock matters. No pickle anywhere.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from errno import EACCES, EPERM, EROFS
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fm_notebook.engine import manifests, sharding
from fm_notebook.engine.kernels.compiled import building
from fm_notebook.engine.manifests import Damaged
from fm_notebook.engine.snapshots import BestModel, Snapshot, every_tensor, snapshot, snapshot_best
from fm_notebook.engine.state import RunState
from fm_notebook.errors import JobFailed
from fm_notebook.jobs import atomic

READ_ONLY = frozenset({EACCES, EPERM, EROFS})


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint in `folder`: its `state`, and the versions and device that wrote it."""

    folder: Path
    state: RunState
    written_by: dict[str, str]


@dataclass(frozen=True)
class PassedOver:
    """A checkpoint or best model in `folder` that cannot be used, because its `file` is not as it was written.

    `note` is the catalogue's key of a note that says so; its text names the values `name` and `file`.
    """

    folder: Path
    file: str
    note: str

    @property
    def values(self) -> dict[str, str]:
        """What the note names."""
        return {"name": self.folder.name, "file": self.file}


@dataclass(frozen=True)
class Found:
    """The newest whole `checkpoint`, None without one, and what was `passed_over` on the way to it, newest first."""

    checkpoint: Checkpoint | None
    passed_over: tuple[PassedOver, ...] = ()


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies."""
    return folder / f"step-{step:08d}"


def best_of(folder: Path, step: int) -> Path:
    """Where the best model lies, if it is that of `step`."""
    return folder / f"best-{step:08d}"


def find(folder: Path) -> Found:
    """Look for the newest checkpoint in `folder` whose every bit is as it was written; reads it all.

    A checkpoint whose best model is damaged is used without: its state then has no best, and the evaluation is repeated.
    """
    passed_over: list[PassedOver] = []
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            manifest = manifests.verify(path)
        except Damaged as damage:
            passed_over.append(PassedOver(path, damage.file, damage.note))
            continue
        state, lost = _with_its_best(folder, RunState.from_json(manifest["state"]))
        return Found(Checkpoint(path, state, manifest["written_by"]), (*passed_over, *lost))
    return Found(None, tuple(passed_over))


def newest(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint in `folder`, None if there is none."""
    return find(folder).checkpoint


def set_aside(found: Found) -> None:
    """Put what was passed over out of the way of later ones; it is removed once the next checkpoint is whole."""
    for each in found.passed_over:
        with suppress(OSError):  # a folder that cannot be written says so at the next save
            each.folder.rename(each.folder.with_name(f".{each.folder.name}.damaged"))


def save(folder: Path, state: RunState, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Path:
    """Write all that a resume needs, and wait for it: weights, moments, generators and `state`.

    Takes three times the room of the trainable weights. `fm_notebook.engine.saving.Writer` does not wait.

    Raises
    ------
    JobFailed
        If the disk is full or the folder read-only; the checkpoint before stays whole.
    """
    return write(folder, take(state, model, optimizer, copy=False))


def take(state: RunState, model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, copy: bool = True) -> Snapshot:
    """Hold still all that a resume needs, for `write`."""
    return snapshot(state, model, optimizer, generators(), versions(model), copy=copy)


def lend(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Give what this process has of a sharded model to the first one, which takes a snapshot now."""
    for tensors in every_tensor(model, optimizer).values():
        sharding.lend(tensors.values())


def write(folder: Path, taken: Snapshot) -> Path:
    """Write a checkpoint of what was `taken`; raises as `save` does."""

    def fill(into: Path) -> None:
        taken.wait()
        for name, tensors in taken.tensors.items():
            save_file(tensors, into / f"{name}.safetensors")
        manifests.seal(into, taken.about)

    with disk_errors_named(folder):
        return manifests.place(path_of(folder, taken.step), fill)


def restore(checkpoint: Checkpoint, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put weights, moments and generators back as they were when `checkpoint` was saved."""
    manifest = manifests.read(checkpoint.folder)
    with torch.no_grad():
        for file, tensors in every_tensor(model, optimizer).items():
            saved = load_file(checkpoint.folder / f"{file}.safetensors")
            for name, tensor in tensors.items():
                sharding.put(tensor, saved[name])
    set_generators(load_file(checkpoint.folder / "generators.safetensors"))
    version, internal, gauss = manifest["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(manifest["numpy"]))  # noqa: NPY002 - what plug-ins may draw from


def save_best(folder: Path, step: int, model: Any, tokenizer: Any) -> Path:
    """Write model and tokenizer as the best of the run so far, and wait for it.

    Raises
    ------
    JobFailed
        If the disk is full or the folder read-only.
    """
    return write_best(folder, snapshot_best(step, model, copy=False), tokenizer)


def write_best(folder: Path, taken: BestModel, tokenizer: Any) -> Path:
    """Write the model that was `taken` with its tokenizer; raises as `save_best` does."""

    def fill(into: Path) -> None:
        taken.wait()
        taken.write(into)
        tokenizer.save_pretrained(into)
        manifests.seal(into, {"step": taken.step})

    with disk_errors_named(folder):
        return manifests.place(best_of(folder, taken.step), fill)


def publish(folder: Path, step: int, target: Path) -> None:
    """Make the best model, that of `step`, the run's result in `target`; hard links, so it costs no space while both live."""

    def fill(into: Path) -> None:
        _link(best_of(folder, step), into)

    with disk_errors_named(folder):
        manifests.place(target, fill)


def prune(folder: Path, state: RunState, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints up to that of `state`, and best models that nothing kept refers to.

    Sizes are compared and no file is read. Checkpoints go before the models they refer to.
    """
    paths = sorted(folder.glob("step-*"))
    kept = {path: found for path in paths if (found := _whole_state(path)) is not None and found.step <= state.step}
    kept = dict(list(kept.items())[-keep:])
    best = [scores.best for scores in (state, *kept.values())]
    wanted = {*kept, *(best_of(folder, scores.step) for scores in best if scores is not None)}
    for path in sorted(folder.iterdir(), key=lambda path: path.name.startswith("best-")):
        if path not in wanted:
            shutil.rmtree(path, ignore_errors=True)


def generators() -> dict[str, torch.Tensor]:
    """The states of torch's random generators, CPU, every CUDA device and MPS."""
    found = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found |= {f"cuda:{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    if torch.backends.mps.is_available():
        found["mps"] = torch.mps.get_rng_state()
    return found


def set_generators(states: dict[str, torch.Tensor]) -> None:
    """Put torch's random generators back into `states`."""
    for name, state in states.items():
        if name == "cpu":
            torch.set_rng_state(state)
        elif name == "mps":
            if torch.backends.mps.is_available():
                torch.mps.set_rng_state(state)
        elif torch.device(name).index < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, name)


def versions(model: torch.nn.Module) -> dict[str, str]:
    """What bits depend on besides the state."""
    device = next(model.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    kernels = building.version() if device.type == "cpu" else "none"
    return {"torch": str(torch.__version__), "device": name, "cpu": torch.backends.cpu.get_cpu_capability(), "kernels": kernels}


@contextmanager
def disk_errors_named(folder: Path) -> Iterator[None]:
    """Turn a full disk and a read-only folder into errors that say which checkpoint is still good."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        key = _disk_error(error)
        if key is None:
            raise
        raise JobFailed(key, folder=str(folder), step=_last_whole_step(folder)) from error


def _disk_error(error: Exception) -> str | None:
    """Its key. Errors from Rust have their number in the text alone."""
    numbers = {getattr(error, "errno", None), *map(int, re.findall(r"os error (\d+)", str(error)))}
    return "engine.disk_full" if numbers & atomic.FULL_DISK else "engine.read_only" if numbers & READ_ONLY else None


def _last_whole_step(folder: Path) -> int:
    states = (_whole_state(path) for path in sorted(folder.glob("step-*"), reverse=True))
    return next((state.step for state in states if state is not None), 0)


def _whole_state(path: Path) -> RunState | None:
    try:
        return RunState.from_json(manifests.read(path)["state"])
    except Damaged:
        return None


def _with_its_best(folder: Path, state: RunState) -> tuple[RunState, list[PassedOver]]:
    if state.best is None:
        return state, []
    path = best_of(folder, state.best.step)
    try:
        manifests.verify(path)
    except Damaged as damage:
        return replace(state, best=None, last=None, without_gain=0), [PassedOver(path, damage.file, "best_model_lost")]
    return state, []


def _link(source: Path, into: Path) -> None:
    for name in manifests.read(source)["files"]:
        (into / name).parent.mkdir(exist_ok=True)
        try:
            os.link(source / name, into / name)
        except OSError:  # a file system without links
            shutil.copy2(source / name, into / name)
