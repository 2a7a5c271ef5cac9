"""A model in pieces: each process keeps its share of every weight, gradient and moment, by torch's `fully_shard` (FSDP).

A block's weights are gathered while it computes and let go after it, on the way there and back; its gradient is summed over the
processes and each keeps its share. What lies in no block (embeddings, heads) is gathered for the length of a pass. All this is
the work of all processes at once: each must go through the model as often as the others, in training, scoring and saving.

References
----------
Rajbhandari et al. (2020), *ZeRO*, SC20, stage 3. Zhao et al. (2023), *PyTorch FSDP*, VLDB 16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts.protocols import Task
from fm_notebook.engine import memory
from fm_notebook.engine.batching import Batch, Budget, micro_batches
from fm_notebook.engine.distributed import World
from fm_notebook.engine.families import unwrapped
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.step import Backward, trained, weighted_loss
from fm_notebook.errors import JobFailed, ModelError
from fm_notebook.jobs.placement import PEER_LOST


class Shards:
    """`model`, cut into pieces in place over the processes of `world`, each of which keeps one on its device.

    A block is cut as it is moved there, so that the whole model never lies on one device.

    Raises
    ------
    ModelError
        If this torch is too old for it.
    """

    def __init__(self, model: torch.nn.Module, world: World):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        if not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
            raise ModelError("fsdp.old_torch", torch=torch.__version__, needed="2.8")
        assert world.device is not None
        self._world = world
        self._root: Any = _Root(model)
        mesh = init_device_mesh(world.device.type, (world.size,))
        for module in (*blocks(model), self._root):
            fully_shard(module, mesh=mesh)
        for module in self._root.modules():
            if isinstance(module, FSDPModule):  # a step's losses are shares of its whole already: sums, not means
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)

    def through(self, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What `compute` says, which may go through the model."""
        learns = torch.is_grad_enabled()
        # Weights gathered in inference mode could not be learnt from later; autocast's cache would keep those of all blocks.
        with _for_all(), torch.inference_mode(False), torch.set_grad_enabled(learns), _autocast_without_cache():
            found = self._root(compute)
            if not learns:
                self._root.reshard()
            return found

    def accumulate(
        self, model: Any, task: Task, batch: Batch, forward: Forward, budget: Budget, backward: Backward
    ) -> torch.Tensor:
        """Of the whole step's `batch`, add up the gradient of this process's share: a `fm_notebook.engine.step.StepFunction`.

        Whoever has fewer micro-batches than another, or none, goes through the model with a text of no weight.
        """
        shares = [
            list(micro_batches(batch.take(share), budget, padded=forward.padded)) for share in self._world.shares(len(batch))
        ]
        mine = shares[self._world.rank] if self._world.rank < len(shares) else []
        idle = max(map(len, shares)) - len(mine)
        loss = torch.zeros((), device=next(model.parameters()).device)
        for micro in [*mine, *[_weightless(batch)] * idle]:
            part = weighted_loss(model, task, micro, forward)
            with _for_all():
                backward(part)
            loss += part.detach()
        return loss

    def summed(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> tuple[torch.Tensor, torch.Tensor]:
        """The step's loss over all processes and the norm of its gradient, of which each process has a share."""
        gradients = [local(p.grad) for p in trained(optimizer) if p.grad is not None]
        squares = torch.nn.utils.get_total_norm(gradients).square()
        self._world.add_up([loss, squares])
        return loss, squares.sqrt()

    def start_again(self) -> None:
        """After an error that all processes had at the same place: forget the pass that it ended."""
        if not hasattr(self._root, "reset_iter_state"):
            raise ModelError("fsdp.old_torch", torch=torch.__version__, needed="2.13")
        self._root.zero_grad()  # of what is gathered now: gradients that would be added to those of the next pass
        self._root.reset_iter_state()


class _Root(torch.nn.Module):
    """Holds the model: what is gathered for a pass is gathered whichever of its modules the pass goes through."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        found = compute()
        return found.clone() if found._base is not None and found.requires_grad else found  # hooks of a view can get lost


def blocks(model: Any) -> list[torch.nn.Module]:
    """The repeated layers of a transformers model, which are gathered one at a time."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    inner = unwrapped(model)
    named = set(getattr(inner, "_no_split_modules", None) or ())
    lists = [module for module in inner.modules() if isinstance(module, torch.nn.ModuleList)]
    found = [m for each in lists for m in each if type(m).__name__ in named or isinstance(m, GradientCheckpointingLayer)]
    within = {id(part) for block in found for part in block.modules() if part is not block}
    return [block for block in found if id(block) not in within]


def gathered(model: torch.nn.Module) -> int:
    """Most bytes of whole weights and gradients that lie there while a model in shards computes; 0 where none is.

    Of all that is in no block both; of the largest block both, and the weights of the next, which come meanwhile.
    """
    cut = [module for module in model.modules() if hasattr(module, "unshard")]
    sizes = [sum(p.numel() for p in block.parameters()) for block in cut]
    everywhere = sum(p.numel() for p in model.parameters() if _is_sharded(p)) - sum(sizes)
    return 4 * (2 * everywhere + 3 * max(sizes, default=0))


def whole(tensor: torch.Tensor, copied: Callable[[torch.Tensor], torch.Tensor] = lambda whole: whole) -> torch.Tensor:
    """`copied` of a sharded tensor in one piece on its device, of any other as it is; all processes must ask for it."""
    if not _is_sharded(tensor):
        return copied(tensor)
    with _for_all():
        return copied(tensor.detach().full_tensor())  # type: ignore[attr-defined]


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What this process has of a tensor; it shares its memory."""
    return tensor.to_local() if _is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def put(tensor: torch.Tensor, value: torch.Tensor) -> None:
    """Fill a tensor, or what this process has of it, from the whole `value`, which may lie elsewhere."""
    if _is_sharded(tensor):
        mesh: Any = tensor.device_mesh  # type: ignore[attr-defined]
        pieces = value.chunk(mesh.size())
        value = pieces[mesh.get_local_rank()] if mesh.get_local_rank() < len(pieces) else value[:0]
    local(tensor).copy_(value)


def place_of(tensor: torch.Tensor) -> tuple[Any, ...]:
    """What two tensors have in common if they are the same memory.

    All processes must find the same of sharded ones, and one may have nothing of them: there it is that they are one object.
    """
    if _is_sharded(tensor):
        return (id(tensor),)
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def lend(tensors: Iterable[torch.Tensor]) -> None:
    """Take part where the first process gathers `tensors`, each once, to save them."""
    for tensor in {place_of(tensor): tensor for tensor in tensors}.values():
        whole(tensor)


def _is_sharded(tensor: torch.Tensor) -> bool:
    return hasattr(tensor, "full_tensor")  # a DTensor, whose library is not loaded without need


def _weightless(batch: Batch) -> Batch:
    """The shortest text of the batch, without weight."""
    text = batch.take(np.array([int(batch.lengths.argmin())]))
    return replace(text, weights=np.zeros_like(text.weights))


@contextmanager
def _autocast_without_cache() -> Iterator[None]:
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


@contextmanager
def _for_all() -> Iterator[None]:
    """Turn what ends one process's part, and with it everybody's, into errors that say so."""
    try:
        yield
    except RuntimeError as error:
        message = str(error).partition("\n")[0]
        if memory.is_out_of_memory(error):
            raise JobFailed("fsdp.out_of_memory", message=message) from error
        if isinstance(error, torch.distributed.DistError) or "gloo" in message:
            raise JobFailed(PEER_LOST, message=message) from error
        raise
