"""Whatever ends a save, at whatever moment: a whole checkpoint is found, with the bits it was saved with."""

from __future__ import annotations

import builtins
import errno
import io
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.modeling_utils
from safetensors import SafetensorError

from fm_notebook.engine import checkpoints
from fm_notebook.engine.run import Run
from fm_notebook.engine.saving import Writer
from fm_notebook.engine.state import Scores
from fm_notebook.errors import JobFailed

pytestmark = pytest.mark.slow

KILLED = 9
GROWING = frozenset({"mkdir", "open", "save_file", "fsync", "rename"})
"""What a full disk refuses; removing goes on."""


@dataclass
class Disk:
    """Counts what is done to the disk; from the `at`-th time on, `strike` comes in between, after half of a file is written."""

    at: int
    strike: Callable[[str], None]
    kinds: frozenset[str] | None = None
    count: int = 0
    struck: bool = False

    def install(self, patch: pytest.MonkeyPatch) -> Disk:
        for kind in ("mkdir", "rename", "rmdir", "unlink", "link"):
            patch.setattr(os, kind, self._wrapped(kind, getattr(os, kind)))
        patch.setattr(os, "fsync", self._wrapped("fsync", lambda descriptor: None))
        for module in (builtins, io):
            patch.setattr(module, "open", self._opened(open))
        patch.setattr(checkpoints, "save_file", self._wrapped("save_file", checkpoints.save_file, half_a_file))
        name = "safe_save_file"
        patch.setattr(
            transformers.modeling_utils, name,
            self._wrapped("save_file", getattr(transformers.modeling_utils, name), half_a_file),
        )  # fmt: skip
        return self

    def _wrapped(self, kind: str, function: Callable[..., Any], half: Callable[..., Any] = lambda *_, **__: None) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if self._is_due(kind):
                half(*arguments, **named)
                self.strike(kind)
            return function(*arguments, **named)

        return call

    def _opened(self, function: Callable[..., Any]) -> Any:
        def call(path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            if set(mode) & set("wax") and self._is_due("open"):
                function(path, mode, *arguments, **named).close()
                self.strike("open")
            return function(path, mode, *arguments, **named)

        return call

    def _is_due(self, kind: str) -> bool:
        if self.kinds is not None and kind not in self.kinds:
            return False
        self.count += 1
        self.struck = self.struck or self.count >= self.at
        return self.struck


def half_a_file(tensors: dict[str, torch.Tensor], path: Any, **_: Any) -> None:
    Path(path).write_bytes(b"half" * len(tensors))


@pytest.fixture
def begun(make_parts):
    return Run(make_parts())


def change(run: Run, step: int) -> dict[str, torch.Tensor]:
    """Make weights and moments those of `step`; gives what must come back."""
    generator = torch.Generator().manual_seed(step)
    run.state.step = step
    with torch.no_grad():
        for p in run.parts.model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
            run.optimizer.state[p]["exp_avg"].copy_(torch.randn(p.shape, generator=generator))
    torch.manual_seed(step)
    return held(run)


def held(run: Run) -> dict[str, torch.Tensor]:
    named = run.parts.model.named_parameters()
    moments = {f"{n}/m": run.optimizer.state[p]["exp_avg"].clone() for n, p in run.parts.model.named_parameters()}
    return {**{n: p.detach().clone() for n, p in named}, **moments, "generator": torch.get_rng_state()}


def save_all(run: Run, step: int) -> None:
    """What a run does at a border where the evaluation was the best so far, with one checkpoint to keep."""
    change(run, step)
    run.state.record(Scores(step=step, metrics={"macro_f1": step / 100}), "macro_f1", "max")
    writer = Writer(run.parts.checkpoints, keep=1)
    try:
        writer.save_best(step, run.parts.model, run.parts.tokenizer)
        writer.save(run.state, run.parts.model, run.optimizer)
        writer.drain()
    finally:
        writer.close()


def in_a_child(act: Callable[[], None], at: int) -> bool:
    """Run `act` in a fork that is killed at the `at`-th touch of the disk; whether it was."""
    child = os.fork()
    if not child:
        code = 1
        try:
            Disk(at, lambda kind: os._exit(KILLED)).install(pytest.MonkeyPatch())
            act()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, KILLED}
    return code == KILLED


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_killed_at_any_moment_of_a_save_a_whole_checkpoint_is_found_with_its_bits(begun, tmp_path):
    save_all(begun, 4)
    folder, before = begun.parts.checkpoints, tmp_path / "before"
    shutil.copytree(folder, before)
    best = begun.state.best
    expected, seen, at = {step: change(begun, step) for step in (4, 6)}, set(), 1
    while in_a_child(lambda: save_all(begun, 6), at):
        found = checkpoints.find(folder)
        assert found.passed_over == (), at
        assert found.checkpoint is not None, at
        step = found.checkpoint.state.step
        assert step in expected, at
        assert found.checkpoint.state.best.step == step, at
        checkpoints.restore(found.checkpoint, begun.parts.model, begun.optimizer)
        for name, tensor in held(begun).items():
            assert torch.equal(tensor, expected[step][name]), (at, name)
        seen.add(step)
        if at % 10 == 1:  # going on from here cleans up what the killed one left
            begun.state.best = best
            save_all(begun, 8)
            assert names(folder) == ["best-00000008", "step-00000008"]
            begun.state.best = best
        shutil.rmtree(folder)
        shutil.copytree(before, folder)
        at += 1
    assert seen == {4, 6}
    assert at > 40
    assert names(folder) == ["best-00000006", "step-00000006"]


