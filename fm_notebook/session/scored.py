"""What a finished evaluation left on disk: the rows that were scored, and what the model said of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fm_notebook.contracts.specs import EvaluateSpec
from fm_notebook.errors import SpecError
from fm_notebook.jobs.folder import JobFolder

if TYPE_CHECKING:
    import pyarrow as pa

    from fm_notebook.metrics.predictions import Predictions


def has_classes(folder: JobFolder) -> bool:
    """Whether each row of the evaluation in `folder` has one class: confusion, margins and flips are defined for no other."""
    from fm_notebook.contracts.protocols import Classifies
    from fm_notebook.tasks import tasks

    spec = folder.spec
    assert isinstance(spec, EvaluateSpec)
    return spec.problem in ("auto", "single-label") and isinstance(tasks[spec.task], Classifies)


def check_inspectable(folder: JobFolder) -> None:
    """Refuse the evaluation in `folder` if its rows have no one class each.

    Raises
    ------
    SpecError
        With what the evaluation is.
    """
    if not has_classes(folder):
        spec = folder.spec
        raise SpecError("inspect.task", task=getattr(spec, "task", ""), problem=getattr(spec, "problem", ""))


def scored_rows(folder: JobFolder) -> pa.Table:
    """The rows of the evaluation in `folder`: canonical columns, ``row``, and ``by.<name>`` of the groups."""
    from fm_notebook.data.stored import load

    return load(folder.eval_rows)


def predictions(folder: JobFolder, *, positive: str | None = None) -> Predictions:
    """True and predicted classes with their probabilities, in the order of `scored_rows`, of an evaluation of one class a row."""
    import numpy as np

    from fm_notebook.data.stored import load
    from fm_notebook.metrics.predictions import Predictions

    said = load(folder.predictions)
    said = said.select(list(range(2, said.num_columns)))  # behind ``row`` and ``label``, which a class may be called too
    given = np.stack([said[i].to_numpy() for i in range(said.num_columns)], axis=1)
    truth = scored_rows(folder)["label"].to_numpy().astype(np.int64)
    return Predictions.of(truth, given.argmax(1), said.column_names, probabilities=given, positive=positive)
