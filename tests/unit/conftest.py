"""What unit tests share: a project and queues of their own, no network, English."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with this test's ``runs`` and ``state``; messages are English, the hub is out of reach, no worker is warmed.

    Nobody's settings are read.
    """
    settings = {"FM_NOTEBOOK_RUNS": tmp_path / "runs", "FM_NOTEBOOK_STATE": tmp_path / "state", "FM_NOTEBOOK_LANGUAGE": "en"}
    others = {"HF_HUB_OFFLINE": "1", "FM_NOTEBOOK_WARM": "0", "FM_NOTEBOOK_CONFIG": os.devnull}
    for name, value in {**settings, **others}.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path


@pytest.fixture(scope="session")
def write_evaluation():
    """Writes an evaluation's folder as the worker leaves it: ``(path, texts, truth, probabilities, labels, groups={})``."""
    import numpy as np
    import pyarrow as pa

    from fm_notebook.contracts.results import DataFacts
    from fm_notebook.contracts.specs import DataRef, EvaluateSpec, ModelRef
    from fm_notebook.data import stored
    from fm_notebook.jobs.folder import Identity, create

    def write(path: Path, texts, truth, probabilities, labels, *, groups=None, model=None, **fields):
        folder, n, groups = create(path), len(texts), groups or {}
        numbers = pa.array(range(100, 100 + n), pa.int64())
        rows = {"text": pa.array(texts, pa.large_string()), "label": pa.array(truth, pa.int32()), "row": numbers}
        stored.write(pa.table(rows | {f"by.{name}": pa.array(values) for name, values in groups.items()}), folder.eval_rows)
        names = pa.array([labels[i] for i in np.argmax(probabilities, axis=1)], pa.large_string())
        columns = [numbers, names, *(pa.array(np.asarray(probabilities)[:, i]) for i in range(len(labels)))]
        stored.write(pa.Table.from_arrays(columns, names=["row", "label", *labels]), folder.predictions)
        model = model or ModelRef(source="tiny", kind="run", location=str(path.parent / "model"))
        data = DataRef(source="rows", kind="value")
        spec = EvaluateSpec(**{"model": model, "data": data, "by": tuple(groups), "problem": "single-label", **fields})
        facts = DataFacts(labels=list(labels), train_rows=0, eval_rows=n, train_label_counts=[], eval_label_counts=[])
        folder.write(spec=spec, identity=Identity(name="tiny"), facts=facts)
        return folder

    return write
