"""What changed between models in their answers to the same items of a probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fm_notebook.contracts.probe_reports import Measurement
from fm_notebook.contracts.scores import Interval
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "probe", "variant", "model", "group", "what", "n", "first", "second", "difference", "low", "high", "p_value", "adjusted_p",
    "up", "down",
]  # fmt: skip


class ProbeChange(Frozen):
    """One number of two models over the same `n` items.

    Attributes
    ----------
    what : str
        ``choices``: per cent of the items that prefer the stereotype, ties counted as not; ``values``: mean of the items' own
        signed numbers.
    group : str
        Axis of the items; empty for all.
    first, second, difference : float
        With each model, and second less first.
    interval : Interval or None
        Of the difference: the items, or the clusters that they come in, are resampled, both models alike.
    p_value : float
        Of no change, two-sided: McNemar's, exact, for choices of independent items; else the clusters' differences change signs
        by chance.
    adjusted_p : float
        By Holm, over all models, groups and numbers of the probe.
    up, down : int or None
        Items that prefer the stereotype with the second model alone, and with the first alone.
    """

    what: Literal["choices", "values"]
    group: str = ""
    n: int
    first: float
    second: float
    difference: float
    interval: Interval | None = None
    p_value: float = 1.0
    adjusted_p: float = 1.0
    up: int | None = None
    down: int | None = None


class ModelChanges(Frozen):
    """What changed from the first model to the one called `name`; `unpaired` items were scored with one of the two alone."""

    name: str
    changes: list[ProbeChange]
    unpaired: int = 0


class ProbeComparison(Frozen):
    """One probe's items put to several models; the first is the base.

    Attributes
    ----------
    models : list of str
    headlines : list of Measurement or None
        Of each model the probe's own main measurement, with its own interval; None where nothing could be measured.
    changes : list of ModelChanges
        One for each model but the first.
    """

    probe: str
    variant: str = ""
    models: list[str]
    headlines: list[Measurement | None]
    changes: list[ModelChanges]


class ProbeComparisons(Frozen):
    """Several probes of the same models."""

    probes: list[ProbeComparison]

    def __getitem__(self, probe: str) -> ProbeComparison:
        """What `probe` found."""
        for each in self.probes:
            if each.probe == probe:
                return each
        raise KeyError(probe)

    def to_pandas(self) -> pd.DataFrame:
        """One row a probe, model but the first, group and number, columns `COLUMNS`."""
        import pandas as pd

        rows = []
        for each in self.probes:
            for model in each.changes:
                for c in model.changes:
                    ends = (c.interval.low, c.interval.high) if c.interval else (None, None)
                    head = (each.probe, each.variant, model.name, c.group, c.what, c.n)
                    rows.append((*head, c.first, c.second, c.difference, *ends, c.p_value, c.adjusted_p, c.up, c.down))
        return pd.DataFrame(rows, columns=COLUMNS)
