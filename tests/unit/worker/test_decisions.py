"""What the worker adds to a report: calibration, temperature and curves, where rows have one class each."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from fm_notebook.contracts.protocols import Outputs
from fm_notebook.contracts.results import Evaluation
from fm_notebook.contracts.specs import DataRef, EvaluateSpec, ModelRef
from fm_notebook.errors import DataError
from fm_notebook.tasks import tasks
from fm_notebook.worker.decisions import decisions, trust
from fm_notebook.worker.groups import by_groups

N = 300


def spec_of(**fields):
    model = ModelRef(source="m", kind="folder", location="/m")
    return EvaluateSpec(model=model, data=DataRef(source="rows", kind="value"), **fields)


def outputs_of(classes, n=N, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    logits = (2 * rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[truth]).astype(np.float32)
    return Outputs({"logits": logits}, truth, np.ones(n, np.int64))


def decided(classes, labels, **fields):
    spec = spec_of(problem="single-label", **fields)
    return decisions(spec, tasks["text-classification"].configure(spec), outputs_of(classes), labels)


def test_of_two_labels_the_positive_ones_probability_is_judged():
    given = decided(2, ["no", "yes"], positive="yes")
    calibration, temperature, curves = trust(given, seed=0)
    assert calibration.brier.value == pytest.approx(brier_score_loss(given.is_positive, given.scores))
    assert temperature.temperature > 1.2
    assert temperature.interval.low > 1
    assert [curve.kind for curve in curves] == ["roc", "precision-recall"]
    assert curves[0].area.value == pytest.approx(roc_auc_score(given.is_positive, given.scores))


def test_without_a_positive_label_the_top_labels_probability_is_judged():
    calibration, _, curves = trust(decided(3, ["a", "b", "c"]), seed=0)
    assert calibration.positive is None
    assert {curve.label for curve in curves} == {"a", "b", "c"}


@pytest.mark.parametrize("problem", ["multi-label", "regression"])
def test_rows_without_one_class_each_have_none(problem):
    spec = spec_of(problem=problem)
    task = tasks["text-classification"].configure(spec)
    assert decisions(spec, task, outputs_of(2), ["a", "b"]) is None
    assert decisions(spec_of(), tasks["token-classification"], outputs_of(2), ["a", "b"]) is None
    assert trust(None, seed=0) == (None, None, [])


def test_a_model_that_diverged_has_a_report_but_no_groups():
    outputs, spec = outputs_of(2), spec_of(problem="single-label")
    outputs.values["logits"][3] = np.nan
    task = tasks["text-classification"].configure(spec)
    assert decisions(spec, task, outputs, ["a", "b"]) is None
    with pytest.raises(DataError, match="1 of 300 rows"):
        decisions(spec.model_copy(update={"by": ("g",)}), task, outputs, ["a", "b"])


def rows_of(**columns):
    return pa.table({f"by.{name}": values for name, values in columns.items()})


def groups_of(classes, labels, rows, *by, **fields):
    given = decided(classes, labels, by=by, **fields)
    return by_groups(spec_of(by=by, **fields), given, rows)


NAMES = np.random.default_rng(1).choice(["a", "b", None], N, p=[0.5, 0.4, 0.1])


def test_with_a_positive_label_the_score_is_ranked_within_and_across_groups():
    given = decided(2, ["no", "yes"], positive="yes")
    (found,) = groups_of(2, ["no", "yes"], rows_of(g=NAMES), "g", positive="yes")
    known = np.array([name is not None for name in NAMES])
    a = NAMES == "a"
    bpsn = known & (a ^ given.is_positive)
    row = found.subgroup_aucs["a"]
    assert row.get("subgroup_auc").value == pytest.approx(roc_auc_score(given.is_positive[a], given.scores[a]))
    assert row.get("bpsn_auc").value == pytest.approx(roc_auc_score(given.is_positive[bpsn], given.scores[bpsn]))
    assert found.tpr_gaps is None
    assert found.table.groups[-1].name == "(missing)"
    assert sum(each.n for each in found.table.groups) == N


def test_many_classes_have_gaps_of_the_true_positive_rate():
    (found,) = groups_of(3, ["x", "y", "z"], rows_of(g=NAMES), "g")
    assert found.subgroup_aucs is None
    assert [each.group for each in found.tpr_gaps.groups] == [("a",), ("b",)]
    assert all(len(each.gaps) == 3 for each in found.tpr_gaps.groups)


def test_one_row_a_group_is_shown_and_compared_with_nothing():
    (found,) = groups_of(2, ["no", "yes"], rows_of(g=[f"g{i % 40}" for i in range(N)]), "g", positive="yes", min_n=30)
    assert found.table.n_small == 40
    assert found.disparities.gaps == found.disparities.pairs == []


def test_the_whole_survives_json():
    given = decided(3, ["x", "y", "z"])
    calibration, temperature, curves = trust(given, seed=0)
    whole = Evaluation(
        model="m", data=DataRef(source="rows", kind="value"), labels=["x", "y", "z"], n=N, scores=[],
        calibration=calibration, temperature=temperature, curves=curves,
        groups=groups_of(3, ["x", "y", "z"], rows_of(g=NAMES), "g"),
    )  # fmt: skip
    assert Evaluation.model_validate_json(whole.model_dump_json()) == whole
