"""Which of two sentences a language model finds likelier: one that tells a stereotype of a group, or the same of another group.

The authors of CrowS-Pairs themselves say that it may be no good indicator, and many of its pairs are faulty (Blodgett 2021): a
remark says so with every figure on it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fm_notebook import messages
from fm_notebook.contracts.capabilities import Capability, Subject
from fm_notebook.contracts.probe_reports import Summary
from fm_notebook.contracts.probe_specs import Remark
from fm_notebook.contracts.probing import ProbeItems
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import pyarrow as pa

    from fm_notebook.data.probe_sets.sentence_pairs import Pairs

TEXTS = ("first", "second")
_NANGIA = "Nangia 2020, https://aclanthology.org/2020.emnlp-main.154/"
_NEVEOL = "Névéol 2022, https://aclanthology.org/2022.acl-long.583/"
_LICENCE = "CC BY-SA 4.0"


class Spec(Frozen):
    """Which metric.

    Attributes
    ----------
    variant : str
        See `fm_notebook.metrics.probes.pseudo_likelihood`. ``auto`` is ``cps``, the metric of the paper, for models that predict
        masked words, and ``causal`` for those that predict the next one.
    language : str
        Of the seed set.
    """

    variant: Literal["auto", "cps", "cps-mod", "aul", "aula", "pll", "pll-word-l2r", "causal"] = "auto"
    language: Literal["en", "zh"] = "en"


class CrowsPairs:
    """A `fm_notebook.contracts.probing.Probe` of language models; without data it asks our seed set."""

    name = "crows-pairs"
    version = 1
    Spec = Spec
    source = _NANGIA

    @property
    def summary(self) -> str:
        """In a sentence."""
        return messages.text("probe.crows_pairs.summary")

    def needs(self, spec: Spec) -> frozenset[Capability]:
        """What the variant needs."""
        from fm_notebook.metrics.probes.pseudo_likelihood import needs

        return needs(spec.variant)

    def suited(self, spec: Spec, able: frozenset[Capability]) -> Spec:
        """`spec` with the variant for the model."""
        from fm_notebook.metrics.probes.pseudo_likelihood import chosen

        return spec.model_copy(update={"variant": chosen(able, "cps")}) if spec.variant == "auto" else spec

    def read(self, given: Path | pa.Table | None, spec: Spec) -> ProbeItems:
        """Pairs in the format of CrowS-Pairs, or our seed set.

        Columns are ``sent_more`` and ``sent_less``, and if there ``stereo_antistereo``, ``bias_type``, ``id`` and ``control``.

        Raises
        ------
        DataError
            If a sentence's column is missing.
        """
        from fm_notebook.data import seed_sets
        from fm_notebook.data.probe_sets import sentence_pairs

        if given is not None:
            table = sentence_pairs.table_of(given)
            return _items(sentence_pairs.crows_pairs(table), set(table.column_names))
        pairs = sentence_pairs.seed_pairs(spec.language)
        return ProbeItems(pairs.table, TEXTS, "seed", f"stereotypes ({spec.language})", seed_sets.LICENCE, language=spec.language)

    def score(self, subject: Subject, items: pa.Table, spec: Spec) -> pa.Table:
        """The scores of both sentences of each pair."""
        from fm_notebook.metrics.probes import pair_scores
        from fm_notebook.metrics.probes.pseudo_likelihood import resolved

        first, second = items["first"].to_pylist(), items["second"].to_pylist()
        swapped = [each == "antistereo" for each in items["direction"].to_pylist()]  # the reference aligns sent_less to it there
        variant = resolved(spec.variant, subject, "cps")
        return pair_scores.table(pair_scores.pair_scores(subject, first, second, variant, swapped), first, second)

    def summarise(self, rows: pa.Table, spec: Spec) -> Summary:
        """The share of pairs whose more stereotyping sentence is preferred, by kind of bias and by direction."""
        from fm_notebook.metrics.probes import pair_summary

        return pair_summary.summary(rows, causal=spec.variant == "causal")


def _items(pairs: Pairs, columns: set[str]) -> ProbeItems:
    """Whose rows these are, is told by their columns: only the original has the annotations."""
    from fm_notebook.data.probe_sets.sentence_pairs import DIRECTION, KIND, language_of

    known = ProbeItems(
        pairs.table, TEXTS, "own", "sent_more / sent_less", "unknown", language=language_of(pairs.table["first"].to_pylist()),
        dropped=pairs.dropped,
    )  # fmt: skip
    if "annotations" in columns:
        noise = Remark(key="crows_pairs_noise", level="warning")
        facts = {"name": "CrowS-Pairs", "citation": _NANGIA, "language": known.language or "en", "remarks": (noise,)}
    elif {DIRECTION, KIND} <= columns:
        remarks = (Remark(key="crows_pairs_revised"),)
        facts = {"name": "CrowS-Pairs, revised", "citation": f"{_NANGIA}; {_NEVEOL}", "remarks": remarks}
    else:
        return known
    return replace(known, origin="public", licence=_LICENCE, **facts)


probe = CrowsPairs()
