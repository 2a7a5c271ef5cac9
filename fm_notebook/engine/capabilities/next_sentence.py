"""Whether one sentence follows another, by BERT's head for next sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fm_notebook.engine.batching import Batch, collate
from fm_notebook.engine.capabilities.classes import flat_batch, once
from fm_notebook.engine.capabilities.reading import Reader
from fm_notebook.engine.capabilities.texts import Texts
from fm_notebook.engine.families import unwrapped
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.precision import autocast


def next_sentence(reader: Reader, texts: Texts, firsts: Sequence[str], seconds: Sequence[str]) -> np.ndarray:
    """See `fm_notebook.contracts.capabilities.NextSentence`; equal pairs are read once, long ones are cut.

    The head's first output is the pair that belongs together.
    """
    different, which = once(firsts, seconds)
    found = np.zeros(len(different))
    model = unwrapped(reader.model)

    def read(micro: Batch, forward: Forward) -> None:
        with autocast(reader.device, forward.precision):
            pooled = model.base_model(**collate(micro, reader.device)).pooler_output
            logits = model.cls.seq_relationship(pooled)
        found[micro.rows] = logits.cpu().double().softmax(dim=1)[:, 0].numpy()

    batch = flat_batch(texts, [first for first, _ in different], [second for _, second in different])
    reader.each(batch, reader.most_tokens, read, packed=False)
    return found[which]
