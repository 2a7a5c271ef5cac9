"""One label a text, several, or a number."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss, mean_squared_error
from sklearn.utils.class_weight import compute_sample_weight

from fm_notebook.contracts.protocols import Outputs
from fm_notebook.tasks.text_classification import TextClassification, task

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(50, 3)).astype(np.float32)
TARGETS = RNG.integers(0, 3, 50)
LABELS = ["a", "b", "c"]
SEVERAL = (RNG.random((50, 3)) < 0.4).astype(np.float32)


def outputs(logits=LOGITS, targets=TARGETS):
    return Outputs({"logits": logits}, targets, np.ones(len(logits), np.int64))


def test_losses_are_negative_log_likelihoods():
    losses = task.losses(torch.from_numpy(LOGITS), torch.from_numpy(TARGETS))
    expected = -np.log(task.probabilities(LOGITS)[np.arange(50), TARGETS])
    assert losses.numpy() == pytest.approx(expected, abs=1e-5)


def test_losses_of_several_labels_are_means_of_binary_cross_entropies():
    several = TextClassification("multi-label")
    losses = several.losses(torch.from_numpy(LOGITS), torch.from_numpy(SEVERAL))
    p = several.probabilities(LOGITS)
    assert losses.numpy() == pytest.approx(-np.where(SEVERAL == 1, np.log(p), np.log1p(-p)).mean(1), abs=1e-5)


def test_losses_of_numbers_are_squared_errors():
    found = TextClassification("regression").losses(torch.tensor([[1.0], [2.0]]), torch.tensor([3.0, 2.5]))
    assert found.tolist() == [4.0, 0.25]


def test_probabilities_sum_to_one_even_for_large_logits():
    found = task.probabilities(np.array([[1000.0, 0.0], [-1000.0, -1000.0]], np.float32))
    assert found == pytest.approx(np.array([[1.0, 0.0], [0.5, 0.5]]))
    assert found.dtype == np.float64


def test_scores_are_those_of_scikit_learn():
    report, predicted = task.report(outputs(), LABELS, seed=0), LOGITS.argmax(1)
    assert report["accuracy"].value == pytest.approx(accuracy_score(TARGETS, predicted))
    assert report["macro_f1"].value == pytest.approx(f1_score(TARGETS, predicted, average="macro"))
    assert report["loss"].value == pytest.approx(log_loss(TARGETS, task.probabilities(LOGITS)))
    assert np.sum(report.confusion) == 50


def test_scores_of_several_labels_and_of_numbers_are_those_of_scikit_learn():
    report = TextClassification("multi-label").report(outputs(targets=SEVERAL), LABELS, seed=0)
    assert report["micro_f1"].value == pytest.approx(f1_score(SEVERAL, LOGITS > 0, average="micro"))
    report = TextClassification("regression").report(outputs(LOGITS[:, :1], LOGITS[:, 1]), ["y"], seed=0)
    assert report["loss"].value == pytest.approx(report["rmse"].value ** 2)
    assert report["rmse"].value == pytest.approx(mean_squared_error(LOGITS[:, 1], LOGITS[:, 0]) ** 0.5)


def test_balanced_weights_are_those_of_scikit_learn():
    found = TextClassification(class_weight="balanced").weights(TARGETS, LABELS)
    assert found == pytest.approx(compute_sample_weight("balanced", TARGETS), abs=1e-6)


def test_weights_by_label_are_one_where_nothing_is_said():
    assert TextClassification(class_weight={"b": 2.5}).weights(np.array([0, 1, 2]), LABELS).tolist() == [1.0, 2.5, 1.0]
    assert task.weights(np.array([0, 1]), ["a", "b"]).tolist() == [1.0, 1.0]


def test_rows_become_targets_of_their_kind(tiny_tokenizer):
    rows = pa.table({"text": ["a b", "b", "a"], "row": [0, 2, 5], "label": pa.array([[0, 2], [], [1]], pa.list_(pa.int32()))})
    found = TextClassification("multi-label").encode(rows, tiny_tokenizer, LABELS, max_length=8)
    assert found.targets.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert found.rows.tolist() == [0, 2, 5]
    numbers = rows.set_column(2, "label", pa.array([0.5, 1.5, -2.0]))
    found = TextClassification("regression").encode(numbers, tiny_tokenizer, ["y"], max_length=8)
    assert found.targets.tolist() == [0.5, 1.5, -2]


def test_predictions_are_for_readers():
    found = task.predictions(outputs(), None, LABELS).to_pydict()
    assert found["label"] == [LABELS[i] for i in LOGITS.argmax(1)]
    assert np.sum([found[label] for label in LABELS], axis=0) == pytest.approx(np.ones(50))
    several = TextClassification("multi-label").predictions(outputs(), None, LABELS).to_pydict()
    assert several["labels"][0] == [label for label, logit in zip(LABELS, LOGITS[0], strict=True) if logit >= 0]
    assert TextClassification("regression").predictions(outputs(), None, ["y"])["value"].to_numpy() == pytest.approx(LOGITS[:, 0])
