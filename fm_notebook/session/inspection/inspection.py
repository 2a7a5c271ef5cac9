"""`Inspection`: the rows of a finished evaluation with what the model said of each, to filter, sort, count and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fm_notebook.data.fingerprint import row_hashes
from fm_notebook.data.grouped import PREFIX
from fm_notebook.errors import SpecError, did_you_mean
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.metrics.grouping import Grouping, of_rows
from fm_notebook.metrics.label_errors import LabelErrors, label_errors
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.session import scored
from fm_notebook.session.inspection import neighbours
from fm_notebook.session.inspection.notes import RowNotes
from fm_notebook.session.inspection.slices import Slice, Sort
from fm_notebook.session.inspection.statistics import SliceStatistics, statistics

if TYPE_CHECKING:
    import pandas as pd

NEIGHBOURS = 50
"""Rows nearest to one that a slice takes, that one among them."""
COLUMNS = ("row", "loss", "confidence", "margin", "length", "true", "predicted")
"""What every inspection can be sorted by."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """N rows, each with one true class, and C class probabilities of each. Made by `fm_notebook.inspect`.

    Rows are named by their place: from 0 to N - 1 in the order of the evaluation. Everything that takes a pass over all rows is
    done when first asked for, and once.

    Attributes
    ----------
    folder : JobFolder
        Of the evaluation.
    data : pyarrow.Table
        The rows as they were scored, mapped into memory.
    given : Predictions
        True and predicted classes with probabilities.
    groups : dict of Grouping
        By the name of the grouping.

    Examples
    --------
    >>> rows = fm_notebook.inspect(run, frame, by=["gender"])  # doctest: +SKIP
    >>> wrong = rows.find(Slice(right=False, contains="never"))  # doctest: +SKIP
    >>> rows.frame(wrong[:20])  # doctest: +SKIP
    """

    folder: JobFolder
    data: pa.Table
    given: Predictions
    groups: Mapping[str, Grouping]

    @classmethod
    def of(cls, folder: JobFolder) -> Inspection:
        """The finished evaluation in `folder`.

        Raises
        ------
        SpecError
            If its rows have no one class each.
        """
        scored.check_inspectable(folder)
        data = scored.scored_rows(folder)
        names = [name.removeprefix(PREFIX) for name in data.column_names if name.startswith(PREFIX)]
        return cls(folder, data, scored.predictions(folder), {name: of_rows(data, name) for name in names})

    def __len__(self) -> int:
        return len(self.given)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the C classes."""
        return self.given.labels

    @property
    def texts(self) -> tuple[pa.ChunkedArray, ...]:
        """The texts, and where rows are pairs the second ones."""
        return tuple(self.data[name] for name in ("text", "text_pair") if name in self.data.column_names)

    @cached_property
    def rows(self) -> np.ndarray:
        """Row numbers in the user's data, shape ``(N,)``."""
        return self.data["row"].to_numpy()

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Of each class, shape ``(N, C)``."""
        assert self.given.probabilities is not None
        return self.given.probabilities

    @cached_property
    def loss(self) -> np.ndarray:
        """Negative logarithm of the true label's probability in nats, shape ``(N,)``; infinite where that is 0."""
        own = self.probabilities[np.arange(len(self)), self.given.truth]
        with np.errstate(divide="ignore"):
            return -np.log(own)

    @cached_property
    def confidence(self) -> np.ndarray:
        """Probability of the predicted label, shape ``(N,)``."""
        return self.probabilities[np.arange(len(self)), self.given.predicted]

    @cached_property
    def length(self) -> np.ndarray:
        """Characters of the text (and its pair), shape ``(N,)``."""
        return np.sum([pc.call_function("utf8_length", [each]).fill_null(0).to_numpy() for each in self.texts], axis=0)

    @cached_property
    def label_errors(self) -> LabelErrors:
        """What confident learning says of the labels; its ``margin`` is that of `Sort`."""
        return label_errors(self.given)

    @cached_property
    def notes(self) -> RowNotes:
        """The notes on rows, kept with the run and shared by all its evaluations."""
        return RowNotes.beside(self.folder)

    @cached_property
    def hashes(self) -> np.ndarray:
        """Hash of each row's text, uint64, shape ``(N,)``: what notes are kept by. About 3 µs a row."""
        return row_hashes(self.data)

    def find(self, chosen: Slice | None = None, order: Sort | None = None) -> np.ndarray:
        """Places of the rows in the slice, int64, in the order asked for.

        Raises
        ------
        SpecError
            If a label, group or column is none of those there are.
        """
        ordered = self._ordered(order or Sort(), chosen)
        mask = self.mask(chosen) if chosen else None
        return ordered if mask is None else ordered[mask[ordered]]

    def mask(self, chosen: Slice) -> np.ndarray | None:
        """Whether each row is in the slice, shape ``(N,)``; None where all are."""
        met: list[np.ndarray] = []
        if chosen.true is not None:
            met.append(self.given.truth == self._class(chosen.true))
        if chosen.predicted is not None:
            met.append(self.given.predicted == self._class(chosen.predicted))
        if chosen.right is not None:
            met.append(self.given.right == chosen.right)
        met += [self._in_group(name, value) for name, value in chosen.groups.items()]
        if chosen.shortest is not None:
            met.append(self.length >= chosen.shortest)
        if chosen.longest is not None:
            met.append(self.length <= chosen.longest)
        if chosen.contains.strip():
            met.append(self._containing(chosen.contains.strip()))
        if chosen.suspects:
            met.append(self._only(self.label_errors.suspects))
        if chosen.noted:
            noted = self.notes.hashes()
            met.append(np.isin(self.hashes, noted) if len(noted) else self._only(noted))
        if chosen.near is not None:
            met.append(self._only(self.neighbours(chosen.near, NEIGHBOURS)[0]))
        return np.logical_and.reduce(met) if met else None

    def confusion(self, found: np.ndarray) -> np.ndarray:
        """Rows by true (first axis) and predicted class of the places `found`, shape ``(C, C)``."""
        n = len(self.labels)
        cells = self.given.truth[found] * n + self.given.predicted[found]
        return np.bincount(cells, minlength=n * n).reshape(n, n)

    def statistics(self, found: np.ndarray) -> SliceStatistics:
        """How right the model is on the places `found`, and on all others."""
        return statistics(self.given.right, self.loss, found)

    def neighbours(self, place: int, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Places of the `k` rows whose embeddings are nearest to that of `place` by cosine, itself first, and the cosines.

        Waits for the embeddings, which are made at the first call (one pass of the model over all rows) and then kept.
        """
        return neighbours.nearest(self._vectors, place, k)

    def warm(self) -> None:
        """Make what a first search, a first order or a first look at the notes would else wait for."""
        self.order("margin", descending=False)
        _ = self._lowered
        if len(self.notes.hashes()):
            _ = self.hashes

    def frame(self, found: np.ndarray) -> pd.DataFrame:
        """The rows at the places `found`: row number, texts, labels, numbers, groups, note, and the probability of each class."""
        import pandas as pd

        own = [name for name in ("text", "text_pair") if name in self.data.column_names]
        names = np.asarray(self.labels, dtype=object)
        columns = {"row": self.rows[found], **{name: self.data[name].take(pa.array(found)).to_pandas().array for name in own}}
        columns |= {"label": names[self.given.truth[found]], "predicted": names[self.given.predicted[found]]}
        columns |= {name: self._numbers(name)[found] for name in ("loss", "confidence", "margin", "length")}
        columns |= {name: self.group_of(name, found) for name in self.groups if name not in columns}
        columns["note"] = [self.notes.of(each) for each in self.hashes_of(found)]
        columns |= {f"p({label})": self.probabilities[found, i] for i, label in enumerate(self.labels)}
        return pd.DataFrame(columns, index=pd.Index(found, name="place"))

    def group_of(self, name: str, found: np.ndarray) -> list[str | None]:
        """The group of each of the places `found`; None where the value is missing."""
        each = self.groups[name]
        return [each.groups[code][0] for code in each.codes[found].tolist()]

    def hashes_of(self, found: np.ndarray) -> list[int]:
        """The hashes of the rows at `found` alone."""
        if "hashes" in vars(self) or len(found) > len(self) // 4:
            return self.hashes[found].tolist()
        return row_hashes(self.data.take(pa.array(found))).tolist() if len(found) else []

    def text_at(self, place: int) -> list[str]:
        """The text (and its pair) of one row; a missing one is empty."""
        return [each[place].as_py() or "" for each in self.texts]

    def order(self, by: str, *, descending: bool) -> np.ndarray:
        """All places in that order."""
        key = (by, descending)
        if key not in self._orders:
            values = self._numbers(by)
            self._orders[key] = np.argsort(-values if descending else values, kind="stable")
        return self._orders[key]

    @cached_property
    def _orders(self) -> dict[tuple[str, bool], np.ndarray]:
        return {}

    @cached_property
    def _vectors(self) -> np.ndarray:
        return neighbours.vectors(self.folder)

    @cached_property
    def _lowered(self) -> list[pa.ChunkedArray]:
        """Upper and lower case as one; made at the first search, then a search is one pass over flat bytes."""
        return [pc.call_function("utf8_lower", [each]) for each in self.texts]

    def _ordered(self, order: Sort, chosen: Slice | None) -> np.ndarray:
        near = chosen.near if chosen else None
        if order.by == "similarity" and near is not None:
            return self.neighbours(near, NEIGHBOURS)[0]
        return self.order("row" if order.by == "similarity" else order.by, descending=order.descending)

    def _numbers(self, by: str) -> np.ndarray:
        """What is sorted by, signed numbers, shape ``(N,)``."""
        match by:
            case "row":
                return np.arange(len(self))
            case "loss" | "confidence" | "length":
                return getattr(self, by)
            case "margin":
                return self.label_errors.margin
            case "true":
                return self.given.truth
            case "predicted":
                return self.given.predicted
        known = [*COLUMNS, *(PREFIX + name for name in self.groups)]
        if by not in known:
            raise SpecError("inspect.column", column=by, known=", ".join(known), hint=did_you_mean(by, known))
        return self.groups[by.removeprefix(PREFIX)].codes

    def _containing(self, part: str) -> np.ndarray:
        low, found = part.lower(), np.zeros(len(self), bool)
        for each in self._lowered:
            found |= pc.call_function("match_substring", [each], pc.MatchSubstringOptions(low)).fill_null(False).to_numpy()
        return found

    def _in_group(self, name: str, value: str | None) -> np.ndarray:
        if name not in self.groups:
            known = list(self.groups)
            raise SpecError("inspect.grouping", name=name, known=", ".join(known) or "–", hint=did_you_mean(name, known))
        each = self.groups[name]
        codes = [code for code, group in enumerate(each.groups) if group[0] == value]
        if not codes:
            known = [group[0] or "–" for group in each.groups]
            raise SpecError(
                "inspect.group", name=name, value=value, known=", ".join(known), hint=did_you_mean(value or "", known)
            )
        return each.codes == codes[0]

    def _class(self, label: str) -> int:
        if label not in self.labels:
            raise SpecError("inspect.label", label=label, known=", ".join(self.labels), hint=did_you_mean(label, self.labels))
        return self.labels.index(label)

    def _only(self, places: np.ndarray) -> np.ndarray:
        mask = np.zeros(len(self), bool)
        mask[places] = True
        return mask
