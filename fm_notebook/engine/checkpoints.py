"""Checkpoints: whole or not there.

::

    checkpoints/
      step-00000250/        weights.safetensors exp_avg.safetensors exp_avg_sq.safetensors generators.safetensors manifest.json
      best-00000250/        the best model so far, as a transformers folder

A checkpoint is written to a temporary name, synced and renamed. Its manifest, written last, lists every file's size: one that
is torn all the same (a disk taken out, a copy cut off) is passed over for the one before. Best models are folders of their own,
kept as long as a checkpoint or the run refers to them, so that a resume never finds a best model from a future that it may not
reach. No pickle anywhere.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fm_notebook.engine.models import quietly
from fm_notebook.engine.state import RunState
from fm_notebook.errors import JobFailed
from fm_notebook.jobs import atomic

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint in `folder`: its `state`, and the versions and device that wrote it."""

    folder: Path
    state: RunState
    written_by: dict[str, str]


def newest(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint in `folder`, None if there is none."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        manifest = _read_manifest(path)
        if manifest is not None:
            return Checkpoint(path, RunState.from_json(manifest["state"]), manifest["written_by"])
    return None


def save(folder: Path, state: RunState, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Path:
    """Write all that a resume needs: weights, moments, generators and `state`; costs three times the trainable weights.

    Raises
    ------
    JobFailed
        If the disk is full; the checkpoint before stays whole.
    """

    def write(into: Path) -> None:
        for name, tensors in _tensors(model, optimizer).items():
            save_file(tensors, into / f"{name}.safetensors")
        sizes = {path.name: path.stat().st_size for path in into.iterdir()}
        manifest = {
            "format_version": FORMAT_VERSION, "state": state.to_json(), "files": sizes, "written_by": versions(model),
            "optimizer_steps": _steps_taken(optimizer), "python": random.getstate(),
        }  # fmt: skip
        (into / MANIFEST).write_text(json.dumps(manifest))

    return _write_folder(folder, f"step-{state.step:08d}", write)


def restore(checkpoint: Checkpoint, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put weights, moments and generators back as they were when `checkpoint` was saved."""
    manifest = _read_manifest(checkpoint.folder)
    assert manifest is not None
    weights = load_file(checkpoint.folder / "weights.safetensors")
    with torch.no_grad():
        for name, tensor in _weights(model).items():
            tensor.copy_(weights[name])
        for moment in ("exp_avg", "exp_avg_sq"):
            saved = load_file(checkpoint.folder / f"{moment}.safetensors")
            for name, p in _trainable(model):
                optimizer.state[p][moment].copy_(saved[name])
        for _, p in _trainable(model):
            optimizer.state[p]["step"].fill_(manifest["optimizer_steps"])
    set_generators(load_file(checkpoint.folder / "generators.safetensors"))
    version, internal, gauss = manifest["python"]
    random.setstate((version, tuple(internal), gauss))


def save_best(folder: Path, step: int, model: Any, tokenizer: Any) -> Path:
    """Write model and tokenizer as the best of the run so far.

    Raises
    ------
    JobFailed
        If the disk is full.
    """

    def write(into: Path) -> None:
        with quietly():
            model.save_pretrained(into)
            tokenizer.save_pretrained(into)

    return _write_folder(folder, f"best-{step:08d}", write)


def publish(folder: Path, step: int, target: Path) -> None:
    """Make the best model, that of `step`, the run's result in `target`; hard links, so it costs no space while both live."""

    def write(into: Path) -> None:
        for file in (folder / f"best-{step:08d}").iterdir():
            try:
                os.link(file, into / file.name)
            except OSError:  # a file system without links
                shutil.copy2(file, into / file.name)

    shutil.rmtree(target, ignore_errors=True)
    _write_folder(target.parent, target.name, write)


def prune(folder: Path, state: RunState, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints, and best models that nothing kept refers to."""
    manifests = {path: _read_manifest(path) for path in sorted(folder.glob("step-*"))}
    kept = [(path, manifest) for path, manifest in manifests.items() if manifest is not None][-keep:]
    best = [state.best, *(RunState.from_json(manifest["state"]).best for _, manifest in kept)]
    wanted = {path.name for path, _ in kept} | {f"best-{scores.step:08d}" for scores in best if scores is not None}
    for path in folder.iterdir():
        if path.name not in wanted:
            shutil.rmtree(path, ignore_errors=True)


def generators() -> dict[str, torch.Tensor]:
    """The states of torch's random generators, CPU and every CUDA device."""
    found = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found |= {f"cuda:{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return found


def set_generators(states: dict[str, torch.Tensor]) -> None:
    """Put torch's random generators back into `states`."""
    for name, state in states.items():
        if name == "cpu":
            torch.set_rng_state(state)
        elif torch.device(name).index < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, name)


def versions(model: torch.nn.Module) -> dict[str, str]:
    """What bits depend on besides the state."""
    device = next(model.parameters()).device
    return {"torch": str(torch.__version__), "device": device.type, "cpu": torch.backends.cpu.get_cpu_capability()}


@contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Turn a full disk into an error that says which checkpoint is still good."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) not in atomic.FULL_DISK and "os error 28" not in str(error):
            raise
        good = newest(folder)
        raise JobFailed("engine.disk_full", folder=str(folder), step=good.state.step if good else 0) from error


def _write_folder(parent: Path, name: str, write: Callable[[Path], None]) -> Path:
    parent.mkdir(mode=0o700, exist_ok=True)
    temporary, target = parent / f".{name}.{os.getpid()}.tmp", parent / name
    shutil.rmtree(temporary, ignore_errors=True)
    with full_disk_named(parent):
        try:
            temporary.mkdir(mode=0o700)
            write(temporary)
            _sync(temporary)
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
            atomic.sync_folder(parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return target


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    atomic.sync_folder(folder)


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        whole = all((folder / name).stat().st_size == size for name, size in manifest["files"].items())
    except (OSError, ValueError, KeyError):
        return None
    return manifest if whole and manifest["format_version"] == FORMAT_VERSION else None


def _tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, torch.Tensor]]:
    moments = {
        moment: {name: optimizer.state[p][moment].contiguous() for name, p in _trainable(model)}
        for moment in ("exp_avg", "exp_avg_sq")
    }
    weights = {name: tensor.detach().contiguous() for name, tensor in _weights(model).items()}
    return {"weights": weights, **moments, "generators": generators()}


def _trainable(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Trainable parameters (tied ones once) and the buffers that a model saves."""
    saved = model.state_dict()
    return {**dict(_trainable(model)), **{name: b for name, b in model.named_buffers() if name in saved}}


def _steps_taken(optimizer: torch.optim.Optimizer) -> float:
    return max((float(state["step"]) for state in optimizer.state.values()), default=0.0)
