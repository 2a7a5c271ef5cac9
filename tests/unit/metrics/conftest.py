"""Plain formulas for loops over many resamples: scikit-learn takes 2 ms for each to check its arguments."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

Rate = Callable[[np.ndarray, np.ndarray], float]


@pytest.fixture(scope="session")
def plain_macro_f1() -> Rate:
    """Macro F1 over the labels that rows have or were given, as scikit-learn has it by default."""

    def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
        labels = np.union1d(truth, predicted)
        return float(
            np.mean([2 * ((truth == c) & (predicted == c)).sum() / ((truth == c).sum() + (predicted == c).sum()) for c in labels])
        )

    truth, predicted = np.random.default_rng(0).integers(0, 4, (2, 50))
    assert macro_f1(truth, predicted) == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))
    return macro_f1


@pytest.fixture(scope="session")
def plain_auc() -> Rate:
    """Share of the pairs of a positive and a negative row that are ranked rightly, ties half."""

    def auc(positive: np.ndarray, scores: np.ndarray) -> float:
        above = scores[positive][:, None] - scores[~positive]
        return float(((above > 0) + (above == 0) / 2).mean())

    rng = np.random.default_rng(0)
    positive, scores = rng.random(50) < 0.4, rng.integers(0, 9, 50)
    assert auc(positive, scores) == pytest.approx(roc_auc_score(positive, scores))
    return auc
