"""Rows as token sequences for a causal language model, and which of their tokens are learnt.

A sequence is what the tokenizer puts before a text (such as BOS), the text, and its end: what the tokenizer puts after, or else
EOS, so that the model learns where to stop.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from fm_notebook.contracts.protocols import IGNORED
from fm_notebook.engine import models
from fm_notebook.engine.batching import Batch, Examples
from fm_notebook.engine.models import Loaded, ModelSource
from fm_notebook.engine.pieces import frame
from fm_notebook.engine.tokens import CHUNK, Tokens, count_unknown
from fm_notebook.errors import DataError, ModelError

TOKEN_BITS = 32
TOKEN_MASK = 2**TOKEN_BITS - 1
Span = tuple[int, int]
Draft = tuple[list[int], Sequence[Span]]
"""Token ids of one row, and the spans of those that are learnt."""


@dataclass(frozen=True)
class Sequences:
    """Token sequences of N rows; `learnt`, bool of shape ``(T,)``, says which tokens the model is to foretell."""

    tokens: Tokens
    learnt: np.ndarray

    def examples(self, rows: np.ndarray, marks: np.ndarray | None = None) -> Examples:
        """For training and scoring; targets are made by `shift`, a batch at a time: a byte a token is kept, not eight.

        Parameters
        ----------
        rows : ndarray of int64, shape (N,)
            Row numbers in the user's data.
        marks : ndarray of int, shape (N,), optional
            A number from 0 that each target of a row carries.

        Raises
        ------
        DataError
            If no token has a target.
        """
        foretold = self.learnt.copy()
        foretold[self.tokens.offsets[:-1]] = False  # nothing stands before a first token
        if not foretold.any():
            raise DataError("generation.nothing_to_learn")
        flags = foretold if marks is None else foretold * np.repeat(marks + 1, self.tokens.lengths).astype(np.int32)
        return Examples(self.tokens, flags, np.broadcast_to(np.float32(1), flags.shape), rows, "token", shift)


def shift(batch: Batch, epoch: int) -> Batch:
    """Targets from flags: that of place i is token i + 1 where that is learnt. A `fm_notebook.engine.batching.Draw`.

    Flags are 0 where nothing is learnt, else 1 + a mark; a mark goes into the target's upper half, above `TOKEN_BITS`.
    """
    del epoch
    targets = np.full(len(batch.ids), IGNORED, np.int64)
    learnt = np.flatnonzero(batch.targets)  # never a text's first token, so that its neighbour is of the same text
    targets[learnt - 1] = batch.ids[learnt] | ((batch.targets[learnt].astype(np.int64) - 1) << TOKEN_BITS)
    return replace(batch, targets=targets)


def texts(tokenizer: Any, given: Sequence[str], limit: int) -> Sequences:
    """Plain texts, with all tokens learnt; cut on the right at `limit` tokens."""
    before, after = frame(tokenizer)
    end = ending(tokenizer)
    drafts = (
        _draft(before + ids + ([] if ids[-1:] == end else end))
        for start in range(0, len(given), CHUNK)
        for ids in plain_ids(tokenizer, strings(given[start : start + CHUNK]))
    )
    return gathered(tokenizer, drafts, limit, special=len(given) * (len(before) + len(after)))


def completions(
    tokenizer: Any,
    prompts: Sequence[str],
    given: Sequence[str],
    limit: int,
    *,
    only: bool,
    ended: bool = True,
    cut: Literal["left", "right"] = "right",
) -> Sequences:
    """Prompts, each with its completion; `only` the completions are learnt (with their end), or everything.

    Both are tokenised as one text, which gives the tokens that the model knows, if the prompt's tokens come out as they do for
    the prompt alone, which is what generating sees. Where a token would reach over the border, they are tokenised apart.

    Parameters
    ----------
    limit : int
        Longest sequence in tokens; what is longer is cut on the `cut` side, on the left behind the tokenizer's first tokens.
    ended : bool
        Whether the end of the text is part of the completion.
    """
    before, after = frame(tokenizer)
    end = ending(tokenizer) if ended else []

    def drafts() -> Iterator[Draft]:
        for start in range(0, len(given), CHUNK):
            asked, answers = (strings(each[start : start + CHUNK]) for each in (prompts, given))
            for prompt, answer in _joined(tokenizer, asked, answers):
                ids = before + prompt + answer + end
                yield ids, [(len(before) + len(prompt) if only else 0, len(ids))]

    special = len(given) * (len(before) + len(after))
    return gathered(tokenizer, drafts(), limit, special=special, head=len(before) if cut == "left" else None)


def prompts(tokenizer: Any, given: Sequence[str], limit: int) -> Tokens:
    """Texts to go on from: without an end; cut on the left at `limit` tokens, as the end is what the model goes on from."""
    before, _ = frame(tokenizer)
    drafts = (_draft(before + ids) for ids in plain_ids(tokenizer, strings(given)))
    return gathered(tokenizer, drafts, limit, special=len(given) * len(before), head=len(before)).tokens


def ending(tokenizer: Any) -> list[int]:
    """What ends a text: the tokens that the tokenizer puts after it, else its EOS, if it has one."""
    _, after = frame(tokenizer)
    return after or [token for token in [tokenizer.eos_token_id] if token is not None]


def gathered(tokenizer: Any, drafts: Iterable[Draft], limit: int, *, special: int = 0, head: int | None = None) -> Sequences:
    """`drafts` as flat arrays, cut at `limit` tokens: on the right, or on the left behind the first `head` tokens.

    `special` is the number of tokens that are no text.
    """
    flat, learnt, lengths, truncated = array("i"), bytearray(), array("q", [0]), 0
    for drafted, found in drafts:
        ids, spans = (drafted, found) if drafted else ([tokenizer.pad_token_id or 0], [])  # no model takes an empty text
        flags = bytearray(len(ids))
        for start, stop in spans:
            flags[start:stop] = b"\x01" * (stop - start)
        if len(ids) > limit:
            truncated += 1
            before, after = (limit, len(ids)) if head is None else (head, head + len(ids) - limit)
            ids, flags = ids[:before] + ids[after:], flags[:before] + flags[after:]
        flat.extend(ids)
        learnt.extend(flags)
        lengths.append(len(ids))
    made = np.array(flat, np.int32)
    tokens = Tokens(
        ids=made, offsets=np.cumsum(np.array(lengths, np.int64)), type_ids=None, pad_id=tokenizer.pad_token_id or 0, limit=limit,
        truncated=truncated, unknown=count_unknown(tokenizer, made), plain=max(0, len(made) - special),
    )  # fmt: skip
    return Sequences(tokens, np.frombuffer(bytes(learnt), np.bool_))


def plain_ids(tokenizer: Any, given: list[str]) -> list[list[int]]:
    """Token ids of texts with nothing put before or after."""
    if not given:
        return []
    found = tokenizer(given, add_special_tokens=False, truncation=False, return_attention_mask=False, verbose=False)
    return found["input_ids"]


def strings(given: Any) -> list[str]:
    """Rows of Arrow or any sequence as Python's."""
    return given.to_pylist() if hasattr(given, "to_pylist") else list(given)


