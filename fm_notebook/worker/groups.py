"""An evaluation told apart by group: what the worker adds to a task's own report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fm_notebook.contracts.groups import ByGroup
from fm_notebook.contracts.protocols import Classifies, Outputs, Task
from fm_notebook.contracts.specs import EvaluateSpec
from fm_notebook.data.grouped import PREFIX, crossed
from fm_notebook.metrics.disparities import disparities
from fm_notebook.metrics.grouping import crossing, grouping
from fm_notebook.metrics.groups import by_group
from fm_notebook.metrics.predictions import Predictions


def by_groups(spec: EvaluateSpec, task: Task, outputs: Outputs, rows: pa.Table, labels: Sequence[str]) -> list[ByGroup]:
    """Scores by each grouping that `spec` asks for, of the model's `outputs` for `rows`."""
    if not spec.by:
        return []
    assert isinstance(task, Classifies), "binding refuses others"
    truth, probabilities = task.classes(outputs, labels)
    given = Predictions.of(
        truth.astype(np.int64), probabilities.argmax(1), labels, probabilities=probabilities, positive=spec.positive
    )
    return [_by(each, spec, given, rows) for each in spec.by]


def _by(name: str, spec: EvaluateSpec, given: Predictions, rows: pa.Table) -> ByGroup:
    columns = [grouping(each, rows[PREFIX + each].to_pylist()) for each in crossed(name)]
    found = crossing(*columns)
    table = by_group(given, found, min_n=spec.min_n, seed=spec.seed)
    return ByGroup(table=table, disparities=disparities(table, given, found))
