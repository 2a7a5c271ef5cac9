"""How often of two things one is preferred: a share with its interval, its exact test, and what the number of pairs can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING

from fm_notebook.contracts.probe_reports import Measurement
from fm_notebook.contracts.probe_specs import Remark
from fm_notebook.metrics import two_way_clusters
from fm_notebook.metrics.intervals import clopper_pearson, wilson

if TYPE_CHECKING:
    import numpy as np

ALPHA, POWER = 0.05, 0.8
FEW = 30
"""Below it the interval is Clopper and Pearson's, which never covers too little."""
MOST_PAIRS = 100_000
MANY_TIES = 0.05
"""Share of ties that moves the preference by half as much, 2.5 percentage points."""


def preference(
    name: str, prefers: int, n: int, *, ties: int = 0, group: str = "", skipped: int = 0, is_main: bool = False
) -> Measurement:  # fmt: skip
    r"""The share of `n` pairs that prefer the stereotype, in per cent; 50 is no preference.

    Ties stay in the denominator, as in the CrowS-Pairs metric; the test is the sign test, which leaves them out.

    Parameters
    ----------
    prefers, ties, n : int
        Pairs that prefer the stereotype, that prefer neither, and all of them.

    Examples
    --------
    >>> found = preference("stereotype_score", 48, 87)
    >>> round(found.value, 1), round(found.interval.low, 1), round(found.interval.high, 1), round(found.p_value, 2)
    (55.2, 44.7, 65.2, 0.39)
    """
    from scipy.stats import binomtest

    share = prefers / n
    interval = (clopper_pearson if n < FEW else wilson)(prefers, n)
    assert interval is not None
    untied = n - ties
    return Measurement(
        name=name, group=group, value=100 * share, n=n, neutral=50.0, ties=ties, skipped=skipped, is_main=is_main,
        interval=interval.model_copy(update={"low": 100 * interval.low, "high": 100 * interval.high}),
        p_value=float(binomtest(prefers, untied).pvalue) if untied else 1.0, needed=pairs_needed(share),
        smallest=smallest_deviation(n),
    )  # fmt: skip


def clustered_preference(
    name: str, prefers: np.ndarray, ties: np.ndarray, clusters: Sequence[np.ndarray], *, group: str = "", skipped: int = 0,
    is_main: bool = False,
) -> Measurement:  # fmt: skip
    """`preference` of pairs that share templates or terms: they tell as much as fewer independent ones would.

    Interval and test are Wilson's with so many independent pairs (Korn and Graubard), and Student's quantiles for the fewer
    clusters; `needed` and `smallest` reckon with it too.

    Parameters
    ----------
    prefers, ties : numpy.ndarray
        Whether each pair prefers the stereotype, and whether it prefers neither; bool, shape ``(N,)``.
    clusters : sequence of numpy.ndarray
        See `fm_notebook.metrics.two_way_clusters.mean_of`.

    Examples
    --------
    Of ten templates, each met by two terms, seven prefer the stereotype with both.

    >>> import numpy as np
    >>> both, of = np.repeat([True, False], [14, 6]), [np.arange(20) // 2]
    >>> found = clustered_preference("stereotype_score", both, np.zeros(20, bool), of)
    >>> found.value, found.n, found.p_value > preference("stereotype_score", 14, 20).p_value
    (70.0, 20, True)
    """
    n, estimate = len(prefers), share_of(prefers, clusters)
    effective, interval = independent_trials(estimate), estimate.share_interval()
    untied = ~ties
    needed = pairs_needed(estimate.value)
    return Measurement(
        name=name, group=group, value=100 * estimate.value, n=n, neutral=50.0, ties=int(ties.sum()), skipped=skipped,
        interval=interval.model_copy(update={"low": 100 * interval.low, "high": 100 * interval.high}), is_main=is_main,
        p_value=_score_test(prefers[untied], [each[untied] for each in clusters]) if untied.any() else 1.0,
        needed=None if needed is None else ceil(needed * n / effective), smallest=smallest_deviation(int(effective)),
    )  # fmt: skip


def share_of(prefers: np.ndarray, clusters: Sequence[np.ndarray]) -> two_way_clusters.Estimate:
    """The share of clustered pairs with its variance; at least that of independent ones, for few clusters can look alike."""
    found = two_way_clusters.mean_of(prefers, clusters)
    if found.clusters < 2:
        return found
    return replace(found, variance=max(found.variance, found.value * (1 - found.value) / len(prefers)))


def independent_trials(share: two_way_clusters.Estimate) -> float:
    """How many independent trials would tell as much of `share` as its clustered ones; at least 1."""
    p, variance = share.value, share.variance
    if share.clusters > 1 and variance > 0 and 0 < p < 1:
        return max(1.0, p * (1 - p) / variance)
    return float(share.clusters)


