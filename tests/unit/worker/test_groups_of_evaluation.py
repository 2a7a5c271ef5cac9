"""An evaluation by group holds what scikit-learn says of the rows of each group."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import accuracy_score, recall_score

from fm_notebook.contracts.protocols import Outputs
from fm_notebook.contracts.specs import DataRef, EvaluateSpec, ModelRef
from fm_notebook.errors import DataError
from fm_notebook.tasks.text_classification import task
from fm_notebook.worker.decisions import decisions
from fm_notebook.worker.groups import by_groups

LABELS = ["no", "yes"]
N = 240


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    truth, logits = rng.integers(0, 2, N), rng.normal(size=(N, 2)).astype(np.float32)
    rows = pa.table({"by.gender": rng.choice(["m", "w"], N), "by.old": rng.random(N) < 0.5, "row": np.arange(N)})
    return Outputs({"logits": logits}, truth, np.ones(N, np.int64)), rows


def found_by(scored, *by, **fields):
    model = ModelRef(source="m", kind="folder", location="/m")
    spec = EvaluateSpec(model=model, data=DataRef(source="rows", kind="value"), by=by, positive="yes", **fields)
    outputs, rows = scored
    return by_groups(spec, decisions(spec, task, outputs, LABELS), rows)


def test_each_group_is_scored_on_its_own_rows(scored):
    outputs, rows = scored
    (found,) = found_by(scored, "gender")
    answers = outputs.values["logits"].argmax(1)
    for group in ("m", "w"):
        inside = np.array(rows["by.gender"]) == group
        row = found.table[group]
        assert row.n == inside.sum()
        assert row.get("accuracy").value == pytest.approx(accuracy_score(outputs.targets[inside], answers[inside]))
        assert row.get("tpr").value == pytest.approx(recall_score(outputs.targets[inside], answers[inside]))
    rates = [group.get("tpr").value for group in found.table.groups]
    assert found.disparities["equal_opportunity"].difference == pytest.approx(max(rates) - min(rates))


def test_a_crossing_has_a_row_for_each_pair_of_values(scored):
    crossed, plain = found_by(scored, "gender * old", "old")
    assert crossed.table.columns == ["gender", "old"]
    assert sum(row.n for row in crossed.table.groups) == N
    assert len(crossed.table.groups) == 4
    assert len(plain.table.groups) == 2


def test_small_groups_are_there_but_in_no_gap(scored):
    (found,) = found_by(scored, "gender", min_n=1000)
    assert found.table.n_small == 2
    assert found.disparities.gaps == []


def test_a_column_of_single_rows_asks_for_bins(scored):
    outputs, rows = scored
    with pytest.raises(DataError, match="row"):
        found_by((outputs, rows.append_column("by.row", rows["row"])), "row")


def test_without_by_there_is_nothing(scored):
    assert found_by(scored) == []
