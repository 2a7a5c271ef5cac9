"""The processes that train one model together: what they share, and how they agree.

Weights and gradients travel between devices (nccl, on CPU gloo). Wishes, flags and scores are host values and have a group of
their own (gloo), so that agreeing on a command never waits for a CUDA stream.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch

from fm_notebook.contracts.protocols import Command
from fm_notebook.engine import determinism, memory, precision
from fm_notebook.engine.randomness import uniform
from fm_notebook.errors import JobFailed, ModelError
from fm_notebook.jobs.placement import PEER_LOST, STORE

T = TypeVar("T")
_COMMANDS: tuple[Command, ...] = ("run", "pause", "stop", "cancel")

STEP_TIMEOUT = timedelta(minutes=10)
"""How long one process may be behind the others within a step."""
CONTROL_TIMEOUT = timedelta(days=7)
"""How long the others wait for the first one, which evaluates and saves alone; whoever started them sees if one of them dies."""
BUCKET = 2**24
"""Numbers that travel in one message: its copy takes 64 MB in fp32, whatever the model's size."""


@dataclass(frozen=True)
class World:
    """`size` processes, of which this is number `rank`; the first one reports, evaluates and saves.

    Attributes
    ----------
    device : torch.device, optional
        This process's own, where there are several.
    control : ProcessGroup, optional
        For host values; None stands for the only group there is.
    """

    rank: int = 0
    size: int = 1
    device: torch.device | None = None
    control: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def share(self, n: int) -> np.ndarray:
        """Which of a step's `n` examples are this process's."""
        return np.arange(self.rank, n, self.size)

    def shares(self, n: int) -> list[np.ndarray]:
        """The `share` of every process that has one."""
        return [np.arange(rank, n, self.size) for rank in range(min(n, self.size))]

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Make each tensor the sum over all processes."""
        self._in_buckets(tensors, torch.distributed.all_reduce)

    def equalise(self, tensors: Sequence[torch.Tensor]) -> None:
        """Make each tensor what it is in the first process."""
        self._in_buckets(tensors, lambda flat: torch.distributed.broadcast(flat, src=0, group=self._group_for(flat)))

    def any(self, here: bool) -> bool:
        """Whether it is so in any process."""
        return self.any_of([here])[0]

    def any_of(self, here: Sequence[bool]) -> list[bool]:
        """For each, whether it is so in any process."""
        return [count > 0 for count in self._sums_of([int(each) for each in here])] if self.size > 1 else list(here)

    def command(self, here: Command) -> Command:
        """The first process's command, for all."""
        if self.size == 1:
            return here
        return _COMMANDS[self._sums_of([_COMMANDS.index(here) if self.is_first else 0])[0]]

    def tell(self, value: T | None) -> T | None:
        """The first process's `value`, for all."""
        if self.size == 1:
            return value
        told = [value]
        with _among_peers():
            torch.distributed.broadcast_object_list(told, src=0, group=self.control, device=torch.device("cpu"))
        return told[0]

    def ask_first(self, find: Callable[[], T]) -> T:
        """What `find` gives in the first process, for all; the others do not call it."""
        return self.tell(find() if self.is_first else None)  # type: ignore[return-value] - None only where `find` gave it

    def seed(self, seed: int, step: int) -> None:
        """Give each process dropout of its own, a function of `seed` and `step` alone, so that a resume needs no state."""
        if self.size > 1:
            torch.manual_seed(int(uniform(seed, step, self.rank) * 2**53))

    def _group_for(self, tensor: torch.Tensor) -> Any:
        """Where it may travel: nccl takes nothing from a CPU."""
        return self.control if tensor.device.type == "cpu" else None

    def _sums_of(self, numbers: list[int]) -> list[int]:
        tensor = torch.tensor(numbers)
        with _among_peers():
            torch.distributed.all_reduce(tensor, group=self.control)
        return tensor.tolist()

    @torch.no_grad()
    def _in_buckets(self, tensors: Sequence[torch.Tensor], send: Callable[[torch.Tensor], Any]) -> None:
        if self.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in bucket])
            with _among_peers():
                send(flat)
            for tensor, sent in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(sent.view_as(tensor))


ALONE = World()


def join(asked: str) -> World:
    """Meet the other processes that torchrun or Ray started: RANK, WORLD_SIZE and LOCAL_RANK say who this one is.

    Parameters
    ----------
    asked : str
        The spec's device; with CUDA each process has a GPU of its own.

    Raises
    ------
    ModelError
        If there are fewer GPUs than processes, or the device is one that cannot be shared out.
    """
    device = precision.find_device(asked)
    _refuse_one_device(asked, device)
    accelerate = _accelerate(device)
    state = accelerate.PartialState(cpu=device.type == "cpu", backend="gloo" if device.type == "cpu" else None, **_meeting())
    control = torch.distributed.new_group(backend="gloo", timeout=CONTROL_TIMEOUT)
    own = device if device.type == "cpu" else state.device  # accelerate numbers CPUs too
    if own.type == "cuda":
        determinism.prepare(own)
    return World(state.process_index, state.num_processes, own, control)


def leave() -> None:
    """Part in peace; only where all is well, as a lost peer would be waited for."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _meeting() -> dict[str, Any]:
    """Where the processes meet. A file opens no port, which a torch store would do on all of the machine's networks."""
    who = {"rank": int(os.environ["RANK"]), "world_size": int(os.environ["WORLD_SIZE"]), "timeout": STEP_TIMEOUT}
    return {**who, "init_method": f"file://{os.environ[STORE]}"} if STORE in os.environ else who


def _refuse_one_device(asked: str, device: torch.device) -> None:
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if here > 1 and (device.type == "mps" or device.index is not None):
        raise ModelError("distributed.one_device", device=asked, processes=here)
    if device.type == "cuda" and here > torch.cuda.device_count():
        raise ModelError("distributed.too_few_gpus", processes=here, gpus=torch.cuda.device_count())


def _accelerate(device: torch.device) -> Any:
    import accelerate
    from accelerate.utils import check_cuda_p2p_ib_support

    if device.type == "cuda" and not check_cuda_p2p_ib_support():  # RTX 4000: `accelerate launch` sets the same
        os.environ.update(NCCL_P2P_DISABLE="1", NCCL_IB_DISABLE="1")
    return accelerate


def _buckets(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """The tensors in their order, those of one dtype together, in lists of at most `BUCKET` numbers (one tensor always may)."""
    by_dtype: dict[torch.dtype, list[torch.Tensor]] = {}
    for tensor in tensors:
        by_dtype.setdefault(tensor.dtype, []).append(tensor)
    for same in by_dtype.values():
        bucket: list[torch.Tensor] = []
        for tensor in same:
            if bucket and sum(each.numel() for each in bucket) + tensor.numel() > BUCKET:
                yield bucket
                bucket = []
            bucket.append(tensor)
        yield bucket


@contextmanager
def _among_peers() -> Iterator[None]:
    """Turn what a message fails with into an error that says that a process is gone."""
    try:
        yield
    except RuntimeError as error:
        if memory.is_out_of_memory(error):
            raise
        raise JobFailed(PEER_LOST, message=str(error).partition("\n")[0]) from error
