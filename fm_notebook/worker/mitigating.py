"""What a run's mitigations make of its training rows, the same in every process and after every resume."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from fm_notebook.contracts.events import Noted
from fm_notebook.contracts.protocols import TrainingRows
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.engine.batching import Examples
from fm_notebook.mitigations import mitigations


def mitigated(rows: pa.Table, spec: FinetuneSpec, labels: list[str]) -> Generator[Noted, None, TrainingRows]:
    """`rows` after each of the spec's mitigations, in their order."""
    given = TrainingRows(rows, np.ones(len(rows)), labels)
    for name, fields in (spec.mitigation or {}).items():
        plugin = mitigations[name]
        given, notes = plugin.apply(given, plugin.Spec.model_validate(fields), seed=spec.seed)
        yield from notes
    return given


def weighted(examples: Examples, weights: np.ndarray) -> Examples:
    """`examples` with `weights`, shape ``(N,)``, times their own."""
    if (weights == 1).all():
        return examples
    assert examples.level == "text", "a mitigation that gives weights names kinds of rows with one target each"
    assert len(examples) == len(weights)
    return replace(examples, weights=(examples.weights * weights).astype(np.float32))
