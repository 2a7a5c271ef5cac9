"""What a finished evaluation left on disk: the rows that were scored, and what the model said of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fm_notebook.jobs.folder import JobFolder

if TYPE_CHECKING:
    import pyarrow as pa

    from fm_notebook.metrics.predictions import Predictions


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
