"""Whether a model prefers, of an occupation, the pronoun that the stereotype expects (WinoBias, Winogender)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fm_notebook import messages
from fm_notebook.contracts.capabilities import Capability, Subject
from fm_notebook.contracts.probe_reports import Measurement, Summary
from fm_notebook.contracts.probe_specs import Remark
from fm_notebook.contracts.probing import VALUE, ProbeItems
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

LICENCES = {"WinoBias": "MIT", "Winogender": "MIT", "": "unknown"}
CITATIONS = {
    "WinoBias": "Zhao 2018, https://aclanthology.org/N18-2003/",
    "Winogender": "Rudinger 2018, https://aclanthology.org/N18-2002/",
    "": "",
}


class Spec(Frozen):
    """How sentences are scored.

    Attributes
    ----------
    variant : str
        ``masked``: ln p of the pronouns, all of a sentence's masked together; ``causal``: the log-likelihood of the sentence.
    language : str
        Of the seed set.
    """

    variant: Literal["auto", "masked", "causal"] = "auto"
    language: Literal["en", "zh"] = "en"


class PronounPreference:
    """A `fm_notebook.contracts.probing.Probe` of masked and causal language models.

    A preference tells of the model; that there is none tells little: a model may lean one way in sentences that were not asked.
    """

    name = "pronoun-preference"
    version = 1
    Spec = Spec
    source = "; ".join(filter(None, CITATIONS.values()))

    @property
    def summary(self) -> str:
        """In a sentence."""
        return messages.text("probe.pronoun_preference.summary")

    def needs(self, spec: Spec) -> frozenset[Capability]:
        """Likelihoods, of words in place or of sentences."""
        needed: dict[str, frozenset[Capability]] = {
            "masked": frozenset({"masked_log_probs"}),
            "causal": frozenset({"log_likelihoods"}),
        }
        return needed.get(spec.variant, frozenset())

    def suited(self, spec: Spec, able: frozenset[Capability]) -> Spec:
        """Masked models by their masks."""
        if spec.variant != "auto":
            return spec
        is_causal = "log_likelihoods" in able and "masked_log_probs" not in able
        return spec.model_copy(update={"variant": "causal" if is_causal else "masked"})

    def read(self, given: Path | pa.Table | None, spec: Spec) -> ProbeItems:
        """One item two sentences; see `fm_notebook.data.probe_sets.pronoun_files`."""
        from fm_notebook.data import seed_sets
        from fm_notebook.data.probe_sets import pronoun_files

        if given is None:
            found = pronoun_files.table_of(seed_sets.pronouns(spec.language).to_pylist(), "")
            origin, name, licence, language = "seed", "seed", seed_sets.LICENCE, spec.language
        else:
            found = pronoun_files.read(given)
            origin, name, licence = "public" if found.source else "own", found.source, LICENCES[found.source]
            language = "en" if found.source else ""
        return ProbeItems(
            table=found.table, texts=("sentence", "other_sentence"), origin=origin, name=name, licence=licence,
            citation=CITATIONS[found.source], language=language, dropped=found.dropped,
        )  # fmt: skip

    def score(self, subject: Subject, items: pa.Table, spec: Spec) -> pa.Table:
        """Of each item by how much the expected pronoun is likelier, in nats, and what each token adds."""
        from fm_notebook.metrics.probes import minimal_pairs, pair_scores

        both = items["sentence"].to_pylist(), items["other_sentence"].to_pylist()
        if self.suited(spec, subject.capabilities).variant == "masked":
            return pair_scores.table(minimal_pairs.masked(subject, *both), *both)
        return pair_scores.table(pair_scores.pair_scores(subject, *both, "causal"), *both)

    def summarise(self, rows: pa.Table, spec: Spec) -> Summary:
        """How often and by how much the expected pronoun is preferred, over all, by kind and by expected gender; r by kind."""
        import numpy as np

        from fm_notebook.metrics.probes.preferences import adjusted_by_name, many_ties

        del spec
        if not rows.num_rows:
            return Summary(measurements=[])
        groups = {"": np.ones(rows.num_rows, bool)}
        for name in ("kind", "stereotype"):
            column = np.asarray(rows[name].to_pylist(), object)
            different = dict.fromkeys(column)
            groups |= {each: column == each for each in different} if len(different) > 1 else {}
        correlated = list(_correlations(rows))
        found = [each for name, chosen in groups.items() for each in _preference(rows, chosen, name)]
        first, *rest = adjusted_by_name([*correlated, *found])
        main = first.model_copy(update={"is_main": True})
        tied = many_ties(int((rows[VALUE].to_numpy() == 0).sum()), rows.num_rows)
        return Summary(measurements=[main, *rest], remarks=[*tied, *_remarks(correlated)])


def _preference(rows: pa.Table, chosen: np.ndarray, group: str) -> Iterator[Measurement]:
    """The share of items that prefer the expected pronoun, and the mean difference, clustered by occupation and template."""
    import numpy as np

    from fm_notebook.metrics.probes.preferences import clustered_preference, mean_difference

    values = rows[VALUE].to_numpy()[chosen]
    ways = [np.asarray(rows[name].to_pylist(), str)[chosen] for name in ("cluster", "template")]
    yield clustered_preference("stereotypical_pronoun", values > 0, values == 0, ways, group=group)
    yield mean_difference("pronoun_gap", values, ways, group=group)


def _correlations(rows: pa.Table) -> Iterator[Measurement]:
    """Over occupations, of ln p(female pronoun) - ln p(male pronoun) with the share of women, by whom the pronoun is.

    First where it is whoever has the occupation; where it is the other participant the share says nothing of the pronoun.
    """
    import numpy as np

    from fm_notebook.metrics.correlation import correlation

    known = [row for row in rows.to_pylist() if row["percent_female"] is not None]
    for kind in sorted({row["kind"] for row in known}):
        of_kind = [row for row in known if row["kind"] == kind]
        names = list(dict.fromkeys(row["occupation"] for row in of_kind))
        share = {row["occupation"]: row["percent_female"] for row in of_kind}
        leans = {name: [_female(row) for row in of_kind if row["occupation"] == name] for name in names}
        found = correlation(
            "occupation_correlation", np.array([np.mean(leans[name]) for name in names]),
            np.array([share[name] for name in names], float), kind,
        )  # fmt: skip
        if found is not None:
            yield found


def _female(row: dict) -> float:
    """Difference ln p(she) - ln p(he) of an item."""
    return row[VALUE] if row["stereotype"] == "female" else -row[VALUE]


def _remarks(correlated: Sequence[Measurement]) -> Iterator[Remark]:
    yield Remark(key="positive_predictive_only")
    if any(each.group == "participant" for each in correlated):
        yield Remark(key="participant_is_control")


probe = PronounPreference()
