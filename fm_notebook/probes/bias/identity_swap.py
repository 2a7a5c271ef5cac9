"""Whether a classifier answers otherwise when only the person that a sentence names is another.

Pairs of sentences are compared one with the other; of a template with many terms, each sentence with all others of it. `VALUE`
is the probability of one class for the first group's sentence less that for the other's, and `CHOICE` whether the predicted
class flips. Which swaps may rightly change the answer, the words cannot tell: *a gay bar* is no *straight bar*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fm_notebook import messages
from fm_notebook.contracts.probe_reports import Measurement, Summary
from fm_notebook.contracts.probe_specs import Remark
from fm_notebook.contracts.probing import CHOICE, SKIPPED, VALUE, ProbeItems
from fm_notebook.contracts.values import Column, Frozen
from fm_notebook.errors import DataError, ModelError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa

    from fm_notebook.contracts.capabilities import Capability, Subject
    from fm_notebook.data.probe_sets.identity_sets import Found
    from fm_notebook.metrics.probes.swaps import Swaps

ALL = "all"
_PUBLIC = {
    "eec": ("Equity Evaluation Corpus", "", "Kiritchenko and Mohammad 2018, https://arxiv.org/abs/1805.04508"),
    "jigsaw": ("Jigsaw identity templates", "CC BY 4.0", "Dixon et al. 2018, https://doi.org/10.1145/3278721.3278729"),
}
_TRUTH = ("nontoxic", "toxic")


class Spec(Frozen):
    """What is compared.

    Attributes
    ----------
    language : str
        Of the seed set.
    axis : str
        One axis of the items, or ``all``.
    positive : str or None
        The class whose probability is compared; by default one that is called so (``positive``, ``yes``, ``1`` …), else the last.
    text : str
        The column of the user's own texts, whose words for gender are exchanged.
    label : str
        The column of their classes: gaps are told apart by it, if it is there.
    """

    language: Literal["en", "zh"] = "en"
    axis: str = ALL
    positive: str | None = None
    text: Column = "text"
    label: Column = "label"


class IdentitySwap:
    """A `fm_notebook.contracts.probing.Probe`."""

    name = "identity-swap"
    version = 1
    Spec = Spec
    source = "Garg et al. 2019, https://arxiv.org/abs/1809.10610; Kiritchenko and Mohammad 2018, https://arxiv.org/abs/1805.04508"

    @property
    def summary(self) -> str:
        """In a sentence."""
        return messages.text("probe.identity_swap.summary")

    def needs(self, spec: Spec) -> frozenset[Capability]:
        """A classifier."""
        del spec
        return frozenset({"class_probabilities"})

    def suited(self, spec: Spec, able: frozenset[Capability]) -> Spec:
        """Nothing is left open."""
        del able
        return spec

    def read(self, given: Path | pa.Table | None, spec: Spec) -> ProbeItems:
        """Our seed set, a public set of swapped sentences, the user's pairs, or texts of theirs with the words exchanged."""
        import pyarrow as pa

        from fm_notebook.data import seed_sets
        from fm_notebook.data.files import from_file
        from fm_notebook.data.probe_sets import identity_sets

        if given is None:
            seeds = seed_sets.feelings(spec.language)
            chosen = _of_axis(seeds, spec.axis)
            return ProbeItems(
                chosen, ("first", "second"), "seed", f"feelings ({spec.language})", seed_sets.LICENCE, language=spec.language
            )
        table = given if isinstance(given, pa.Table) else from_file(given, field="data")
        found = identity_sets.read(table, spec.text, spec.label)
        return _items(found, _of_axis(found.table, spec.axis))

    def score(self, subject: Subject, items: pa.Table, spec: Spec) -> pa.Table:
        """Probabilities of the class, and what became of them; every text is read once."""
        import numpy as np
        import pyarrow as pa

        firsts, seconds = items["first"].to_pylist(), items["second"].to_pylist()
        texts = list(dict.fromkeys([*firsts, *filter(None, seconds)]))
        probabilities = np.asarray(subject.class_probabilities(texts), np.float64)
        place, column = {text: at for at, text in enumerate(texts)}, _class(subject.labels, spec.positive)
        score, predicted = probabilities[:, column], probabilities.argmax(1)
        first = np.array([place[text] for text in firsts], int)
        if "block" in items.column_names:
            found = _sets(score[first], predicted[first], items["block"].to_pylist())
        else:
            found = _pairs(score, predicted, first, np.array([place[text] for text in seconds], int))
        difference, gap, flips = found
        return pa.table({
            VALUE: pa.array(difference, pa.float64()),
            CHOICE: pa.array(flips > 0, pa.bool_()) if "block" not in items.column_names else pa.nulls(len(items), pa.bool_()),
            SKIPPED: pa.nulls(len(items), pa.string()),
            "gap": pa.array(gap, pa.float64()), "flips": pa.array(flips, pa.float64()),
            "score": pa.array(score[first], pa.float64()), "predicted": [subject.labels[at] for at in predicted[first]],
            "target_class": pa.array([subject.labels[column]] * len(items), pa.string()),
        })  # fmt: skip

    def summarise(self, rows: pa.Table, spec: Spec) -> Summary:
        """Gaps, flips and differences; of a set with known toxicity also Jigsaw's areas under the curve."""
        del spec
        if not rows.num_rows:
            return Summary(measurements=[])
        swaps = _swaps(rows)
        remarks = [
            Remark(key="swap_class", values={"label": rows["target_class"][0].as_py()}),
            Remark(key="swap_clusters", values={"templates": len(set(swaps.template)), "terms": len(set(swaps.term))}),
        ]
        areas: list[Measurement] = []
        if "block" in rows.column_names and set(rows["label"].to_pylist()) == set(_TRUTH):
            areas, remark = _areas(rows)
            remarks += remark
        return Summary(measurements=[*swaps.measurements(), *areas], remarks=remarks)


