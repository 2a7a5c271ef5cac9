"""Peers side by side: each in a process of its own, one of them working at a time, a block of steps each in turn.

So a disturbance of the machine meets all of them alike, no peer's memory or threads are another's, and peak memory is a
process's own. The child calls `Turns.ready` once and `Turns.step` after each step; the parent is `interleave`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

AS_IT_COMES = "FM_NOTEBOOK_BENCHMARK_AS_IT_COMES"
"""Set for a child that is to have none of our worker's settings."""
_QUIET = {
    "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}  # fmt: skip


class Over(Exception):  # noqa: N818 - no error
    """The parent has seen enough."""


class Turns:
    """The child's side. Its standard output is the parent's; what libraries print goes to standard error."""

    def __init__(self, block: int):
        self._block, self._steps, self._before = block, [], 0.0
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def ready(self) -> None:
        """Set-up is over: wait for the first turn."""
        self._tell({"ready": True})
        self._wait()

    def step(self, examples: int, tokens: Any, seconds: float | None = None) -> None:
        """A step (or a pass) has ended; its time is that since the last one, unless `seconds` says otherwise.

        A GPU is waited for at the end of a block, not of a step; `tokens` may be a number that lies there.

        Raises
        ------
        Over
            If the parent wants no more.
        """
        passed = time.perf_counter() - self._before
        self._steps.append((examples, tokens, passed if seconds is None else seconds))
        if len(self._steps) == self._block:
            self._steps = self._settled(seconds is None)
            self._tell({"steps": self._steps, "peak_memory_bytes": peak_memory()})
            self._steps = []
            self._wait()
        self._before = time.perf_counter()

    def _settled(self, timed: bool) -> list[tuple[int, int, float]]:
        """The block's steps with their tokens as numbers; the time until the device has done them counts as the last one's."""
        began = time.perf_counter()
        steps = [(examples, int(tokens), seconds) for examples, tokens, seconds in self._steps]
        if "torch" in sys.modules and (cuda := sys.modules["torch"].cuda).is_initialized():
            cuda.synchronize()
        waited = time.perf_counter() - began if timed else 0.0
        return [*steps[:-1], (*steps[-1][:2], steps[-1][2] + waited)]

    def tell(self, **facts: Any) -> None:
        """Hand over a last word."""
        self._tell({"facts": facts})

    def _tell(self, words: dict[str, Any]) -> None:
        self._out.write(json.dumps(words) + "\n")
        self._out.flush()

    def _wait(self) -> None:
        if sys.stdin.readline().strip() != "go":
            raise Over
        self._before = time.perf_counter()


def peak_memory() -> int:
    """The most resident memory (bytes) that this process has had; on a GPU the most that tensors took there."""
    if "torch" in sys.modules and (cuda := sys.modules["torch"].cuda).is_initialized():
        return cuda.max_memory_allocated()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@dataclass
class Peer:
    """The parent's side of one child, and the blocks that it did: examples, tokens, seconds."""

    name: str
    process: subprocess.Popen[str]
    blocks: list[tuple[int, int, float]] = field(default_factory=list)
    peak_memory_bytes: int = 0
    warm_up_seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    def turn(self, *, is_warm_up: bool = False) -> bool:
        """Let it do one block; False if it has come to its end."""
        self._say("go")
        heard = self._hear()
        if "steps" not in heard:
            return False
        block = tuple(map(sum, zip(*heard["steps"], strict=True)))
        if is_warm_up:
            self.warm_up_seconds += block[2]
        else:
            self.blocks.append(block)  # type: ignore[arg-type]
        self.peak_memory_bytes = heard["peak_memory_bytes"]
        return True

    def wait_until_ready(self) -> None:
        self._hear()

    def end(self) -> None:
        """Send it home and take its last word."""
        if self.process.poll() is None:
            with suppress(OSError):
                self._say("end")
            for line in self.process.stdout or ():
                self.facts |= json.loads(line).get("facts", {})
        self.process.wait(timeout=600)

    def rates(self) -> dict[str, float]:
        """Medians over blocks, and totals."""
        examples, tokens, seconds = (sum(part) for part in zip(*self.blocks, strict=True))
        return {
            "blocks": len(self.blocks), "examples": examples, "tokens": tokens, "seconds": seconds,
            "examples_per_second": median(e / s for e, _, s in self.blocks),
            "tokens_per_second": median(t / s for _, t, s in self.blocks),
            "peak_memory_bytes": self.peak_memory_bytes, "warm_up_seconds": self.warm_up_seconds,
        }  # fmt: skip

    def _say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with code {self.process.wait()}")
        heard = json.loads(line)
        self.facts |= heard.get("facts", {})
        return heard


def start(name: str, work: Mapping[str, Any], script: str = "peers.py", changed: Mapping[str, str | None] | None = None) -> Peer:
    """Start the peer called `name` on `work`, with what a worker of ours has in its environment, for all alike.

    Variables that are None in `changed` are taken out.
    """
    wanted = {**os.environ, **(changed or {})}
    environment = {variable: value for variable, value in wanted.items() if value is not None}
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name(script)), name, json.dumps(work)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    return Peer(name, process)


def interleave(
    peers: list[Peer], rounds: int, *, warm_ups: int = 1, before_turn: Callable[[Peer, int], None] = lambda *_: None
) -> None:
    """Blocks in turn, the order shifted by one in each round; the first `warm_ups` blocks of each are counted apart."""
    try:
        for peer in peers:
            peer.wait_until_ready()
        going = list(peers)
        for number in range(warm_ups + rounds):
            for place in range(len(going)):
                peer = going[(place + number) % len(going)]
                before_turn(peer, number)
                if not peer.turn(is_warm_up=number < warm_ups):
                    raise RuntimeError(f"{peer.name} ran out of steps in round {number}")
    finally:
        for peer in peers:
            peer.end()


def settle() -> None:
    """Give this process, and so its children, the settings of a worker of ours; before torch is imported."""
    from fm_notebook.worker import runtime

    os.environ.update(_QUIET)
    if AS_IT_COMES not in os.environ:
        os.environ.update(runtime.environment(os.environ))


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    import importlib.metadata
    import platform

    names = ("torch", "transformers", "accelerate", "peft", "fm_notebook")
    found = {}
    for name in names:
        with suppress(ImportError):
            found[name] = importlib.metadata.version(name)
    return {
        "device": _device(), "versions": found, "python": platform.python_version(), "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "memory_bytes": psutil.virtual_memory().total,
        "environment": {k: v for k, v in os.environ.items() if k.startswith(("OMP_", "GOMP_", "MALLOC_", "MKL_"))},
    }  # fmt: skip


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
