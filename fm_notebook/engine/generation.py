"""Continuations of many prompts by a causal language model."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch

from fm_notebook.contracts.events import ItemsScored
from fm_notebook.contracts.protocols import ReadCommand
from fm_notebook.engine import families, memory
from fm_notebook.engine.models import quietly
from fm_notebook.engine.precision import Precision, autocast
from fm_notebook.engine.tokens import Tokens
from fm_notebook.errors import JobFailed

ENDS = frozenset({"stop", "cancel"})
Continuing = Generator[ItemsScored, None, list[str] | None]


@dataclass(frozen=True)
class Sampling:
    """How a continuation is chosen.

    Attributes
    ----------
    max_new_tokens : int
        Longest continuation.
    temperature : float
        0 takes the likeliest token each time (greedy); above 0 tokens are drawn from the softmax of logits / temperature.
    seed : int
        Of the draws. They depend on the batch size too, as prompts that go together share a generator.
    count : int
        Continuations of each prompt: drawn apart, or without a temperature the best of so many beams.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0
    count: int = 1


def continuations(
    model: Any,
    tokenizer: Any,
    prompts: Tokens,
    sampling: Sampling,
    *,
    stops: Sequence[int] = (),
    batch_size: int = 16,
    precision: Precision = "fp32",
    command: ReadCommand = lambda: "run",
) -> Continuing:
    """What the model goes on with after each prompt, in their order; None if a command came in between.

    With a ``count`` above 1 a prompt's continuations stand one after the other. Longest prompts first, padded on the left, so
    that all continuations begin at the same place. A continuation ends before the first of the tokens `stops`, of the
    tokenizer's EOS, and of those that the model's generation settings name.

    Raises
    ------
    JobFailed
        If memory does not suffice for one prompt.
    """
    ends = _ends(model, tokenizer, stops)
    order, found, done, began = np.argsort(-prompts.lengths, kind="stable"), {}, 0, perf_counter()
    with _ready(model):
        while done < len(order):
            if command() in ENDS:
                return None
            which = order[done : done + batch_size]
            made = _batch(model, prompts, which, sampling, ends, precision)
            if made is None:
                memory.free()
                if batch_size == 1:
                    raise JobFailed("engine.out_of_memory_scoring")
                batch_size = max(1, min(batch_size, len(which)) // 2)
                continue
            for i, ids in zip(np.repeat(which, sampling.count).tolist(), made, strict=True):
                found.setdefault(i, []).append(tokenizer.decode(_before(ids, ends), skip_special_tokens=True))
            done += len(which)
            yield ItemsScored(done=done, total=len(order), seconds=perf_counter() - began)
    return [text for i in range(len(order)) for text in found[i]]


@contextmanager
def _ready(model: Any) -> Iterator[None]:
    """Evaluation mode and the attention that knows padding; both as found afterwards."""
    packs, was_training = families.is_enabled(model), model.training
    families.disable(model)
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
        if packs:
            families.enable(model)


def _ends(model: Any, tokenizer: Any, stops: Sequence[int]) -> list[int]:
    own = families.unwrapped(model).generation_config.eos_token_id
    own = own if isinstance(own, list) else [own]
    return sorted({token for token in [*stops, tokenizer.eos_token_id, *own] if token is not None})


@torch.inference_mode()
def _batch(
    model: Any, prompts: Tokens, which: np.ndarray, sampling: Sampling, ends: list[int], precision: Precision
) -> list[list[int]] | None:
    """New tokens after each prompt of the batch, ``count`` rows a prompt; None if memory ran out."""
    from transformers import GenerationConfig

    device = next(model.parameters()).device
    ids, mask = _padded_left(prompts, which)
    chance = {"temperature": sampling.temperature, "top_k": 0, "top_p": 1.0} if sampling.temperature else {}
    settings = GenerationConfig(
        max_new_tokens=sampling.max_new_tokens, do_sample=bool(chance), pad_token_id=prompts.pad_id, eos_token_id=ends or None,
        num_beams=1 if chance else sampling.count, num_return_sequences=sampling.count, use_cache=True, **chance,
    )  # fmt: skip
    devices = [device] if device.type == "cuda" else []
    try:
        with quietly(), torch.random.fork_rng(devices), autocast(device, precision):
            torch.manual_seed(sampling.seed)
            found = model.generate(
                input_ids=torch.from_numpy(ids).to(device), attention_mask=torch.from_numpy(mask).to(device),
                generation_config=settings,
            )  # fmt: skip
    except RuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        return None
    return found[:, ids.shape[1] :].tolist()


def _padded_left(prompts: Tokens, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask, both int64 of shape ``(B, W)``."""
    lengths = prompts.lengths[which]
    mask = np.arange(lengths.max()) >= lengths.max() - lengths[:, None]
    ids = np.full(mask.shape, prompts.pad_id, np.int64)
    ids[mask] = np.concatenate([prompts.ids[prompts.offsets[i] : prompts.offsets[i + 1]] for i in which])
    return ids, mask.astype(np.int64)


def _before(ids: list[int], ends: list[int]) -> list[int]:
    return ids[: next((place for place, token in enumerate(ids) if token in ends), len(ids))]
