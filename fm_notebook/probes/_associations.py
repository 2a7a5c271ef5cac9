"""What WEAT and SEAT have in common: tests of whether two sets of texts lie unlike near two kinds of attribute words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fm_notebook import messages
from fm_notebook.contracts.capabilities import Capability, Subject
from fm_notebook.contracts.probe_reports import Summary
from fm_notebook.contracts.probing import ProbeItems
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import pyarrow as pa


class Spec(Frozen):
    """How texts become vectors.

    Attributes
    ----------
    variant : str
        The pooling, see `fm_notebook.contracts.capabilities.Pooling`; effect sizes move by up to 0.6 between them. A word of
        several tokens has one vector too.
    language : str
        Of the seed set.
    """

    variant: Literal["mean", "cls", "first", "pooler"] = "mean"
    language: Literal["en", "zh"] = "en"


@dataclass(frozen=True)
class Associations:
    """A `fm_notebook.contracts.probing.Probe` of models whose hidden states can be read.

    Attributes
    ----------
    unit : str
        Whether a text is a ``word`` by itself or a ``sentence`` with the word in it.
    """

    name: str
    source: str
    unit: Literal["word", "sentence"]
    version: int = 1
    Spec: type[Spec] = Spec

    @property
    def summary(self) -> str:
        """In a sentence."""
        return messages.text(f"probe.{self.name}.summary")

    def needs(self, spec: Spec) -> frozenset[Capability]:
        """Vectors of texts."""
        del spec
        return frozenset({"embeddings"})

    def suited(self, spec: Spec, able: frozenset[Capability]) -> Spec:
        """`spec`: nothing is left open."""
        del able
        return spec

    def read(self, given: Path | pa.Table | None, spec: Spec) -> ProbeItems:
        """One item a text, the texts of a test in a block; see `fm_notebook.data.probe_sets.association_files`."""
        from fm_notebook.data.probe_sets import association_items

        return association_items.items(given, self.unit, spec.language)

    def score(self, subject: Subject, items: pa.Table, spec: Spec) -> pa.Table:
        """Of each text its association; texts that several tests share are read once."""
        import numpy as np

        from fm_notebook.metrics.probes import association_tests

        texts = items["text"].to_pylist()
        place = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        vectors = subject.embeddings(list(place), spec.variant)[np.array([place[text] for text in texts], np.int64)]
        return association_tests.scored(items["test"].to_pylist(), items["role"].to_pylist(), vectors)

    def summarise(self, rows: pa.Table, spec: Spec) -> Summary:
        """Effect sizes by test, the headline their mean absolute value if there are several."""
        from fm_notebook.metrics.probes import association_tests

        del spec
        return association_tests.summary(rows)
