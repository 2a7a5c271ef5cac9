"""What two finished evaluations say of the same rows, where rows have no one class each: read from disk and compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fm_notebook.contracts.comparisons import Unpaired
from fm_notebook.contracts.pairs import Change
from fm_notebook.contracts.results import Evaluation
from fm_notebook.data.stored import load
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.metrics.paired_outputs import label_set_changes, number_changes, tag_changes, token_changes
from fm_notebook.session.scored import scored_rows

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Paired:
    """Changes of scores, and for those without a paired interval why they have none."""

    changes: list[Change]
    unpaired: dict[str, Unpaired] = field(default_factory=dict)


def paired_changes(first: JobFolder, second: JobFolder, one: Evaluation, other: Evaluation) -> Paired:
    """What changed from the evaluation in `first`, which came to `one`, to that in `second`.

    Scores of which nothing is kept by row have their plain difference.
    """
    said = [load(each.predictions) for each in (first, second)]
    rows, seed = scored_rows(first), one.seed
    found, why = _by_rows(said, rows, list(one.labels), seed)
    paired = {change.name: change for change in found}
    names = [score.name for score in one.scores if any(each.name == score.name for each in other.scores)]
    known = [change for name in names if (change := paired.get(name) or _plain(name, one, other))]
    return Paired(known, {change.name: why for change in known if change.name not in paired})


def _by_rows(said: list[pa.Table], rows: pa.Table, labels: list[str], seed: int) -> tuple[list[Change], Unpaired]:
    columns = set(said[0].column_names)
    if "value" in columns and "label" in rows.column_names:
        given = [each["value"].to_numpy() for each in said]
        return number_changes(given[0], given[1], rows["label"].to_numpy(), seed=seed), "no_rows"
    if "labels" in columns:
        given = [np.stack([each[name].to_numpy() for name in labels], axis=1) for each in said]
        return label_set_changes(given[0], given[1], _label_sets(rows, labels), seed=seed), "no_rows"
    if "tags" in columns:
        given = [each["tags"].to_pylist() for each in said]
        true = [[labels[tag] for tag in tags] for tags in rows["label"].to_pylist()]
        return tag_changes(given[0], given[1], true, seed=seed), "no_rows"
    sizes = "hidden" if "hidden" in columns else "tokens"
    if {sizes, "loss"} <= columns:
        return _tokens(said, sizes, seed)
    return [], "no_rows"


def _tokens(said: list[pa.Table], sizes: str, seed: int) -> tuple[list[Change], Unpaired]:
    counts = [each[sizes].to_numpy() for each in said]
    if not np.array_equal(*counts):
        return [], "other_tokens"
    losses = [np.nan_to_num(each["loss"].to_numpy().astype(np.float64)) for each in said]
    name = "masked_perplexity" if sizes == "hidden" else "perplexity"
    return token_changes(losses[0], losses[1], counts[0], perplexity=name, seed=seed), "no_rows"


def _label_sets(rows: pa.Table, labels: list[str]) -> np.ndarray:
    found = np.zeros((len(rows), len(labels)), bool)
    for row, own in enumerate(rows["label"].to_pylist()):
        found[row, own] = True
    return found


def _plain(name: str, one: Evaluation, other: Evaluation) -> Change | None:
    first, second = one[name], other[name]
    difference: Any = second.value - first.value
    if not np.isfinite(difference):
        return None
    return Change(name=name, first=first.value, second=second.value, difference=difference, n=min(first.n, second.n))