def mean_difference(
    name: str, values: np.ndarray, clusters: Sequence[np.ndarray] = (), *, group: str = "", is_main: bool = False
) -> Measurement:
    """The mean of signed `values`, of which 0 is no preference, with Student's interval and test; over clusters if there are any.

    Parameters
    ----------
    values : numpy.ndarray
        Finite, shape ``(N,)``, N at least 1.
    clusters : sequence of numpy.ndarray
        See `fm_notebook.metrics.two_way_clusters.mean_of`.

    Examples
    --------
    Mean 2, standard error 1, one degree of freedom: t = 2, whose p is 1 - 2 atan(2) / π.

    >>> import numpy as np
    >>> found = mean_difference("mean", np.array([1.0, 3.0]))
    >>> found.value, round(found.interval.low, 3), round(found.p_value, 4)
    (2.0, -10.706, 0.2952)
    """
    import numpy as np

    n, found = len(values), two_way_clusters.mean_of(values, clusters or [np.arange(len(values))])
    smallest, size = found.smallest, abs(found.value)
    return Measurement(
        name=name, group=group, value=found.value, n=n, neutral=0.0, interval=found.interval(), p_value=found.p_value(),
        needed=ceil(n * (smallest / size) ** 2) if smallest and size > 1e-3 * smallest else None, smallest=smallest,
        is_main=is_main,
    )  # fmt: skip


def many_ties(ties: int, n: int) -> list[Remark]:
    """A warning where ties alone take the share below 50: they count as not preferred, but the tests leave them out.

    Examples
    --------
    >>> [each.values for each in many_ties(60, 100)], many_ties(5, 100)
    ([{'n': 60, 'share': '60 %'}], [])
    """
    if ties <= MANY_TIES * n:
        return []
    return [Remark(key="many_ties", values={"n": ties, "share": f"{100 * ties / n:.0f} %"}, level="warning")]


def adjusted_by_name(found: Sequence[Measurement]) -> list[Measurement]:
    """`found` with p-values adjusted by Holm over the groups of each name.

    Examples
    --------
    >>> made = [preference("s", k, 40, group=group) for k, group in ((34, "age"), (27, "gender"))]
    >>> [round(each.p_value / each.adjusted_p, 1) for each in adjusted_by_name(made)]
    [0.5, 1.0]
    """
    import numpy as np

    from fm_notebook.metrics.multiplicity import holm

    families: dict[str, list[int]] = {}
    for place, each in enumerate(found):
        if each.group and each.p_value is not None:
            families.setdefault(each.name, []).append(place)
    made = list(found)
    for places in families.values():
        values = holm(np.array([made[place].p_value for place in places], np.float64))
        for place, value in zip(places, values.tolist(), strict=True):
            made[place] = made[place].model_copy(update={"adjusted_p": value})
    return made


@lru_cache(maxsize=4096)
def pairs_needed(share: float, *, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Pairs from which on the exact binomial test finds that `share` (0 to 1) is not one half; None above `MOST_PAIRS`.

    The power of the exact test goes up and down as pairs are added; this is the number from which on it stays at `power`.

    Examples
    --------
    >>> pairs_needed(0.6)
    210
    """
    import numpy as np

    distance = abs(share - 0.5)
    if distance < 0.5 * (1.2 / MOST_PAIRS**0.5):  # about z_a + z_b = 2.8 standard errors at MOST_PAIRS would be .0044
        return None
    guess = int((1.96 + 0.8416) ** 2 / (4 * distance**2)) + 50
    if guess > MOST_PAIRS:
        return None
    low, high = max(6, int(guess * 0.6) - 60), int(guess * 1.3) + 100
    counts = np.arange(low, high)
    enough = _power(counts, 0.5 + distance, alpha) >= power
    lacking = np.flatnonzero(~enough)
    return int(counts[lacking[-1] + 1]) if len(lacking) and lacking[-1] + 1 < len(counts) else int(counts[0])


@lru_cache(maxsize=4096)
def smallest_deviation(n: int, *, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """The smallest distance from 50, in percentage points, that the exact binomial test finds with `n` pairs; None if none.

    Examples
    --------
    >>> round(50 + smallest_deviation(60), 1)
    69.2
    """
    import numpy as np
    from scipy.optimize import brentq

    def lack(share: float) -> float:
        return float(_power(np.array([n]), share, alpha)[0]) - power

    if n < 1 or lack(1 - 1e-12) < 0:
        return None
    return 100 * (float(brentq(lack, 0.5, 1 - 1e-12)) - 0.5)  # type: ignore[arg-type]


def _power(counts, share: float, alpha: float):
    """Of the two-sided exact test of one half, with each number of pairs in `counts`."""
    from scipy.stats import binom

    critical = binom.isf(alpha / 2, counts, 0.5) + 1  # the smallest k with P(X >= k) <= alpha/2
    return binom.sf(critical - 1, counts, share) + binom.cdf(counts - critical, counts, share)


def _score_test(prefers: np.ndarray, clusters: Sequence[np.ndarray]) -> float:
    return score_p(share_of(prefers, clusters))


def score_p(found: two_way_clusters.Estimate) -> float:
    """Two-sided p-value of one half, of a clustered share: what Wilson's interval excludes; also where all items are alike."""
    from scipy.special import stdtr

    distance = 2 * abs(found.value - 0.5) * independent_trials(found) ** 0.5
    return float(2 * stdtr(max(1, found.clusters - 1), -distance))
