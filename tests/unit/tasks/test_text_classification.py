"""One label a text."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from sklearn.utils.class_weight import compute_sample_weight

from fm_notebook.tasks.text_classification import task

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(50, 3)).astype(np.float32)
TARGETS = RNG.integers(0, 3, 50)


def test_losses_are_negative_log_likelihoods():
    losses = task.example_losses(torch.from_numpy(LOGITS), {"labels": torch.from_numpy(TARGETS)})
    expected = -np.log(task.probabilities(LOGITS)[np.arange(50), TARGETS])
    assert losses.numpy() == pytest.approx(expected, abs=1e-5)


def test_probabilities_sum_to_one_even_for_large_logits():
    found = task.probabilities(np.array([[1000.0, 0.0], [-1000.0, -1000.0]], np.float32))
    assert found == pytest.approx(np.array([[1.0, 0.0], [0.5, 0.5]]))
    assert found.dtype == np.float64


def test_scores_are_those_of_scikit_learn():
    predicted = LOGITS.argmax(1)
    found = {score.name: score.value for score in task.score(LOGITS, TARGETS, seed=0)}
    assert found["accuracy"] == pytest.approx(accuracy_score(TARGETS, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(TARGETS, predicted, average="macro"))


def test_balanced_weights_are_those_of_scikit_learn():
    found = task.example_weights(TARGETS, ["a", "b", "c"], "balanced")
    assert found == pytest.approx(compute_sample_weight("balanced", TARGETS), abs=1e-6)


def test_weights_by_label_are_one_where_nothing_is_said():
    assert task.example_weights(np.array([0, 1, 2]), ["a", "b", "c"], {"b": 2.5}).tolist() == [1.0, 2.5, 1.0]
    assert task.example_weights(np.array([0, 1]), ["a", "b"], None).tolist() == [1.0, 1.0]
