"""Whether a model prefers stereotypical to anti-stereotypical words and sentences, and either to senseless ones (StereoSet)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fm_notebook import messages
from fm_notebook.contracts.capabilities import Capability, Subject
from fm_notebook.contracts.probe_reports import Measurement, Summary
from fm_notebook.contracts.probe_specs import Remark
from fm_notebook.contracts.probing import CHOICE, SKIPPED, VALUE, ProbeItems
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

CITATION = "Nadeem 2021, https://aclanthology.org/2021.acl-long.416/"
CHOICES = ("stereotype", "anti_stereotype", "unrelated")
CAUSAL = ("causal", "causal-mean")
GAP = "BLANK"
Part = Literal["auto", "intrasentence", "intersentence", "both"]
Row = tuple[float, float, float, str | None]
"""Scores of the three choices, and why there are none."""


class Spec(Frozen):
    """How choices are scored.

    Attributes
    ----------
    variant : str
        ==================== ===================================================================================================
        ``mean-probability`` masked models: the mean of the probabilities of the fill word's tokens, each masked after those
                             before it. As the reference computes it; its documentation says logarithms
        ``mean-log``         the same with logarithms: what the reference's documentation says
        ``causal-mean``      causal models: the sentence's log-likelihood by token, as the reference but for the first token,
                             which here is scored in the same pass
        ``causal``           the sentence's log-likelihood: shorter choices are likelier
        ==================== ===================================================================================================

        Inter-sentence items are scored by the head for next sentences, or by causal models as ln p(sentence | context), which is
        ours: the reference trained heads for them.
    part : str
        Which items; ``auto`` those that the model is able to.
    language : str
        Of the seed set.
    """

    variant: Literal["auto", "mean-probability", "mean-log", "causal-mean", "causal"] = "auto"
    part: Part = "auto"
    language: Literal["en", "zh"] = "en"


class StereoSet:
    """A `fm_notebook.contracts.probing.Probe` of masked and causal language models."""

    name = "stereoset"
    version = 1
    Spec = Spec
    source = CITATION

    @property
    def summary(self) -> str:
        """In a sentence."""
        return messages.text("probe.stereoset.summary")

    def needs(self, spec: Spec) -> frozenset[Capability]:
        """Likelihoods of words in place, or of sentences; for inter-sentence items of masked models next sentences."""
        if spec.variant in CAUSAL:
            return frozenset({"log_likelihoods"})
        needed: set[Capability] = set()
        if spec.part in {"intersentence", "both"}:
            needed.add("next_sentence")
        if spec.part != "intersentence" and spec.variant != "auto":
            needed.add("masked_log_probs")
        return frozenset(needed)

    def suited(self, spec: Spec, able: frozenset[Capability]) -> Spec:
        """Masked models by ``mean-probability``, causal ones by ``causal-mean``; both parts where the second has a head."""
        variant, part = spec.variant, spec.part
        if variant == "auto":
            is_causal = "log_likelihoods" in able and "masked_log_probs" not in able
            variant = "causal-mean" if is_causal else "mean-probability"
        if part == "auto":
            part = "both" if variant in CAUSAL or "next_sentence" in able else "intrasentence"
        return spec.model_copy(update={"variant": variant, "part": part})

    def read(self, given: Path | pa.Table | None, spec: Spec) -> ProbeItems:
        """One item three choices, of the part asked for; see `fm_notebook.data.probe_sets.stereoset_files`."""
        import pyarrow as pa

        from fm_notebook.data import seed_sets
        from fm_notebook.data.probe_sets import stereoset_files

        if given is None:
            found = stereoset_files.table_of(_seeds(seed_sets.fills(spec.language)))
            name, licence, citation, language = "seed", seed_sets.LICENCE, "", spec.language
        else:
            found = stereoset_files.read(given)
            name, licence, citation, language = "StereoSet", "CC BY-SA 4.0", CITATION, "en"
        table = found.table
        if spec.part in {"intrasentence", "intersentence"}:
            table = table.filter(pa.array([kind == spec.part for kind in table["kind"].to_pylist()], pa.bool_()))
        return ProbeItems(
            table=table, texts=CHOICES, origin="seed" if given is None else "public", name=name, licence=licence,
            citation=citation, language=language, dropped=found.dropped,
        )  # fmt: skip

    def score(self, subject: Subject, items: pa.Table, spec: Spec) -> pa.Table:
        """Of each item the scores of its choices, and by how much the stereotype's is above the anti-stereotype's."""
        spec = self.suited(spec, subject.capabilities)
        rows, found = items.to_pylist(), {}
        for kind, scored in (("intrasentence", _intra), ("intersentence", _inter)):
            places = [place for place, row in enumerate(rows) if row["kind"] == kind]
            found |= dict(zip(places, scored(subject, [rows[place] for place in places], spec.variant), strict=True))
        return _table([found[place] for place in range(len(rows))])

    def summarise(self, rows: pa.Table, spec: Spec) -> Summary:
        """SS, LMS and ICAT over all items, by kind, by domain, and by domain within a kind."""
        import numpy as np

        from fm_notebook.metrics.probes import icat
        from fm_notebook.metrics.probes.preferences import adjusted_by_name

        del spec
        if not rows.num_rows:
            return Summary(measurements=[])
        stereotype, anti, unrelated = (rows[f"{choice}_score"].to_numpy() for choice in CHOICES)
        whole = icat.Preferred.of(stereotype, anti, unrelated, rows["cluster"].to_pylist())
        groups = _groups(rows["kind"].to_pylist(), rows["axis"].to_pylist())
        found = icat.measured(whole)
        found[0] = found[0].model_copy(update={"is_main": True})
        within = [each for name, chosen in groups.items() for each in icat.measured(whole.where(np.array(chosen)), name)]
        counted = {"items": rows.num_rows, "targets": found[0].n}
        return Summary(measurements=adjusted_by_name(found + within), remarks=list(_remarks(found + within, rows, counted)))


def _seeds(fills: pa.Table) -> Iterator[dict[str, str]]:
    names = {"anti": "anti_stereotype"}
    for row in fills.to_pylist():
        flat = {names.get(str(key), str(key)): str(value) for key, value in row.items()}
        kind = {"intra": "intrasentence", "inter": "intersentence"}[flat["kind"]]
        if kind == "intrasentence":
            flat |= {choice: flat["context"].replace(GAP, flat[choice]) for choice in CHOICES}
        yield flat | {"kind": kind}


def _intra(subject: Subject, rows: Sequence[dict], variant: str) -> list[Row]:
    if variant in CAUSAL:
        return _threes([_sentence(found.log_probs, variant) for found in subject.log_likelihoods(_choices(rows))])
    from fm_notebook.metrics.probes.gap_filling import GapQueries

    asked = GapQueries.of(subject, [(row["context"], row[f"{choice}_fill"]) for row in rows for choice in CHOICES])
    answers = subject.masked_log_probs(asked.queries)
    return _threes(asked.scores(answers, as_logarithms=variant == "mean-log"))


def _inter(subject: Subject, rows: Sequence[dict], variant: str) -> list[Row]:
    contexts = [row["context"] for row in rows for _ in CHOICES]
    if variant in CAUSAL:
        # after Latin letters the next sentence begins with a space, which is part of its first token
        texts = [" " * context[-1:].isascii() + text for context, text in zip(contexts, _choices(rows), strict=True)]
        return _threes([_sentence(found.log_probs, variant) for found in subject.log_likelihoods(texts, contexts)])
    if "next_sentence" not in subject.capabilities:
        return [(0.0, 0.0, 0.0, "no_next_sentence")] * len(rows)
    return _threes([float(found) for found in subject.next_sentence(contexts, _choices(rows))])


def _choices(rows: Sequence[dict]) -> list[str]:
    return [row[choice] for row in rows for choice in CHOICES]


def _sentence(log_probs: np.ndarray, variant: str) -> float:
    return float(log_probs.mean() if variant == "causal-mean" else log_probs.sum()) if len(log_probs) else float("nan")


def _threes(scores: Sequence[float] | np.ndarray) -> list[Row]:
    return [_row(*map(float, scores[place : place + 3])) for place in range(0, len(scores), 3)]


def _row(stereotype: float, anti: float, unrelated: float) -> Row:
    import math

    scores = (stereotype, anti, unrelated)
    if any(map(math.isnan, scores)):
        return (*scores, "too_long")
    return (*scores, "unknown_fill" if -math.inf in scores else None)


def _table(found: Sequence[Row]) -> pa.Table:
    import pyarrow as pa

    values = [None if skipped else stereotype - anti for stereotype, anti, _, skipped in found]
    columns = {
        VALUE: pa.array(values, pa.float64()),
        CHOICE: pa.array([None if not value else value > 0 for value in values], pa.bool_()),
        SKIPPED: pa.array([skipped for *_, skipped in found], pa.string()),
    }
    for place, choice in enumerate(CHOICES):
        columns[f"{choice}_score"] = pa.array([None if row[3] else row[place] for row in found], pa.float64())
    return pa.table(columns)


def _groups(kinds: Sequence[str], axes: Sequence[str]) -> dict[str, list[bool]]:
    """Which items are in each domain, and where there are both kinds in each of these and in each domain within it."""
    found = {axis: [axis == each for each in axes] for axis in dict.fromkeys(axes)}
    if len(different := list(dict.fromkeys(kinds))) > 1:
        for kind in different:
            found[kind] = [kind == each for each in kinds]
            for axis in dict.fromkeys(axes):
                both = [kind == each and axis == other for each, other in zip(kinds, axes, strict=True)]
                found |= {f"{kind}: {axis}": both} if any(both) else {}
    return found


def _remarks(found: Sequence[Measurement], rows: pa.Table, counted: dict[str, int]) -> Iterator[Remark]:
    yield Remark(key="macro_over_targets", values=dict(counted))
    kinds = set(rows["kind"].to_pylist())
    if "intersentence" in kinds:
        yield Remark(key="intersentence_is_ours")
    if any(each.interval is None for each in found):
        yield Remark(key="one_target")


probe = StereoSet()
