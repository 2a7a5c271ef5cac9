r"""Vectors from which no linear classifier can read a concept any more, moved as little as possible (LEACE).

With :math:`W = \Sigma_{xx}^{-1/2}` (the pseudo-inverse where a direction has no variance) and P the orthogonal projection on the
columns of :math:`W \Sigma_{xz}`,

.. math:: r(x) = x - W^+ P W (x - \mathbb{E} x)

Then :math:`r(X)` and Z have no covariance, which is the same as that no linear model beats a constant one, for any convex loss.
It holds for the rows that it is fitted on, and says nothing about classifiers that are not linear.

References
----------
Belrose et al. (2023), *LEACE: Perfect linear concept erasure in closed form*, NeurIPS, theorem 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RELATIVE_ZERO = 1e-10
"""Eigenvalues of the covariance, and singular values of what the concept shares, are 0 below this share of the greatest."""


@dataclass(frozen=True)
class Eraser:
    """What takes a concept out of vectors.

    Attributes
    ----------
    mean : ndarray, shape (D,)
    projection : ndarray, shape (D, D)
        :math:`W^+ P W`.
    """

    mean: np.ndarray
    projection: np.ndarray

    @classmethod
    def fitted(cls, vectors: np.ndarray, concept: np.ndarray) -> Eraser:
        """The eraser of `concept` from vectors like these.

        Parameters
        ----------
        vectors : ndarray, shape (N, D)
        concept : ndarray, shape (N,) or (N, K)
            Numbers, or one column of 0 and 1 a class.

        Examples
        --------
        The concept is the first coordinate: nothing is left of it, and the second stays.

        >>> erase = Eraser.fitted(np.array([[0.0, 1], [0, -1], [2, 1], [2, -1]]), np.array([0, 0, 1, 1]))
        >>> (erase(np.array([[2.0, 5]])) + 0.0).round(6).tolist()
        [[1.0, 5.0]]
        """
        x = np.asarray(vectors, np.float64)
        z = np.asarray(concept, np.float64).reshape(len(x), -1)
        centred, n = x - x.mean(0), len(x)
        values, axes = np.linalg.eigh(centred.T @ centred / n)
        varies = values > RELATIVE_ZERO * max(values.max(), np.finfo(float).tiny)
        root = np.where(varies, np.sqrt(np.abs(values)), 0.0)
        inverse = np.where(varies, 1 / np.where(varies, root, 1.0), 0.0)
        whiten, colour = (axes * inverse) @ axes.T, (axes * root) @ axes.T
        shared, sizes, _ = np.linalg.svd(whiten @ (centred.T @ (z - z.mean(0)) / n), full_matrices=False)
        basis = shared[:, sizes > RELATIVE_ZERO * max(sizes.max(initial=0.0), np.finfo(float).tiny)]
        return cls(x.mean(0), colour @ basis @ basis.T @ whiten)

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """`vectors`, shape ``(N, D)``, without the concept."""
        return vectors - (np.asarray(vectors, np.float64) - self.mean) @ self.projection.T
