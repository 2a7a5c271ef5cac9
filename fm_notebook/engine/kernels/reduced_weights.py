"""A model whose weights are rounded for as long as it scores, so that nothing is cast at each layer and half the bytes move.

Autocast rounds what is multiplied and keeps what is added in fp32. With rounded weights the sums between layers are rounded too:
a margin between two logits of a fine-tuned MiniLM moves by .010 on average, .058 in the worst of 100 texts, against .006 and .033
by autocast alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fm_notebook.engine.precision import Precision

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def while_scoring(model: torch.nn.Module, precision: Precision) -> Iterator[None]:
    """Within it the weights of `model` are of `precision`; after it they are the very ones of before, which stay in memory."""
    dtype = _TYPES.get(precision)
    full = [(p, p.data) for p in model.parameters() if p.is_floating_point()] if dtype else []
    try:
        for parameter, data in full:
            parameter.data = data.to(dtype)
        yield
    finally:
        for parameter, data in full:
            parameter.data = data
