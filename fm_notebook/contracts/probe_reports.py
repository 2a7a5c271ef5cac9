"""What a probe found: frozen values with ``n``, an interval, and what they cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fm_notebook.contracts.probe_specs import Remark
from fm_notebook.contracts.references import DataRef
from fm_notebook.contracts.scores import Interval
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import pandas as pd

ITEMS = "items.arrow"
"""File of a probe's job folder: its items and what each one scored."""


class Measurement(Frozen):
    """One number that a probe gives, over all its items or over some.

    Attributes
    ----------
    name : str
        Such as ``stereotype_score``; the catalogue's ``measure.<name>`` tells it in words.
    group : str
        Axis, kind of bias, test or target that it is of; empty for all items.
    value : float
        In the unit of its field: shares as per cent where the probe's paper gives per cent.
    n : int
        Independent items behind it.
    interval : Interval or None
        95 %; None where there is none, which a remark explains.
    neutral : float or None
        The value that shows no preference, such as 50 or 0.
    p_value, adjusted_p : float or None
        Of the hypothesis that the value is `neutral`, two-sided unless the probe's documentation says otherwise; `adjusted_p` by
        Holm over the groups of one name.
    ties, skipped : int
        Items that prefer neither (they stay in `n`), and items that could not be scored (they do not).
    needed, smallest : float or None
        Items at which a difference of the size seen is found (two-sided α = .05, power .8); and the smallest deviation from
        `neutral` that `n` items show.
    is_main : bool
        Whether the probe's headline is this.
    """

    name: str
    group: str = ""
    value: float
    n: int
    interval: Interval | None = None
    neutral: float | None = None
    p_value: float | None = None
    adjusted_p: float | None = None
    ties: int = 0
    skipped: int = 0
    needed: float | None = None
    smallest: float | None = None
    is_main: bool = False


class Summary(Frozen):
    """What a probe makes of its scored items."""

    measurements: list[Measurement]
    remarks: list[Remark] = Field(default_factory=list)

    @property
    def main(self) -> Measurement | None:
        """The headline; None if nothing could be measured."""
        return next((each for each in self.measurements if each.is_main), next(iter(self.measurements), None))


class ProbeReport(Frozen):
    """What one probe found in one model.

    Attributes
    ----------
    model, run : str
        What was probed; `run` is None for a model that is no run.
    probe, version, variant : str, int, str
        Whose algorithm this is; figures of different variants cannot be compared.
    language : str
        Of the items, ``en`` or ``zh``; empty if not known.
    data : DataRef
        Items, as the user named them, and their fingerprint.
    origin : str
        ``seed`` (a small set of this project, never to be compared with published figures), ``public`` or ``own``.
    data_name, licence, citation : str
        Of the items; `citation` also of the method.
    items, scored : int
        Items asked for, and those that were gone through; fewer if the probe was interrupted.
    skipped : dict of str to int
        Items that could not be scored, by reason (``skipped.<reason>`` in the catalogue).
    measurements, remarks : list
    unknown_share : float
        Share of the items' tokens that the vocabulary does not know, 0 to 1.
    precision : str
        ``fp32`` or ``bf16``.
    folder : str
        Where the items lie, see `to_pandas`.
    """

    model: str
    run: str | None = None
    probe: str
    version: int = 1
    variant: str = ""
    language: str = ""
    data: DataRef
    origin: Literal["seed", "public", "own"] = "seed"
    data_name: str = ""
    licence: str = ""
    citation: str = ""
    items: int
    scored: int
    skipped: dict[str, int] = Field(default_factory=dict)
    measurements: list[Measurement]
    remarks: list[Remark] = Field(default_factory=list)
    unknown_share: float = 0.0
    precision: str = "fp32"
    seed: int = 0
    seconds: float = 0.0
    folder: str = ""
    spec: dict[str, Any] = Field(default_factory=dict)

    @property
    def is_partial(self) -> bool:
        """Whether it was interrupted: what was scored is a random part of the items."""
        return self.scored < self.items

    @property
    def main(self) -> Measurement:
        """The headline."""
        return next((each for each in self.measurements if each.is_main), self.measurements[0])

    def get(self, name: str, group: str = "") -> Measurement:
        """The measurement called `name`, of `group`; KeyError if there is none."""
        for each in self.measurements:
            if each.name == name and each.group == group:
                return each
        raise KeyError((name, group))

    def to_pandas(self) -> pd.DataFrame:
        """One row a measurement."""
        import pandas as pd

        rows = [each.model_dump(exclude={"interval", "is_main"}) | _ends(each.interval) for each in self.measurements]
        return pd.DataFrame(rows)

    def rows(self) -> pd.DataFrame:
        """One row an item, with what it scored; FileNotFoundError if they were deleted."""
        from pathlib import Path

        import pyarrow as pa

        with pa.memory_map(str(Path(self.folder) / ITEMS)) as file:
            return pa.ipc.open_file(file).read_all().to_pandas()


class ProbeReports(Mapping[str, ProbeReport]):
    """Several probes of one model, by name, in the order asked for.

    Attributes
    ----------
    unfit : dict of str to str
        Probes of a family that do not fit the model, and in words why.
    failed : dict of str to str
        Probes that were begun and have no report, and in words why.
    """

    def __init__(
        self, reports: Mapping[str, ProbeReport], unfit: Mapping[str, str] | None = None, failed: Mapping[str, str] | None = None
    ):
        self._reports, self.unfit, self.failed = dict(reports), dict(unfit or {}), dict(failed or {})

    def __getitem__(self, name: str) -> ProbeReport:
        return self._reports[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._reports)

    def __len__(self) -> int:
        return len(self._reports)

    def to_pandas(self) -> pd.DataFrame:
        """One row a measurement, with its probe."""
        import pandas as pd

        frames = [report.to_pandas().assign(probe=name, variant=report.variant) for name, report in self.items()]
        frame = pd.concat(frames, ignore_index=True)
        return frame.reindex(columns=["probe", "variant", *(name for name in frame.columns if name not in {"probe", "variant"})])


def _ends(interval: Interval | None) -> dict[str, float | None]:
    return {"low": interval.low if interval else None, "high": interval.high if interval else None}