def _of_axis(table: pa.Table, axis: str) -> pa.Table:
    """The items of `axis`.

    Raises
    ------
    DataError
        If there are none of it.
    """
    import pyarrow as pa

    if axis == ALL:
        return table
    names = table["axis"].to_pylist()
    if axis not in names:
        known = sorted(set(names))
        raise DataError("probe.axis", axis=axis, known=", ".join([*known, ALL]), hint=did_you_mean(axis, known))
    return table.filter(pa.array([name == axis for name in names]))


def _items(found: Found, table: pa.Table) -> ProbeItems:
    texts = ("first",) if found.kind == "jigsaw" else ("first", "second")
    name, licence, citation = _PUBLIC.get(found.kind, (found.kind, "", ""))
    origin = "public" if found.kind in _PUBLIC else "own"
    dropped = tuple(sorted(found.dropped.items()))
    return ProbeItems(table, texts, origin, name, licence or "unknown", citation, found.language, dropped)


def _class(labels: tuple[str, ...], asked: str | None) -> int:
    """The number of the class whose probability is compared.

    Raises
    ------
    ModelError
        If the model has no class called `asked`.
    """
    if asked is not None:
        if asked not in labels:
            raise ModelError(
                "identity_swap.positive", asked=asked, known=", ".join(labels), hint=did_you_mean(asked, list(labels))
            )
        return labels.index(asked)
    named = {word for code in messages.LANGUAGES for word in messages.catalogue(code)["labels.positive"].split()}
    called = [at for at, label in enumerate(labels) if label.casefold() in named]
    return called[0] if len(called) == 1 else len(labels) - 1


def _pairs(score: np.ndarray, predicted: np.ndarray, first: np.ndarray, second: np.ndarray):
    import numpy as np

    difference = score[first] - score[second]
    return difference, np.abs(difference), (predicted[first] != predicted[second]).astype(np.float64)


def _sets(score: np.ndarray, predicted: np.ndarray, blocks: list[str]):
    import numpy as np

    from fm_notebook.metrics.probes.swaps import within_set

    found, codes = np.empty((3, len(score))), np.unique(np.asarray(blocks, object), return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        found[:, rows] = within_set(score[rows], predicted[rows])
    return found


def _swaps(rows: pa.Table) -> Swaps:
    import numpy as np

    from fm_notebook.metrics.probes.swaps import Swaps

    def words(name: str) -> np.ndarray:
        return np.asarray(rows[name].to_pylist(), object)

    groups = [f"{one} − {other}" for one, other in zip(words("first_group"), words("second_group"), strict=True)]
    return Swaps(
        difference=rows[VALUE].to_numpy(), gap=rows["gap"].to_numpy(), flips=rows["flips"].to_numpy(), axis=words("axis"),
        groups=np.asarray(groups, object), label=words("label"), term=words("term"),
        template=words("block" if "block" in rows.column_names else "template"),
    )  # fmt: skip


def _areas(rows: pa.Table) -> tuple[list[Measurement], list[Remark]]:
    """Areas of each term; a warning if toxic sentences score lower than others, for then another class is meant."""
    import numpy as np

    from fm_notebook.metrics.predictions import Predictions
    from fm_notebook.metrics.subgroup_auc import final_metric, subgroup_aucs

    scores, terms = rows["score"].to_numpy(), np.asarray(rows["term"].to_pylist(), object)
    truth = np.array([_TRUTH.index(label) for label in rows["label"].to_pylist()])
    predictions = Predictions.of(
        truth, (scores > 0.5).astype(int), _TRUTH, probabilities=np.column_stack([1 - scores, scores]), positive=_TRUTH[1]
    )
    names = list(dict.fromkeys(terms.tolist()))
    table = subgroup_aucs(predictions, terms[:, None] == np.array(names, object)[None, :], names)
    whole = table.overall.get("auc")
    assert whole is not None
    found = [Measurement(name="auc", value=whole.value, n=whole.n, interval=whole.interval)]
    if (final := final_metric(table)) is not None:
        found.append(Measurement(name="jigsaw_final", value=final, n=len(scores)))
    for name in ("subgroup_auc", "bpsn_auc", "bnsp_auc"):
        scored = [(str(group.group[0]), score) for group in table.groups if (score := group.get(name))]
        found += [Measurement(name=name, group=term, value=each.value, n=each.n, interval=each.interval) for term, each in scored]
    told = {str(group.group[0]) for group in table.groups if group.get("subgroup_auc")}
    lost = [name for name in names if name not in told]
    left_out = [Remark(key="axes_lost", values={"n": len(lost), "names": ", ".join(lost)}, level="warning")] if lost else []
    reversed_class = [Remark(key="swap_reversed", values={"auc": f"{whole.value:.2f}"}, level="warning")]
    return found, [*left_out, *(reversed_class if whole.value < 0.5 else [])]


probe = IdentitySwap()
