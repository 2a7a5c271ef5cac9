"""Whether probabilities mean what they say, and how rows are ranked by them: bins, curves, a temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fm_notebook.contracts.scores import Interval, Score
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import pandas as pd


class ReliabilityBin(Frozen):
    """Rows whose score lies in ``(low, high]`` (the first bin holds 0): their number, mean score, and how often it came true.

    Bins without rows have a `mean_score` and `rate` of None.
    """

    low: float
    high: float
    n: int
    mean_score: float | None
    rate: float | None
    interval: Interval | None


class Calibration(Frozen):
    """Calibration of a score: the probability of `positive`, or, where that is None, of whichever label was most probable.

    Attributes
    ----------
    ece : Score
        Expected calibration error over bins of equal width.
    ece_if_calibrated : float
        What it would be expected to come to if the scores were right, from chance alone: more for fewer rows.
    brier : Score
        Mean squared error of the probabilities: of `positive` from 0 to 1, else summed over all labels, from 0 to 2.
    in_the_large : Score
        Mean score less the share that came true: above 0 for too sure.
    bins : list of ReliabilityBin
        The reliability curve.
    """

    positive: str | None
    n: int
    ece: Score
    ece_if_calibrated: float
    brier: Score
    in_the_large: Score
    bins: list[ReliabilityBin]
    level: float = 0.95
    seed: int = 0

    def to_pandas(self) -> pd.DataFrame:
        """One row a bin: ``low``, ``high``, ``n``, ``mean_score``, ``rate``, ``rate_low``, ``rate_high``."""
        import pandas as pd

        rows = [
            (b.low, b.high, b.n, b.mean_score, b.rate, *((b.interval.low, b.interval.high) if b.interval else (None, None)))
            for b in self.bins
        ]
        return pd.DataFrame(rows, columns=["low", "high", "n", "mean_score", "rate", "rate_low", "rate_high"])


class Temperature(Frozen):
    """The number by which logits are best divided, and the mean loss in nats before and after.

    Above 1 where the model was too sure. `at_bound`: the least loss lies at the end of what was searched, as with rows that
    are all right, where colder is always better; then the temperature means nothing, and there is no interval.
    """

    temperature: float
    interval: Interval | None = None
    loss_before: float
    loss_after: float
    n: int
    at_bound: bool = False


class Curve(Frozen):
    """Points of an ROC (``x`` FPR, ``y`` TPR) or precision-recall curve (``x`` recall, ``y`` precision), and what it sums to.

    `thresholds` are the least scores that count as positive; `area` is AUC or average precision. `label` is the one held
    positive, all others together being negative, and `base_rate` its share of the rows: the precision of chance.
    """

    kind: Literal["roc", "precision-recall"]
    label: str = ""
    base_rate: float | None = None
    x: list[float]
    y: list[float]
    thresholds: list[float]
    area: Score

    def to_pandas(self) -> pd.DataFrame:
        """One row a point: ``x``, ``y`` and ``threshold``."""
        import pandas as pd

        return pd.DataFrame({"x": self.x, "y": self.y, "threshold": self.thresholds})
