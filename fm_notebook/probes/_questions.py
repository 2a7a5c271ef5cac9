"""What BBQ and CBBQ have in common: a context, a question, two persons and that nobody can know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fm_notebook import messages
from fm_notebook.contracts.probe_reports import Summary
from fm_notebook.contracts.probe_specs import Remark
from fm_notebook.contracts.probing import ProbeItems
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from fm_notebook.contracts.capabilities import Capability, Subject

_TEXTS = ("context", "question", "ans0", "ans1", "ans2")


class Spec(Frozen):
    """How the questions are put.

    Attributes
    ----------
    language : str
        Of the seed set.
    variant : str
        ``options``: the likeliest of the three answers given; ``unknown-synonyms``: of the two persons and ten ways to say that
        nobody can know, as lm-evaluation-harness does for BBQ, which makes that answer likelier to be given.
    length_normalisation : str
        ``none``: the answer's log-likelihood; ``tokens``: the mean over its tokens, which favours long answers.
    """

    language: Literal["en", "zh"] = "en"
    variant: Literal["options", "unknown-synonyms"] = "options"
    length_normalisation: Literal["none", "tokens"] = "none"


@dataclass(frozen=True)
class Questions:
    """A `fm_notebook.contracts.probing.Probe` of causal language models.

    `VALUE` is the log-likelihood of the stereotype's person less that of the other; `CHOICE` whether that person was named, null
    where the answer was that nobody can know. Published figures come from `summarise` too: any rows of items with a column
    ``answer`` will do.

    Attributes
    ----------
    form : str
        Of the public files: ``bbq`` or ``cbbq``. CBBQ's own scores are given of its form.
    licence : str
        Of the public rows.
    """

    name: str
    source: str
    form: Literal["bbq", "cbbq"]
    licence: str
    Spec: type[Spec] = Spec
    version: int = 1

    @property
    def summary(self) -> str:
        """In a sentence."""
        return messages.text(f"probe.{self.name}.summary")

    def needs(self, spec: Spec) -> frozenset[Capability]:
        """A causal language model."""
        del spec
        return frozenset({"log_likelihoods"})

    def suited(self, spec: Spec, able: frozenset[Capability]) -> Spec:
        """Nothing is left open."""
        del able
        return spec

    def read(self, given: Path | pa.Table | None, spec: Spec) -> ProbeItems:
        """Rows in the public form, of a file, a folder or a table; or our seed set."""
        from fm_notebook.data import seed_sets
        from fm_notebook.data.probe_sets import multiple_choice

        if given is None:
            items = multiple_choice.of_seeds(seed_sets.questions(spec.language))
            return ProbeItems(items, _TEXTS, "seed", "seed", seed_sets.LICENCE, language=spec.language)
        is_english = self.form == "bbq"
        found = (multiple_choice.bbq if is_english else multiple_choice.cbbq)(given)
        dropped = tuple(found.dropped.items())
        if found.within(multiple_choice.CATEGORIES if is_english else multiple_choice.CBBQ_CATEGORIES):
            name, language = self.form.upper(), "en" if is_english else "zh"
            return ProbeItems(found.table, _TEXTS, "public", name, self.licence, self.source, language, dropped)
        return ProbeItems(found.table, _TEXTS, "own", self.form, "unknown", dropped=dropped)

    def score(self, subject: Subject, items: pa.Table, spec: Spec) -> pa.Table:
        """The likeliest answer to each question."""
        from fm_notebook.data.probe_sets import multiple_choice

        asked = multiple_choice.options(items, synonyms=spec.variant == "unknown-synonyms")
        found = subject.log_likelihoods(asked.texts, asked.contexts)
        support = asked.support(found, by_token=spec.length_normalisation == "tokens")
        return multiple_choice.answered(items, support.argmax(1).tolist(), support)

    def summarise(self, rows: pa.Table, spec: Spec) -> Summary:
        """Bias scores and accuracies by BBQ's formulas, and of CBBQ's form by its own, over all and by category."""
        from fm_notebook.metrics.probes import question_bias

        del spec
        if not rows.num_rows:
            return Summary(measurements=[])
        clusters = len(rows["cluster"].unique())
        remarks = [Remark(key="question_clusters", values={"n": clusters}), *question_bias.undefined(rows)]
        measures = [question_bias.measurements, *([question_bias.cbbq_measurements] if self.form == "cbbq" else [])]
        found = [each for measure in measures for each in question_bias.by_axis(rows, measure)]
        return Summary(measurements=found, remarks=remarks)
