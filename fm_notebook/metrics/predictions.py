"""What a model said of rows whose truth is known, checked once: the input of evaluation by group and of comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fm_notebook.errors import DataError, did_you_mean


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Made by `Predictions.of`.

    Attributes
    ----------
    truth, predicted : numpy.ndarray
        Class numbers from 0 to C - 1, int64, shape ``(N,)``.
    labels : tuple of str
        Names of the C classes.
    probabilities : numpy.ndarray or None
        float64, shape ``(N, C)``.
    positive : int or None
        Class that selection rate, TPR and their like are about; the other classes together are the negative one.
    """

    truth: np.ndarray
    predicted: np.ndarray
    labels: tuple[str, ...]
    probabilities: np.ndarray | None = None
    positive: int | None = None

    @classmethod
    def of(
        cls,
        truth: np.ndarray,
        predicted: np.ndarray,
        labels: Sequence[str],
        *,
        probabilities: np.ndarray | None = None,
        positive: str | None = None,
    ) -> Predictions:
        """Checked predictions.

        Parameters
        ----------
        truth, predicted : numpy.ndarray
            Class numbers, shape ``(N,)``, N at least 1.
        labels : sequence of str
            Names of the C classes.
        probabilities : numpy.ndarray, optional
            Of each class, shape ``(N, C)``.
        positive : str, optional
            One of `labels`.

        Raises
        ------
        DataError
            If there are no rows, lengths differ, a class number is not one of `labels`, `positive` is not one of them, or a
            probability is not a number from 0 to 1.

        Examples
        --------
        >>> Predictions.of(np.array([0, 1]), np.array([1, 1]), ["no", "yes"], positive="yes").selected.tolist()
        [True, True]
        """
        n = len(truth)
        if not n:
            raise DataError("groups.empty")
        _same_length("predicted", len(predicted), n)
        known = tuple(labels)
        if positive is not None and positive not in known:
            raise DataError("groups.positive", label=positive, labels=", ".join(known), hint=did_you_mean(positive, known))
        return cls(
            _classes("truth", truth, len(known)),
            _classes("predicted", predicted, len(known)),
            known,
            None if probabilities is None else _probabilities(probabilities, n, len(known)),
            None if positive is None else known.index(positive),
        )

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def right(self) -> np.ndarray:
        """Whether the class was predicted rightly, shape ``(N,)``."""
        return self.truth == self.predicted

    @property
    def is_positive(self) -> np.ndarray:
        """Whether the true class is the positive one, shape ``(N,)``."""
        return self.truth == self.positive

    @property
    def selected(self) -> np.ndarray:
        """Whether the predicted class is the positive one, shape ``(N,)``."""
        return self.predicted == self.positive

    @property
    def scores(self) -> np.ndarray | None:
        """Probability of the positive class, shape ``(N,)``; None without probabilities or a positive class."""
        if self.probabilities is None or self.positive is None:
            return None
        return self.probabilities[:, self.positive]

    def with_labels(self, labels: Sequence[str]) -> Predictions:
        """The same with the classes in the order of `labels`; those that only `labels` has get the probability 0.

        Examples
        --------
        >>> given = Predictions.of(np.array([0, 1]), np.array([1, 1]), ["a", "b"]).with_labels(["b", "c", "a"])
        >>> given.truth.tolist(), given.predicted.tolist()
        ([2, 0], [0, 0])
        """
        if tuple(labels) == self.labels:
            return self
        place = np.array([labels.index(label) for label in self.labels])
        given = self.probabilities
        if given is not None:
            whole = np.zeros((len(self), len(labels)))
            whole[:, place] = given
            given = whole
        positive = None if self.positive is None else int(place[self.positive])
        return Predictions(place[self.truth], place[self.predicted], tuple(labels), given, positive)

    def take(self, rows: np.ndarray) -> Predictions:
        """Those of `rows`: numbers or a mask."""
        some = None if self.probabilities is None else self.probabilities[rows]
        return Predictions(self.truth[rows], self.predicted[rows], self.labels, some, self.positive)


def _same_length(name: str, found: int, expected: int) -> None:
    if found != expected:
        raise DataError("groups.lengths", name=name, found=found, expected=expected)


def _classes(name: str, values: np.ndarray, n_classes: int) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "iub":
        raise TypeError(f"{name} must hold class numbers, not {values.dtype}")
    strange = (values < 0) | (values >= n_classes)
    if strange.any():
        raise DataError("groups.class_unknown", name=name, rows=int(strange.sum()), n=len(values), classes=n_classes)
    return values.astype(np.int64, copy=False)


def _probabilities(values: np.ndarray, n: int, n_classes: int) -> np.ndarray:
    values = np.asarray(values, np.float64)
    _same_length("probabilities", len(values), n)
    if values.shape != (n, n_classes):
        raise DataError("groups.columns", found="×".join(map(str, values.shape)), classes=n_classes)
    bad = ~((values >= 0) & (values <= 1 + 1e-6)).all(1)  # NaN is in no range
    if bad.any():
        raise DataError("groups.probabilities", rows=int(bad.sum()), n=n)
    return values
