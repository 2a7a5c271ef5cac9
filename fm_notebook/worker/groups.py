"""An evaluation told apart by group: what the worker adds to a task's own report."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fm_notebook.contracts.groups import ByGroup, GroupTable, group_name
from fm_notebook.contracts.specs import EvaluateSpec
from fm_notebook.metrics.disparities import disparities
from fm_notebook.metrics.grouping import Grouping, of_rows
from fm_notebook.metrics.groups import by_group
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.subgroup_auc import subgroup_aucs
from fm_notebook.metrics.tpr_gaps import tpr_gaps


def by_groups(spec: EvaluateSpec, given: Predictions | None, rows: pa.Table) -> list[ByGroup]:
    """Scores by each grouping that `spec` asks for, of what was decided of `rows`."""
    if not spec.by:
        return []
    assert given is not None, "binding refuses others"
    return [_by(name, spec, given, rows) for name in spec.by]


def _by(name: str, spec: EvaluateSpec, given: Predictions, rows: pa.Table) -> ByGroup:
    found = of_rows(rows, name)
    table = by_group(given, found, min_n=spec.min_n, seed=spec.seed)
    return ByGroup(
        table=table,
        disparities=disparities(table, given, found),
        subgroup_aucs=_aucs(spec, given, found),
        tpr_gaps=tpr_gaps(given, found, min_n=spec.min_n, seed=spec.seed) if len(given.labels) > 2 else None,
    )


def _aucs(spec: EvaluateSpec, given: Predictions, found: Grouping) -> GroupTable | None:
    """Of rows whose group is known: which of the others are of a group, nobody can say."""
    known = np.flatnonzero(found.known)
    rows = found.known[found.codes]
    if given.scores is None or len(known) < 2:
        return None
    names = [group_name(found.groups[code]) for code in known]
    membership = found.codes[rows][:, None] == known
    return subgroup_aucs(given.take(rows), membership, names, column=" × ".join(found.columns), min_n=spec.min_n)