def load(source: ModelSource) -> Loaded:
    """A model with its head for the next token.

    Raises
    ------
    ModelError
        If the model sees the tokens that it should foretell, as an encoder does.
    """
    loaded = models.load(source, "CausalLM")
    if not is_causal(loaded.model):
        raise ModelError("generation.not_causal", name=source.model.source, architecture=loaded.model.config.model_type)
    return loaded


@torch.no_grad()
def is_causal(model: Any) -> bool:
    """Whether what `model` says of a token depends on no later one; tried on four tokens.

    An encoder such as BERT loads as a causal language model and sees the very tokens that it should foretell: its loss falls to
    nothing and means nothing.
    """
    ids = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 5]], device=model.device) % model.get_input_embeddings().num_embeddings
    was_training = model.training
    first, second = model.eval()(input_ids=ids).logits[:, :3].float()
    model.train(was_training)
    return bool((first - second).abs().max() <= 1e-4 * first.abs().max())


def _draft(ids: list[int]) -> Draft:
    return ids, [(0, len(ids))]


def _joined(tokenizer: Any, asked: list[str], answers: list[str]) -> Iterator[tuple[list[int], list[int]]]:
    """Tokens of each prompt and of its completion."""
    alone = plain_ids(tokenizer, asked)
    whole = plain_ids(tokenizer, [prompt + answer for prompt, answer in zip(asked, answers, strict=True)])
    apart = [i for i, (prompt, both) in enumerate(zip(alone, whole, strict=True)) if both[: len(prompt)] != prompt]
    answered = dict(zip(apart, plain_ids(tokenizer, [answers[i] for i in apart]), strict=True))
    for i, (prompt, both) in enumerate(zip(alone, whole, strict=True)):
        yield prompt, answered[i] if i in answered else both[len(prompt) :]
