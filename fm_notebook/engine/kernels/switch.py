"""The techniques that need nothing but the model, switched on together in the order in which they build on each other.

What each took off a packed step of MiniLM (SST-2, 16 texts, CPU time of one thread without AMX, all before it on): mask_pool
7 % in fp32 and 10 % in bf16, last_layer 10 and 8 %, bert_layer 3 % (5 to 10 % with 64 texts) and nothing. Not faster here and
so not built: one flat buffer for all parameters, clipping inside the optimiser's step. compiled_layer, in bf16 alone, took a
third off a step of 64 texts and of 16 reviews (two threads, AVX512-BF16).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from fm_notebook.engine.batching import Examples
from fm_notebook.engine.kernels import bert_layer, constant_linear, dropout, last_layer, reduced_weights
from fm_notebook.engine.kernels import vocabulary as compact_vocabulary
from fm_notebook.engine.kernels.compiled.operations import operations
from fm_notebook.engine.kernels.replacing import Undo, in_reverse
from fm_notebook.engine.kernels.vocabulary import CompactVocabulary
from fm_notebook.engine.precision import Precision

Technique = Literal["mask_pool", "last_layer", "bert_layer", "compiled_layer", "constant_linear"]
ALL: tuple[Technique, ...] = get_args(Technique)
IN_TORCH: tuple[Technique, ...] = tuple(name for name in ALL if name != "compiled_layer")


@dataclass(frozen=True)
class Techniques:
    """What is on: `names` for the record, the `vocabulary` if it is compact, and `undo` to have the model as it was."""

    names: tuple[str, ...] = ()
    vocabulary: CompactVocabulary | None = None
    undo: Undo = lambda: None


def enable_for(
    model: Any, examples: Sequence[Examples], tokenizer: Any, seed: int, which: Collection[Technique] = ALL
) -> Techniques:  # fmt: skip
    """Switch on those of `which` that fit a packed `model` and the `examples` (training, held out); before the optimiser is made.

    Where words are drawn at random, as for masking, the vocabulary stays whole.
    """
    vocabulary, undo = None, enable(model, seed, which)
    if compact_vocabulary.fits(model) and not any(each.draw for each in examples):
        kept = compact_vocabulary.occurring([each.tokens.ids for each in examples], tokenizer.all_special_ids)
        vocabulary = CompactVocabulary(model, kept)
        undo = in_reverse([undo, vocabulary.restore])
    names = [name for name in which if name != "compiled_layer" or operations()]
    return Techniques((*names, *(("vocabulary",) if vocabulary else ())), vocabulary, undo)


def enable(model: torch.nn.Module, seed: int, which: Collection[Technique] = ALL) -> Undo:
    """Switch on those of `which` that fit `model`; gives the function that switches them off.

    Which ones are on decides which random numbers are drawn, so a resumed run needs the same ones to repeat its bits.
    """
    on_cpu = all(p.device.type == "cpu" for p in model.parameters())
    pool = dropout.MaskPool(seed) if "mask_pool" in which and on_cpu else None
    undos = []
    if pool is not None:
        undos.append(dropout.enable(model, pool))
    if "last_layer" in which:
        undos.append(last_layer.enable(model))
    if "bert_layer" in which:
        undos.append(bert_layer.enable(model, pool, operations() if "compiled_layer" in which else None))
    if "constant_linear" in which and not any(getattr(each, "gradient_checkpointing", False) for each in model.modules()):
        undos.append(constant_linear.enable(model))  # where activations are computed anew, memory counts more than time
    return in_reverse(undos)


@contextmanager
def while_scoring(model: torch.nn.Module, precision: Precision) -> Iterator[None]:
    """Within it `model`, which does not learn meanwhile, answers as quickly as it can where it gets packed rows."""
    undo = in_reverse([last_layer.enable(model), bert_layer.enable(model, operations=operations())])
    try:
        with reduced_weights.while_scoring(model, precision):
            yield
    finally:
        undo()
