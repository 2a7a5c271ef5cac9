"""Whether a language model finds sentences likelier by how they name a person: the Likelihood Bias of HolisticBias."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fm_notebook import messages
from fm_notebook.contracts.capabilities import Capability, Subject
from fm_notebook.contracts.probe_reports import Summary
from fm_notebook.contracts.probing import PIECES, SKIPPED, VALUE, ProbeItems
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import pyarrow as pa

    from fm_notebook.metrics.probes.pseudo_likelihood import Likelihood

_SMITH = "Smith 2022, https://aclanthology.org/2022.emnlp-main.625/"


class Spec(Frozen):
    """Which perplexity.

    Attributes
    ----------
    variant : str
        ``causal`` is that of the next tokens; ``pll`` and ``pll-word-l2r`` are pseudo-perplexities of masked ones, see
        `fm_notebook.metrics.probes.pseudo_likelihood`. ``auto`` is ``pll-word-l2r`` for models that predict masked words, and
        ``causal`` for those that predict the next one.
    language : str
        Of the seed set.
    """

    variant: Literal["auto", "pll", "pll-word-l2r", "causal"] = "auto"
    language: Literal["en", "zh"] = "en"


class HolisticLikelihood:
    """A `fm_notebook.contracts.probing.Probe` of language models.

    An item is a sentence, and its value the logarithm of its perplexity: no stereotype is told, so that it has no direction.
    """

    name = "holistic-likelihood"
    version = 1
    Spec = Spec
    source = _SMITH

    @property
    def summary(self) -> str:
        """In a sentence."""
        return messages.text("probe.holistic_likelihood.summary")

    def needs(self, spec: Spec) -> frozenset[Capability]:
        """What the variant needs."""
        from fm_notebook.metrics.probes.pseudo_likelihood import needs

        return needs(spec.variant)

    def suited(self, spec: Spec, able: frozenset[Capability]) -> Spec:
        """`spec` with the variant for the model."""
        from fm_notebook.metrics.probes.pseudo_likelihood import chosen

        return spec.model_copy(update={"variant": chosen(able, "pll-word-l2r")}) if spec.variant == "auto" else spec

    def read(self, given: Path | pa.Table | None, spec: Spec) -> ProbeItems:
        """The sentences of HolisticBias' folder of JSON files, of a table such as its code writes, or of our seed set.

        Raises
        ------
        DataError
            If files or columns are missing.
        """
        from fm_notebook.data import seed_sets
        from fm_notebook.data.probe_sets import descriptor_sentences, sentence_pairs

        if given is None:
            table = descriptor_sentences.seed_sentences(spec.language)
            name = f"stereotypes ({spec.language})"
            return ProbeItems(table, ("text",), "seed", name, seed_sets.LICENCE, language=spec.language)
        if isinstance(given, Path) and given.is_dir() and any(given.glob("descriptors*.json")):
            table = descriptor_sentences.holistic_bias(given)
            return ProbeItems(table, ("text",), "public", "HolisticBias", "CC BY-SA 4.0", _SMITH, language="en")
        found = descriptor_sentences.own(sentence_pairs.table_of(given))
        language = sentence_pairs.language_of(found.table["text"].to_pylist())
        return ProbeItems(found.table, ("text",), "own", "text", "unknown", language=language, dropped=found.dropped)

    def score(self, subject: Subject, items: pa.Table, spec: Spec) -> pa.Table:
        """The log-perplexity of each sentence, and what each token adds to it."""
        import pyarrow as pa

        from fm_notebook.metrics.probes.pair_scores import PIECES_TYPE
        from fm_notebook.metrics.probes.pseudo_likelihood import likelihoods, resolved

        schema = pa.schema({VALUE: pa.float64(), SKIPPED: pa.string(), PIECES: PIECES_TYPE, "tokens": pa.int32()})
        texts = items["text"].to_pylist()
        found = likelihoods(subject, texts, resolved(spec.variant, subject, "pll-word-l2r"))
        return pa.Table.from_pylist([_row(*each) for each in zip(found, texts, strict=True)], schema)

    def summarise(self, rows: pa.Table, spec: Spec) -> Summary:
        """The share of descriptor pairs whose perplexities differ, by axis, beside that of chance."""
        from fm_notebook.metrics.probes import likelihood_bias

        del spec
        return likelihood_bias.summary(rows)


def _row(found: Likelihood, text: str) -> dict[str, object]:
    n = len(found.positions)
    if not n or found.total != found.total:
        return {SKIPPED: "too_long" if n else "nothing_to_score"}
    pieces = []
    for place, value in zip(found.positions, found.parts.tolist(), strict=True):
        start, end = found.text.offsets[place]
        pieces.append({"text": text[start:end] or found.text.tokens[place], "start": start, "end": end, "value": -value / n})
    return {VALUE: -found.total / n, PIECES: pieces, "tokens": n}


probe = HolisticLikelihood()
