r"""Every score of a classifier as a function of sums over rows, so that resamples of rows are one matrix product.

Sums of a row: whether it is right, by class; what it was given; what it is; its loss; its score less its outcome, by bin of the
score; its placement among the rows of the other class. The AUC is then the mean placement: exact on the data, and its
linear approximation in resamples, as in DeLong's variance.

Beyond `BLOCKS` rows it is not rows that are drawn but random blocks of them of (nearly) equal size, whose sums vary as those of
rows do: the cost of a resample does not grow further.

References
----------
Efron and Tibshirani (1993), *An Introduction to the Bootstrap*, chapter 8.
DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fm_notebook.metrics.auc import counts, placements
from fm_notebook.metrics.calibration import BINS, bin_of, scored
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.resampling import resampled_sums

BLOCKS = 4000
"""Most units drawn for a resample."""


def blocks_of(n: int, *, seed: int | Sequence[int]) -> np.ndarray:
    """The block of each of `n` rows, from 0; a block a row where there are few rows.

    Examples
    --------
    >>> sorted(blocks_of(3, seed=0).tolist())
    [0, 1, 2]
    """
    return np.random.default_rng(seed).permutation(n) % min(n, BLOCKS)


@dataclass(frozen=True, slots=True, eq=False)
class RowSums:
    """Sums of one model's rows by block; `of` makes them, `scores` reads them.

    Attributes
    ----------
    blocks : numpy.ndarray
        float64, shape ``(B, K)``.
    labels : numpy.ndarray
        Classes that have columns, shape ``(L,)``.
    positive : int or None
        Class of the rates.
    has_probabilities : bool
    """

    blocks: np.ndarray
    labels: np.ndarray
    positive: int | None
    has_probabilities: bool

    @classmethod
    def of(cls, predictions: Predictions, blocks: np.ndarray) -> RowSums:
        """Sums of all rows by block."""
        labels = np.unique([predictions.truth, predictions.predicted])
        true, given = (np.searchsorted(labels, each) for each in (predictions.truth, predictions.predicted))
        b, right = int(blocks.max()) + 1, predictions.right

        def table(
            of: np.ndarray, width: int, weights: np.ndarray | None = None, rows: np.ndarray | slice = slice(None)
        ) -> np.ndarray:
            cells = blocks[rows] * width + of
            return np.bincount(cells, weights, b * width).reshape(b, width)

        parts = [table(true[right], len(labels), rows=right), table(given, len(labels)), table(true, len(labels))]
        if predictions.probabilities is not None:
            scores, came_true = scored(predictions)
            parts.append(table(np.zeros_like(true), 1, row_losses(predictions)))
            parts.append(table(bin_of(scores), BINS, scores - came_true))
            if predictions.scores is not None:
                parts.append(table(predictions.is_positive.astype(np.int64), 2, placements_of_rows(predictions)))
        sums = np.concatenate(parts, axis=1, dtype=np.float64)
        return cls(sums, labels, predictions.positive, predictions.probabilities is not None)

    def scores(self, sums: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Scores by name from `sums` of shape ``(..., K)``, those of the data if None; NaN where one is undefined."""
        sums = self.blocks.sum(0) if sums is None else sums
        assert sums is not None  # for the type checker: a sum of an array is one
        width = len(self.labels)
        hits, given, support = (sums[..., at * width : (at + 1) * width] for at in range(3))
        n = support.sum(-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = {"accuracy": hits.sum(-1) / n, "macro_f1": (2 * hits / np.maximum(support + given, 1e-9)).mean(-1)}
            if self.has_probabilities:
                found["loss"] = sums[..., 3 * width] / n
                found["ece"] = np.abs(sums[..., 3 * width + 1 :][..., :BINS]).sum(-1) / n
            if self.positive is None:
                return found
            hit, selected, true = (each[..., self.labels == self.positive].sum(-1) for each in (hits, given, support))
            found |= {"selection_rate": selected / n, "tpr": hit / true, "fpr": (selected - hit) / (n - true)}
            found["ppv"] = hit / selected
            if self.has_probabilities:
                area = self.blocks[:, -1].sum() / self._positives
                found["auc"] = sums[..., -1] / true + sums[..., -2] / (n - true) - area
        return found

    @property
    def _positives(self) -> float:
        width = len(self.labels)
        return float(self.blocks[:, 2 * width : 3 * width][:, self.labels == self.positive].sum())


def row_losses(predictions: Predictions) -> np.ndarray:
    r"""Negative log likelihood :math:`-\ln p_{i, y_i}` of each row in nats, clipped as `classification.evaluate` does.

    Examples
    --------
    >>> given = Predictions.of([1], [1], ["a", "b"], probabilities=np.array([[0.5, 0.5]]))
    >>> row_losses(given).round(4).tolist()
    [0.6931]
    """
    assert predictions.probabilities is not None, "checked by the caller"
    true = predictions.probabilities[np.arange(len(predictions)), predictions.truth]
    return -np.log(np.clip(true, np.finfo(np.float64).eps, 1.0))


def resampled(sums: list[RowSums], *, seed: int | Sequence[int]) -> list[np.ndarray]:
    """Sums of resamples of the rows, the same rows for every model, shape ``(R, K)`` each."""
    together = np.concatenate([each.blocks for each in sums], axis=1)
    borders = np.cumsum([each.blocks.shape[1] for each in sums])[:-1]
    return np.split(resampled_sums(together, seed=seed), borders, axis=1)


def placements_of_rows(predictions: Predictions) -> np.ndarray:
    """Of each row, the share of rows of the other class that it is rightly ranked against; NaN without any."""
    assert predictions.scores is not None, "checked by the caller"
    at = np.unique(predictions.scores, return_inverse=True)[1]
    with np.errstate(invalid="ignore"):
        below, above = placements(*counts(predictions.scores, predictions.is_positive))
    return np.where(predictions.is_positive, below[at], above[at])
