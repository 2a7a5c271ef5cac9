"""Weights under which group and label are independent in the training rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from fm_notebook import messages
from fm_notebook.contracts.values import Column, Frozen

if TYPE_CHECKING:
    import numpy as np

    from fm_notebook.contracts.events import Noted
    from fm_notebook.contracts.protocols import TrainingRows
    from fm_notebook.metrics.grouping import Grouping


class Spec(Frozen):
    """What is balanced.

    Attributes
    ----------
    by : str
        Groups: a column of the training rows, a crossing (``gender*region``), or what is told by the texts (``mentions:gender``).
    variant : str
        ``independence``: ``w = P(g) P(y) / P(g, y)``; ``balanced-within-label``: all groups of a label count alike,
        ``w = 1 / (G P(g | y))``.
    """

    by: Column
    variant: Literal["independence", "balanced-within-label"] = "independence"


class Reweighing:
    """A `fm_notebook.contracts.protocols.Mitigation`."""

    name = "reweighing"
    stage: Literal["pre-processing"] = "pre-processing"
    kinds = frozenset({"single-label"})
    Spec = Spec
    source = "Kamiran & Calders 2012, https://doi.org/10.1007/s10115-011-0463-8"

    @property
    def summary(self) -> str:
        """In a sentence."""
        return messages.text("mitigation.reweighing")

    def groups(self, spec: Spec) -> tuple[str, ...]:
        """The columns that `by` crosses."""
        from fm_notebook.data.grouped import columns_of

        return columns_of([spec.by])

    def apply(self, given: TrainingRows, spec: Spec, *, seed: int) -> tuple[TrainingRows, list[Noted]]:
        """`given` with weights times those of group and label; rows without a group keep theirs."""
        from fm_notebook.metrics.grouping import of_rows

        del seed  # nothing is drawn
        groups = of_rows(given.rows, spec.by)
        codes, labels, known = groups.codes, given.rows["label"].to_numpy(), groups.known[groups.codes]
        found = weights(codes, labels, known, variant=spec.variant)
        return replace(given, weights=given.weights * found), _notes(groups, labels, known, found, given.labels)


def weights(
    groups: np.ndarray, labels: np.ndarray, known: np.ndarray | None = None, *, variant: str = "independence"
) -> np.ndarray:
    """Weight of each row, float64, shape ``(N,)``.

    Parameters
    ----------
    groups, labels : ndarray of int, shape (N,)
        Numbers of group and label, from 0.
    known : ndarray of bool, shape (N,), optional
        Rows with a group; the others weigh 1 and count nowhere.
    variant : str
        See `Spec`.

    Examples
    --------
    Three of four women and one of four men have label 1: the rare pairs weigh 2, the frequent ones 2/3.

    >>> import numpy as np
    >>> found = weights(np.repeat([0, 1], 4), np.array([1, 1, 1, 0, 1, 0, 0, 0]))
    >>> found.round(3).tolist()
    [0.667, 0.667, 0.667, 2.0, 2.0, 0.667, 0.667, 0.667]

    References
    ----------
    Kamiran and Calders (2012), equation of section 4.2: ``W(s, c) = |s| |c| / (|D| |s and c|)``.
    """
    import numpy as np

    known = np.ones(len(groups), bool) if known is None else known
    counts = np.zeros((groups.max(initial=0) + 1, labels.max(initial=0) + 1))
    np.add.at(counts, (groups[known], labels[known]), 1)
    if variant == "independence":
        expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / max(1, counts.sum())
    else:
        expected = counts.sum(0, keepdims=True) / np.maximum(1, (counts > 0).sum(0, keepdims=True))
    cells = np.divide(expected, counts, out=np.ones_like(counts), where=counts > 0)
    return np.where(known, cells[groups, labels], 1.0)


def _notes(groups: Grouping, labels: np.ndarray, known: np.ndarray, found: np.ndarray, names: list[str]) -> list[Noted]:
    import numpy as np

    from fm_notebook.contracts.events import Noted

    effective = float(found.sum() ** 2 / (found**2).sum())
    by = "*".join(groups.columns)
    told = {"by": by, "low": float(found.min()), "high": float(found.max()), "n": len(found), "effective": round(effective)}
    notes = [Noted(key="mitigation.reweighed", values=told)]
    if not known.all():
        notes.append(Noted(key="mitigation.reweighed_missing", values={"n": int((~known).sum()), "by": by}, level="warning"))
    seen = np.zeros((len(groups.groups), len(names)), bool)
    seen[groups.codes, labels] = True
    absent = [(g, y) for g, y in zip(*np.nonzero(~seen), strict=True) if groups.known[g] and seen[:, y].any()]
    if absent:
        pairs = ", ".join(f"{' × '.join(map(str, groups.groups[g]))} / {names[y]}" for g, y in absent[:10])
        notes.append(Noted(key="mitigation.reweighed_empty", values={"n": len(absent), "pairs": pairs}, level="warning"))
    return notes


mitigation = Reweighing()
