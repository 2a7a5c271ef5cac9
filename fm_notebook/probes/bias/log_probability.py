"""Whether a masked language model associates a person of one group more with a stereotype's attribute (Kurita's score)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fm_notebook import messages
from fm_notebook.contracts.capabilities import Capability, Subject
from fm_notebook.contracts.probe_reports import Summary
from fm_notebook.contracts.probing import CHOICE, OTHER_PIECES, PIECES, SKIPPED, VALUE, ProbeItems
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import pyarrow as pa

    from fm_notebook.metrics.probes.log_probability import Association, Marked

_BARTL = "Bartl 2020, https://aclanthology.org/2020.gebnlp-1.1/"


class Spec(Frozen):
    """What is asked.

    Attributes
    ----------
    language : str
        Of the seed set.
    """

    language: Literal["en", "zh"] = "en"


class LogProbability:
    """A `fm_notebook.contracts.probing.Probe` of encoders with a head for masked words.

    An item is a pair of sentences that differ in the person; its value is the association of the attribute with the person whom
    the stereotype is told of, less that with the other.
    """

    name = "log-probability"
    version = 1
    Spec = Spec
    source = "Kurita 2019, https://aclanthology.org/W19-3823/"

    @property
    def summary(self) -> str:
        """In a sentence."""
        return messages.text("probe.log_probability.summary")

    def needs(self, spec: Spec) -> frozenset[Capability]:
        """Probabilities of masked words."""
        del spec
        return frozenset({"masked_log_probs"})

    def suited(self, spec: Spec, able: frozenset[Capability]) -> Spec:
        """`spec`: nothing is left open."""
        del able
        return spec

    def read(self, given: Path | pa.Table | None, spec: Spec) -> ProbeItems:
        """BEC-Pro, or our seed set.

        Raises
        ------
        DataError
            If the columns are not those of BEC-Pro.
        """
        from fm_notebook.data import seed_sets
        from fm_notebook.data.probe_sets import marked_pairs, sentence_pairs

        if given is None:
            pairs = marked_pairs.seed_pairs(spec.language)
            name = f"stereotypes ({spec.language})"
            return ProbeItems(pairs.table, ("first", "second"), "seed", name, seed_sets.LICENCE, language=spec.language)
        pairs = marked_pairs.bec_pro(sentence_pairs.table_of(given))
        facts = {"citation": _BARTL, "language": "en", "dropped": pairs.dropped}
        return ProbeItems(pairs.table, ("first", "second"), "public", "BEC-Pro", "CC BY 4.0", **facts)

    def score(self, subject: Subject, items: pa.Table, spec: Spec) -> pa.Table:
        """The associations of both sentences of each pair."""
        del spec
        import pyarrow as pa

        from fm_notebook.metrics.probes.log_probability import associations
        from fm_notebook.metrics.probes.pair_scores import PIECES_TYPE

        schema = pa.schema({
            VALUE: pa.float64(), CHOICE: pa.bool_(), SKIPPED: pa.string(), PIECES: PIECES_TYPE, OTHER_PIECES: PIECES_TYPE,
            "first_association": pa.float64(), "second_association": pa.float64(), "target_tokens": pa.int32(),
        })  # fmt: skip
        rows = items.to_pylist()
        first, second = ([_marked(row, side) for row in rows] for side in ("first", "second"))
        found = zip(*associations(subject, first, second), first, second, strict=True)
        return pa.Table.from_pylist([_row(*each) for each in found], schema)

    def summarise(self, rows: pa.Table, spec: Spec) -> Summary:
        """The mean difference, its effect size, and the share of pairs; gaps by the kind of profession."""
        from fm_notebook.metrics.probes import association_gaps

        del spec
        return association_gaps.summary(rows)


def _marked(row: dict[str, object], side: str) -> Marked:
    from fm_notebook.metrics.probes.log_probability import Marked

    target, attribute = ((row[f"{side}_{mark}_start"], row[f"{side}_{mark}_end"]) for mark in ("target", "attribute"))
    return Marked(row[side], target, attribute)  # type: ignore[arg-type]


def _row(one: Association, other: Association, first: Marked, second: Marked) -> dict[str, object]:
    if reason := one.skipped or other.skipped:
        return {SKIPPED: reason}
    names, difference = ("text", "start", "end", "value"), one.total - other.total
    both = [one.pieces(first.text), other.pieces(second.text, -1)]
    pieces = [[dict(zip(names, piece, strict=True)) for piece in each] for each in both]
    return {
        VALUE: difference, CHOICE: None if difference == 0 else difference > 0, PIECES: pieces[0], OTHER_PIECES: pieces[1],
        "first_association": one.total, "second_association": other.total,
        "target_tokens": max(len(one.target), len(other.target)),
    }  # fmt: skip


probe = LogProbability()
