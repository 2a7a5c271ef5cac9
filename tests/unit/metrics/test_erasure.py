"""LEACE: what it promises, on vectors that carry a concept in several directions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fm_notebook.metrics.erasure import Eraser


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, 1000)
    x = rng.normal(size=(1000, 12)) @ rng.normal(size=(12, 12)) + np.outer(z, rng.normal(size=12)) * 2
    return x, z


def probed(x, z):
    model = LogisticRegression(C=1e6, solver="newton-cholesky", tol=1e-10).fit(x, z)
    return roc_auc_score(z, model.decision_function(x)), np.abs(model.coef_).max()


def test_a_linear_classifier_reads_the_concept_before_and_not_after(planted):
    x, z = planted
    assert probed(x, z)[0] > 0.95
    area, weight = probed(Eraser.fitted(x, z)(x), z)
    assert area <= 0.52
    assert weight < 1e-4


def test_nothing_is_left_in_common_and_nothing_more_is_moved_than_that(planted):
    x, z = planted
    erased = Eraser.fitted(x, z)(x)
    assert np.abs((erased - erased.mean(0)).T @ (z - z.mean())).max() < 1e-8
    assert erased.mean(0) == pytest.approx(x.mean(0))
    moved = erased - x
    assert np.linalg.matrix_rank(moved, tol=1e-6) == 1
    # in whitened coordinates the move is the orthogonal projection: no other way of erasing moves less
    values, axes = np.linalg.eigh(np.cov(x.T, bias=True))
    white = (axes / np.sqrt(values)) @ axes.T
    direction = white @ ((x - x.mean(0)).T @ (z - z.mean()))
    direction /= np.linalg.norm(direction)
    expected = -np.outer((x - x.mean(0)) @ white @ direction, np.linalg.inv(white) @ direction)
    assert moved == pytest.approx(expected, abs=1e-8)


def test_a_concept_of_several_classes_is_erased_whole(planted):
    x, z = planted
    three = (z + 2 * (x[:, 0] > 0)) % 3
    erased = Eraser.fitted(x, np.eye(3)[three])(x)
    means = np.array([erased[three == each].mean(0) for each in range(3)])
    assert np.ptp(means, axis=0).max() < 1e-8


def test_directions_without_variance_do_no_harm(planted):
    x, z = planted
    flat = np.column_stack([x, np.full(len(x), 3.0), x[:, 0]])
    erased = Eraser.fitted(flat, z)(flat)
    assert np.isfinite(erased).all()
    assert erased[:, 12] == pytest.approx(np.full(len(x), 3.0))
    assert np.abs((erased - erased.mean(0)).T @ (z - z.mean())).max() < 1e-6


def test_a_concept_that_is_constant_moves_nothing(planted):
    x, _ = planted
    assert Eraser.fitted(x, np.ones(len(x)))(x) == pytest.approx(x)
