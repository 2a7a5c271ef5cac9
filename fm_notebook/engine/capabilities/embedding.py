"""Texts as vectors: what a model's last hidden states come to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fm_notebook.contracts.capabilities import Pooling
from fm_notebook.engine import families, packing
from fm_notebook.engine.batching import Batch, collate, to_device
from fm_notebook.engine.capabilities.classes import flat_batch, once
from fm_notebook.engine.capabilities.reading import Reader
from fm_notebook.engine.capabilities.texts import Texts
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.precision import autocast


def embeddings(reader: Reader, texts: Texts, given: Sequence[str], pooling: Pooling) -> np.ndarray:
    """See `fm_notebook.contracts.capabilities.Embeddings`; equal texts are read once, long ones are cut."""
    different, which = once(given)
    batch = flat_batch(texts, [text for text, _ in different], special=pooling != "first")
    found = np.zeros((len(different), families.unwrapped(reader.model).config.get_text_config().hidden_size))

    def read(micro: Batch, forward: Forward) -> None:
        with autocast(reader.device, forward.precision):
            found[micro.rows] = vectors(reader.model, micro, pooling, packed=not forward.padded).cpu().double().numpy()

    reader.each(batch, reader.most_tokens, read, packed=pooling != "pooler")
    return found[which]


def vectors(model: torch.nn.Module, batch: Batch, pooling: Pooling, *, packed: bool) -> torch.Tensor:
    """A vector for each text, fp32, shape ``(B, D)``; ``pooler`` only for padded batches."""
    device = next(model.parameters()).device
    if packed:
        plan = packing.pack(batch.lengths, device)
        ids = to_device(_row(batch.ids, plan, batch.pad_id), device)
        types = None if batch.type_ids is None else to_device(_row(batch.type_ids, plan, 0), device)
        states = families.mean_states if pooling == "mean" else families.first_states
        return states(model, ids, plan, types).float()
    inputs = collate(batch, device)
    read = families.unwrapped(model).base_model(**inputs)
    if pooling == "pooler":
        return read.pooler_output.float()
    hidden = read.last_hidden_state.float()
    if pooling != "mean":
        return hidden[:, 0]
    mask = inputs["attention_mask"][:, :, None].float()
    return (hidden * mask).sum(1) / mask.sum(1)


def _row(values: np.ndarray, plan: packing.Pack, filler: int) -> np.ndarray:
    row = np.full(len(plan.positions), filler, np.int64)
    row[: len(values)] = values
    return row
