"""Which of two sentences a language model finds likelier: the user's own pairs, or templates with the user's own terms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fm_notebook import messages
from fm_notebook.contracts.capabilities import Capability, Subject
from fm_notebook.contracts.probe_reports import Summary
from fm_notebook.contracts.probing import ProbeItems
from fm_notebook.contracts.values import Column, Frozen
from fm_notebook.errors import SpecError

if TYPE_CHECKING:
    import pyarrow as pa

    from fm_notebook.data.probe_sets.sentence_pairs import Pairs

_KAUF = "Kauf and Ivanova 2023, https://aclanthology.org/2023.acl-short.80/"


class Spec(Frozen):
    """What is compared, and how.

    Attributes
    ----------
    first, second : str
        Columns; the first holds the more stereotyping sentence. Of a folder with two files (CHBias), the files' names.
    axis_column : str or None
        Column that says what a pair is about; results are given for each of its values.
    templates : list of str
        In place of data: sentences with one placeholder in braces, each of which meets all `terms`.
    terms : list of (str, str)
        Pairs of terms; the first makes the more stereotyping sentence.
    variant : str
        See `fm_notebook.metrics.probes.pseudo_likelihood`. ``auto`` is ``pll-word-l2r`` for models that predict masked words, and
        ``causal`` for those that predict the next one.
    language : str
        Of the seed set, which is asked where there are neither data nor templates.
    """

    first: Column = "first"
    second: Column = "second"
    axis_column: Column | None = None
    templates: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    terms: tuple[tuple[str, str], ...] = ()
    variant: Literal["auto", "cps", "cps-mod", "aul", "aula", "pll", "pll-word-l2r", "causal"] = "auto"
    language: Literal["en", "zh"] = "en"


class PairsProbe:
    """A `fm_notebook.contracts.probing.Probe` of language models."""

    name = "pairs"
    version = 1
    Spec = Spec
    source = _KAUF

    @property
    def summary(self) -> str:
        """In a sentence."""
        return messages.text("probe.pairs.summary")

    def needs(self, spec: Spec) -> frozenset[Capability]:
        """What the variant needs."""
        from fm_notebook.metrics.probes.pseudo_likelihood import needs

        return needs(spec.variant)

    def suited(self, spec: Spec, able: frozenset[Capability]) -> Spec:
        """`spec` with the variant for the model."""
        from fm_notebook.metrics.probes.pseudo_likelihood import chosen

        return spec.model_copy(update={"variant": chosen(able, "pll-word-l2r")}) if spec.variant == "auto" else spec

    def read(self, given: Path | pa.Table | None, spec: Spec) -> ProbeItems:
        """The pairs in two columns, in two files of a folder row by row, of templates and terms, or of our seed set.

        Raises
        ------
        DataError
            If a column or a file is missing, or a template has not one placeholder.
        SpecError
            If there are templates without terms, terms without templates, or data besides.
        """
        from fm_notebook.data import seed_sets
        from fm_notebook.data.probe_sets import sentence_pairs

        if bool(spec.templates) != bool(spec.terms):
            raise SpecError("probe.pair_terms")
        if given is not None and spec.templates:
            raise SpecError("probe.pair_data_and_templates")
        if given is None and not spec.templates:
            pairs = sentence_pairs.seed_pairs(spec.language)
            name = f"stereotypes ({spec.language})"
            return ProbeItems(pairs.table, ("first", "second"), "seed", name, seed_sets.LICENCE, language=spec.language)
        pairs = _own(given, spec)
        language = sentence_pairs.language_of(pairs.table["first"].to_pylist())
        name = f"{spec.first} / {spec.second}" if given is not None else f"{len(spec.templates)} × {len(spec.terms)}"
        return ProbeItems(pairs.table, ("first", "second"), "own", name, "unknown", language=language, dropped=pairs.dropped)

    def score(self, subject: Subject, items: pa.Table, spec: Spec) -> pa.Table:
        """The scores of both sentences of each pair."""
        from fm_notebook.metrics.probes import pair_scores
        from fm_notebook.metrics.probes.pseudo_likelihood import resolved

        first, second = items["first"].to_pylist(), items["second"].to_pylist()
        found = pair_scores.pair_scores(subject, first, second, resolved(spec.variant, subject, "pll-word-l2r"))
        return pair_scores.table(found, first, second)

    def summarise(self, rows: pa.Table, spec: Spec) -> Summary:
        """The share of pairs whose first sentence is preferred, by axis; the mean difference."""
        from fm_notebook.metrics.probes import pair_summary

        return pair_summary.summary(rows, causal=spec.variant == "causal")


def _own(given: Path | pa.Table | None, spec: Spec) -> Pairs:
    from fm_notebook.data.probe_sets import sentence_pairs

    if given is None:
        return sentence_pairs.crossed(spec.templates, spec.terms)
    if isinstance(given, Path) and given.is_dir():
        table = sentence_pairs.row_by_row(given, spec.first, spec.second)
    else:
        table = sentence_pairs.table_of(given)
    return sentence_pairs.own_pairs(table, spec.first, spec.second, spec.axis_column)


probe = PairsProbe()
