"""Log-likelihoods by models that read a context with an encoder and write what follows with a decoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fm_notebook.contracts.capabilities import TokenLogProbs
from fm_notebook.engine.batching import Batch, collate, spans
from fm_notebook.engine.capabilities.beginnings import Continuation
from fm_notebook.engine.capabilities.likelihoods import answers
from fm_notebook.engine.capabilities.masked import flat
from fm_notebook.engine.capabilities.reading import Reader
from fm_notebook.engine.capabilities.texts import Texts
from fm_notebook.engine.families import unwrapped
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.parts import LARGEST_LOGITS
from fm_notebook.engine.precision import autocast


def log_likelihoods(
    reader: Reader, texts: Texts, given: Sequence[str], contexts: Sequence[str] | None
) -> list[TokenLogProbs]:  # fmt: skip
    """See `fm_notebook.contracts.capabilities.LogLikelihoods`; without contexts, after an empty one.

    Contexts have the tokenizer's special tokens, texts have none, as in lm-evaluation-harness.
    """
    spelt = texts.spelt(given, special=False)
    ids, lengths, _ = flat(texts.spelt([""] * len(given) if contexts is None else contexts))
    own, sizes, _ = flat(spelt)
    ends, found = np.cumsum(sizes), np.full(len(own), np.nan)
    fits = np.flatnonzero((lengths <= reader.limit) & (sizes <= reader.limit) & (sizes > 0))

    def read(micro: Batch, forward: Forward) -> None:
        places, lengths = spans((ends - sizes)[micro.rows], sizes[micro.rows])
        found[places] = _log_probs(reader, micro, reader.batch(own[places], lengths, None), forward).numpy()

    words = unwrapped(reader.model).get_output_embeddings().weight.shape[0]
    tokens = max(1, min(reader.most_tokens, LARGEST_LOGITS // words))
    reader.each(reader.batch(ids, lengths, None).take(fits), tokens, read, packed=False)
    return answers([Continuation(text, 0) for text in spelt], found)


def _log_probs(reader: Reader, contexts: Batch, targets: Batch, forward: Forward) -> torch.Tensor:
    """Natural logarithms of the probability of each token of `targets`, float64, one text after the other."""
    model, device = reader.model, reader.device
    written = collate(targets, device)
    before = written["input_ids"].roll(1, dims=1)
    before[:, 0] = unwrapped(model).config.decoder_start_token_id
    with autocast(device, forward.precision):
        logits = model(**collate(contexts, device), decoder_input_ids=before).logits.float()
    mask = written["attention_mask"].bool()
    chosen = logits.gather(2, written["input_ids"][:, :, None])[:, :, 0] - logits.logsumexp(dim=2)
    return chosen[mask].cpu().double()
