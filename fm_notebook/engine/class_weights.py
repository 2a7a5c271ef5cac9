"""How much each class counts in the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np


def class_weights(
    targets: np.ndarray, labels: Sequence[str], asked: Literal["balanced"] | Mapping[str, float] | None
) -> np.ndarray:
    """Weight of each class, float32, shape ``(C,)``.

    Parameters
    ----------
    targets : ndarray of int, shape (n,)
        Class numbers in the training rows.
    labels : sequence of str
    asked : str, mapping or None
        ``balanced`` is ``n / (C n_c)`` as in scikit-learn; a mapping gives weights by label, 1 where it is silent; None is 1.
    """
    if asked is None:
        return np.ones(len(labels), np.float32)
    if asked == "balanced":
        counts = np.bincount(targets, minlength=len(labels))
        return (len(targets) / (len(labels) * np.maximum(counts, 1))).astype(np.float32)
    return np.array([asked.get(label, 1.0) for label in labels], np.float32)
