"""Label errors by confident learning: as its definition says row by row, as cleanlab says, and planted ones found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.metrics.label_errors import label_errors
from fm_notebook.metrics.predictions import Predictions


def judged(chances, truth):
    chances = np.asarray(chances, float)
    labels = [str(i) for i in range(chances.shape[1])]
    return label_errors(Predictions.of(np.asarray(truth), chances.argmax(1), labels, probabilities=chances))


def by_definition(chances, truth):
    """Row by row, in the words of Northcutt et al. 2021."""
    classes = range(chances.shape[1])
    means = {j: np.mean([p[j] for p, t in zip(chances, truth, strict=True) if t == j]) for j in set(truth)}
    suspects = []
    for row, (p, label) in enumerate(zip(chances, truth, strict=True)):
        reached = [j for j in classes if j in means and p[j] >= means[j] - 1e-6]
        margin = p[label] - max((p[j] for j in classes if j != label), default=0)
        if reached and max(reached, key=lambda j: p[j]) != label and margin < 0:
            suspects.append((margin, row))
    return [row for _, row in sorted(suspects)]


@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 60))
def test_suspects_are_those_of_the_definition(seed, n_classes, n):
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, n_classes, n)
    chances = draw.dirichlet(np.ones(n_classes), n)
    assert judged(chances, truth).suspects.tolist() == by_definition(chances, truth.tolist())


def test_the_confident_joint_and_suspects_are_those_that_cleanlab_finds():
    """Figures of cleanlab 2.9: ``compute_confident_joint(…, calibrate=False)`` and ``find_label_issues(…,
    filter_by="confident_learning", return_indices_ranked_by="normalized_margin")``."""
    draw = np.random.default_rng(29)
    n_classes, n = int(draw.integers(2, 6)), 200
    truth = draw.integers(0, n_classes, n)
    logits = draw.normal(size=(n, n_classes))
    logits[np.arange(n), truth] += 2
    flipped = draw.random(n) < 0.15
    truth[flipped] = draw.integers(0, n_classes, flipped.sum())
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = judged(chances, truth)
    assert found.joint.tolist() == [[23, 3, 3, 1, 0], [1, 21, 2, 0, 1], [2, 2, 19, 0, 2], [0, 1, 3, 21, 0], [1, 0, 2, 0, 20]]
    assert found.suspects[:5].tolist() == [56, 152, 159, 151, 7]


def test_planted_flips_are_found():
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 3, 3000)
    logits = draw.normal(size=(3000, 3))
    logits[np.arange(3000), truth] += 5
    flips = draw.choice(3000, 150, replace=False)
    given_labels = truth.copy()
    given_labels[flips] = (truth[flips] + draw.integers(1, 3, 150)) % 3
    found = judged(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), given_labels)
    hits = np.isin(found.suspects, flips)
    assert hits.sum() >= 0.9 * 150  # recall
    assert hits.mean() >= 0.85  # precision
    assert hits[:100].mean() >= 0.98  # the surest first


def test_a_class_without_rows_has_no_threshold_and_draws_no_suspect():
    found = judged([[0.6, 0.1, 0.3], [0.2, 0.1, 0.7]], [0, 0])
    assert np.isinf(found.thresholds[1:]).all()
    assert found.suspects.tolist() == []


def test_one_class_alone_has_no_suspects():
    assert judged([[1.0], [1.0]], [0, 0]).suspects.tolist() == []


def test_probabilities_are_needed():
    with pytest.raises(ValueError, match="probabilities"):
        label_errors(Predictions.of(np.array([0]), np.array([0]), ["a", "b"]))
