"""Rows held out of training, by seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A split: sorted row numbers of `train` and `eval`, and whether it kept the shares of the labels."""

    train: np.ndarray
    eval: np.ndarray
    stratified: bool


def held_out(labels: np.ndarray, share: float, seed: int, groups: np.ndarray | None = None, *, stratify: bool = True) -> HeldOut:
    """Split rows into train and eval, each class by the same share, rows of one group together.

    With `groups` (hashes of the texts) a text that stands in the data several times is either trained on or evaluated, never
    both; a group counts for the class of its first row, and one too large for its class's share stays in train. A class is
    never held out whole. If some class has fewer than two rows, the split is not stratified.

    Parameters
    ----------
    labels : numpy.ndarray
        Class of each row, shape ``(N,)``, N at least 2.
    share : float
        Part of the rows to hold out, above 0 and below 1; at least one row stands on each side.
    seed : int
        Equal seeds give equal splits on every platform.
    groups : numpy.ndarray, optional
        Group of each row, shape ``(N,)``.
    stratify : bool
        Whether classes matter; only the length of `labels` does if not.

    Raises
    ------
    ValueError
        If there are fewer than two rows.
    """
    n = len(labels)
    if n < 2:
        raise ValueError("a split needs at least two rows")
    rng = np.random.Generator(np.random.PCG64(seed))
    # One stratum a class; np.unique's numbering keeps the strata in the order of the labels.
    strata, sizes = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    stratified = stratify and bool(sizes.min() >= 2)
    if not stratified:
        strata, sizes = np.zeros(n, dtype=np.int64), np.array([n])
    unit, first, rows = _units(n, groups)
    goals = _apportion(sizes, share)
    chosen = np.zeros(len(first), dtype=bool)
    for stratum, goal in enumerate(goals):
        members = rng.permutation(np.flatnonzero(strata[first] == stratum))
        chosen[_fill(members, rows, goal)] = True
    if not chosen.any():
        chosen[rng.permutation(np.flatnonzero(rows == rows.min()))[0]] = True
    held = chosen[unit]
    return HeldOut(np.flatnonzero(~held), np.flatnonzero(held), stratified)


def _units(n: int, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The unit of each row, and each unit's first row and number of rows; without two groups every row is a unit."""
    if groups is not None:
        _, first, unit, rows = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
        if len(first) > 1:
            return unit, first, rows
    return np.arange(n), np.arange(n), np.ones(n, dtype=np.int64)


def _apportion(sizes: np.ndarray, share: float) -> np.ndarray:
    """Rows to hold out a stratum by largest remainders: together nearest to the share, each less than one row from it."""
    exact = sizes * share
    goals = np.floor(exact).astype(np.int64)
    missing = round(float(sizes.sum()) * share) - int(goals.sum())
    goals[np.argsort(goals - exact, kind="stable")[: max(missing, 0)]] += 1
    if not goals.any():
        goals[np.argmax(sizes)] = 1
    return goals


def _fill(members: np.ndarray, rows: np.ndarray, goal: int) -> list[int]:
    """Units in their order as long as they fit into `goal` rows, and never all of them."""
    taken: list[int] = []
    for member in members[: len(members) - 1]:
        if goal <= 0:
            break
        if rows[member] <= goal:
            taken.append(int(member))
            goal -= int(rows[member])
    return taken
