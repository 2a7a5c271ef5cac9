"""Class probabilities for texts, by the device's worker."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fm_notebook import messages
from fm_notebook.contracts import fields
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import PredictSpec
from fm_notebook.errors import DataError, SpecError, WaitInterrupted
from fm_notebook.jobs.folder import delete
from fm_notebook.session import launch
from fm_notebook.session.binding import Bound

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_SILENT_SECONDS = 1.0


def predict(name: str, spec: PredictSpec, texts: object, labels: Sequence[str]) -> pd.DataFrame:
    """Label and probabilities (columns in the order of `labels`) of each text; the job's folder is removed afterwards.

    Raises
    ------
    DataError
        If `texts` holds anything but text.
    """
    import pandas as pd

    table = _table(texts)
    if not table.num_rows:
        classes = spec.task == "text-classification" and spec.problem in ("auto", "single-label")
        return pd.DataFrame(columns=["label", *labels] if classes else [])
    facts = DataFacts(labels=list(labels), train_rows=0, eval_rows=table.num_rows, train_label_counts=[], eval_label_counts=[])
    job = launch.predict(name, Bound(spec, facts, {"eval": table}), spec.model)
    try:
        launch.begin(job)
        if not job.wait(timeout_seconds=_SILENT_SECONDS) and job.progress.behind:
            messages.say("wait.behind", name=name, behind=job.progress.behind)
        job.wait()
        if failure := job.failure():
            raise failure
        return _frame(job.jobfolder.predictions)
    except WaitInterrupted as interrupted:
        interrupted.given_up = True
        raise
    finally:
        if not job.progress.over:
            job.command("cancel")
            job.wait(timeout_seconds=10)
        delete(job.jobfolder)


def checked(values: Mapping[str, Any]) -> PredictSpec:
    """The spec that `values` make.

    Raises
    ------
    SpecError
        With every faulty field.
    """
    try:
        return PredictSpec.model_validate(values)
    except ValidationError as error:
        written = {name: repr(value)[:80] for name, value in values.items()}
        raise SpecError(faults=fields.faults(error, PredictSpec, {}, written)) from None


def _table(texts: object) -> pa.Table:
    import pyarrow as pa

    if not isinstance(texts, Iterable) or isinstance(texts, Mapping | bytes) or hasattr(texts, "columns"):
        raise DataError("predict.not_text", type=type(texts).__name__)  # iterating a frame would give the names of its columns
    values: Any = [texts] if isinstance(texts, str) else list(texts)
    if values and all(isinstance(value, list) and all(isinstance(each, Mapping) for each in value) for value in values):
        chats = [json.dumps([dict(each) for each in value], ensure_ascii=False) for value in values]
        return pa.table({"messages": pa.array(chats, pa.large_string()), "row": pa.array(range(len(values)), pa.int64())})
    pairs = all(isinstance(value, tuple | list) and len(value) == 2 for value in values) and bool(values)
    columns = {"text": [v[0] for v in values], "text_pair": [v[1] for v in values]} if pairs else {"text": values}
    for column in columns.values():
        if bad := [value for value in column if not isinstance(value, str)]:
            raise DataError("predict.not_text", type=type(bad[0]).__name__)
    arrays = {name: pa.array(column, pa.large_string()) for name, column in columns.items()}
    return pa.table({**arrays, "row": pa.array(range(len(values)), pa.int64())})


def _frame(path: Any) -> pd.DataFrame:
    """Lists stay lists of dicts, which pandas would make arrays."""
    import pyarrow as pa

    from fm_notebook.data.stored import load

    table = load(path).sort_by("row").drop_columns(["row"])
    lists = {field.name for field in table.schema if pa.types.is_list(field.type) or pa.types.is_large_list(field.type)}
    frame = table.to_pandas()
    return frame.assign(**{name: table[name].to_pylist() for name in lists})