@needs_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_killed_at_any_moment_of_publishing_nothing_is_half_published(begun):
    folder, target = begun.parts.checkpoints, begun.parts.result

    def content() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in target.iterdir()}

    for step in (2, 4):
        change(begun, step)
        checkpoints.save_best(folder, step, begun.parts.model, begun.parts.tokenizer)
    published = {}
    for step in (4, 2):
        checkpoints.publish(folder, step, target)
        published[step] = content()
    assert published[2] != published[4]
    at, seen = 1, set()
    while in_a_child(lambda: checkpoints.publish(folder, 4, target), at):
        there = next((step for step in published if target.exists() and content() == published[step]), None)
        assert there or not target.exists(), at
        seen.add(there)
        checkpoints.publish(folder, 4, target)
        assert content() == published[4], at
        assert not [name for name in names(target.parent) if name.startswith(".")], at
        checkpoints.publish(folder, 2, target)
        at += 1
    assert {2, 4} <= seen
    assert at > 10


def refuse(number: int) -> Callable[[str], None]:
    def strike(kind: str) -> None:
        if kind == "save_file":  # what safetensors raises: the number stands in the text alone
            raise SafetensorError(f"I/O error: {os.strerror(number)} (os error {number})")
        raise OSError(number, os.strerror(number))

    return strike


@pytest.mark.parametrize(
    ("number", "key"),
    [
        (errno.ENOSPC, "engine.disk_full"),
        (errno.EDQUOT, "engine.disk_full"),
        (errno.EROFS, "engine.read_only"),
        (errno.EACCES, "engine.read_only"),
    ],
)
def test_a_disk_that_refuses_at_any_moment_is_named_and_costs_nothing_that_was_saved(begun, number, key):
    save_all(begun, 4)
    folder, best, at = begun.parts.checkpoints, begun.state.best, 1
    while True:
        begun.state.best = best
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(at, refuse(number), GROWING).install(patch)
            try:
                save_all(begun, 6)
            except JobFailed as error:
                fault = error.faults[0]
                assert (fault.key, fault.values["step"] in {4, 6}) == (key, True), at
        if not disk.struck:
            break
        step = checkpoints.newest(folder).state.step
        assert step == fault.values["step"], at
        assert not [name for name in names(folder) if name.endswith(".tmp")], at
        if step == 6:  # refused after the renaming: begin anew
            shutil.rmtree(folder / "step-00000006")
            begun.state.best = best
            save_all(begun, 4)
        at += 1
    assert at > 20
    assert checkpoints.newest(folder).state.step == 6


def test_a_folder_that_nobody_may_write_is_said_in_words(begun):
    if os.name != "posix" or os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    begun.parts.checkpoints.mkdir()
    begun.parts.checkpoints.chmod(0o500)
    try:
        with pytest.raises(JobFailed, match="read-only or not yours"):
            save_all(begun, 2)
    finally:
        begun.parts.checkpoints.chmod(0o700)


def test_a_clock_that_jumps_does_not_change_which_checkpoint_is_the_newest(begun, monkeypatch):
    for step, clock in ((5, 2e9), (10, 0.0), (15, 1e9)):
        monkeypatch.setattr(time, "time", lambda now=clock: now)
        monkeypatch.setattr(time, "time_ns", lambda now=clock: int(now * 1e9))
        change(begun, step)
        path = checkpoints.save(begun.parts.checkpoints, begun.state, begun.parts.model, begun.optimizer)
        os.utime(path, (clock, clock))
    assert checkpoints.newest(begun.parts.checkpoints).state.step == 15
    checkpoints.prune(begun.parts.checkpoints, begun.state, keep=2)
    assert names(begun.parts.checkpoints) == ["step-00000010", "step-00000015"]


def test_any_flipped_bit_is_found(begun):
    """Of every file, at random places: the checkpoint is passed over, or (the sign of an exponent's letter) means the same."""
    change(begun, 5)
    checkpoints.save(begun.parts.checkpoints, begun.state, begun.parts.model, begun.optimizer)
    change(begun, 10)
    path = checkpoints.save(begun.parts.checkpoints, begun.state, begun.parts.model, begun.optimizer)
    draw = random.Random(0)
    for file in sorted(path.iterdir()):
        whole = file.read_bytes()
        for _ in range(20):
            bits = bytearray(whole)
            bits[draw.randrange(len(bits))] ^= 1 << draw.randrange(8)
            file.write_bytes(bits)
            found = checkpoints.find(begun.parts.checkpoints)
            if found.checkpoint.state.step == 10:
                assert file.name == "manifest.json"
                assert found.checkpoint.state == begun.state
            else:
                assert found.checkpoint.state.step == 5
                assert found.passed_over[0].folder == path
                assert found.passed_over[0].file in {file.name, "manifest.json"}
        file.write_bytes(whole)
    assert checkpoints.newest(begun.parts.checkpoints).state.step == 10
