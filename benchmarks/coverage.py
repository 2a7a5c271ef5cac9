"""Do the intervals cover what they say, and does the test over all groups reject where there is nothing?

    python benchmarks/coverage.py [--repeats 1000] [--json out.json] [--only rates|differences|bootstraps|temperatures|omnibus]

Data is drawn again and again from models whose true scores are known; labels are drawn too, so that the rows of a class vary.
Closed-form intervals and permutations of rates are repeated ten times as often, as they cost next to nothing. Prints one
markdown table a question; cells outside of 93 to 97 % (Clopper-Pearson: below 94 %; rejections: outside of 3 to 7 %) are bold.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from fm_notebook.contracts.results import Interval
from fm_notebook.metrics import permutations
from fm_notebook.metrics.auc import auc_score
from fm_notebook.metrics.calibration import bin_of, ece
from fm_notebook.metrics.groups import present_macro_f1
from fm_notebook.metrics.intervals import clopper_pearson, mover, newcombe, wilson
from fm_notebook.metrics.pairs import compare
from fm_notebook.metrics.permutations import auc_by_group, ece_by_group, macro_f1_by_group, p_value, rate_ranges, score_ranges
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.row_sums import RowSums, blocks_of
from fm_notebook.metrics.temperature import temperature

SIZES, SHARES = (50, 200, 1000), (0.1, 0.5, 0.9)
TPR, FPR, SHIFT = 0.8, 0.2, 1.0
GROUPS = 4


@dataclass(frozen=True)
class Found:
    """Share (0 to 1) of `repeats` in which an interval of `what` held the truth, or a test of it rejected."""

    question: str
    what: str
    n: int
    p: float
    share: float
    repeats: int
    low: float
    high: float

    @property
    def as_it_should(self) -> bool:
        return self.low <= round(self.share, 4) <= self.high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=sorted(QUESTIONS))
    given = parser.parse_args()
    found = []
    for name in [given.only] if given.only else QUESTIONS:
        part = list(QUESTIONS[name](given.repeats))
        print(table(part), flush=True)
        found += part
    if given.json:
        given.json.write_text(json.dumps([asdict(each) for each in found], indent=1))


def table(found: list[Found]) -> str:
    """Markdown: a row a method, a column for each n and p."""
    columns = [(n, p) for n in SIZES for p in SHARES]
    lines = ["| | " + " | ".join(f"n {n}, p {p:g}" for n, p in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for what in dict.fromkeys(each.what for each in found):
        cells = {(each.n, each.p): each for each in found if each.what == what}
        shown = [cells.get(at) for at in columns]
        lines.append(f"| {what} | " + " | ".join("" if each is None else cell(each) for each in shown) + " |")
    return "\n".join(lines) + "\n"


def cell(found: Found) -> str:
    text = f"{100 * found.share:.1f}"
    return text if found.as_it_should else f"**{text}**"


# --- intervals in closed form --------------------------------------------------------------------------------------------


def rates(repeats: int) -> Iterator[Found]:
    for method, least, most in ((wilson, 0.93, 0.97), (clopper_pearson, 0.94, 1.0)):
        of = cache(method)
        for n in SIZES:
            for p in SHARES:
                hits = np.random.default_rng(n).binomial(n, p, 10 * repeats).tolist()
                share = np.mean([holds(of(k, n), p) for k in hits])
                yield Found("rates", method.__name__, n, p, float(share), 10 * repeats, least, most)


def differences(repeats: int) -> Iterator[Found]:
    for name, step, ratio in (("no difference", 0.0, 1), ("of .1", 0.1, 1), ("of .1, second group a quarter", 0.1, 4)):
        for n in SIZES:
            for p in SHARES:
                other, m, rng = p + step if p < 0.6 else p - step, n // ratio, np.random.default_rng(n)
                pairs = zip(rng.binomial(n, p, 10 * repeats).tolist(), rng.binomial(m, other, 10 * repeats).tolist(), strict=True)
                of = cache(lambda k, j, n=n, m=m: newcombe((k, n), (j, m)))
                share = np.mean([holds(of(k, j), p - other) for k, j in pairs])
                yield Found("differences", f"newcombe, {name}", n, p, float(share), 10 * repeats, 0.93, 0.97)


# --- bootstrap intervals -------------------------------------------------------------------------------------------------


def bootstraps(repeats: int) -> Iterator[Found]:
    trials: list[Callable[[np.random.Generator, int, float], Iterator[tuple[str, bool]]]] = [macro_f1, auc, paired_scores, eces]
    for trial in trials:
        for n in SIZES:
            for p in SHARES:
                rng, held = np.random.default_rng([n, int(10 * p)]), defaultdict(list)
                for _ in range(repeats):
                    for what, right in trial(rng, n, p):
                        held[what].append(right)
                for what, each in held.items():
                    yield Found("bootstraps", what, n, p, float(np.mean(each)), len(each), 0.93, 0.97)


def macro_f1(rng: np.random.Generator, n: int, p: float) -> Iterator[tuple[str, bool]]:
    truth = rng.random(n) < p
    given = rng.random(n) < np.where(truth, TPR, FPR)
    yes, no = 2 * p * TPR / (p + p * TPR + (1 - p) * FPR), 2 * (1 - p) * (1 - FPR) / (2 - p - p * TPR - (1 - p) * FPR)
    found = present_macro_f1(truth.astype(int), given.astype(int), seed=seed_of(rng))
    yield "macro F1", holds(found.interval, (yes + no) / 2)


def auc(rng: np.random.Generator, n: int, p: float) -> Iterator[tuple[str, bool]]:
    """Of two groups; a draw without positive rows says nothing."""
    drawn = [binormal(rng, n, p) for _ in range(2)]
    one, other = (auc_score("auc", scores, truth) for truth, scores in drawn)
    if one and other and one.interval and other.interval:
        yield "AUC", holds(one.interval, NormalDist().cdf(SHIFT / 2**0.5))
        yield "AUC, gap of two groups", holds(mover(one.value, one.interval, other.value, other.interval), 0.0)


def paired_scores(rng: np.random.Generator, n: int, p: float) -> Iterator[tuple[str, bool]]:
    """Two models with a row's difficulty in common and a noise of their own; the second is the noisier one."""
    first, second = paired(rng, n, p)
    if min(first.is_positive.sum(), (~first.is_positive).sum()) < 2:
        return
    found = compare(first, second, seed=seed_of(rng)).overall
    for change in (found.get(name) for name in ("accuracy", "macro_f1", "auc", "loss", "ece")):
        if change is not None:
            yield f"{change.name}, paired difference", holds(change.interval, paired_truth(p)[change.name])


def eces(rng: np.random.Generator, n: int, p: float) -> Iterator[tuple[str, bool]]:
    """Rows come true as often as a calibrated model says; the model's logits are so many times that model's."""
    for what, sharpness in (("ece, calibrated model", 1.0), ("ece, overconfident model", 2.0)):
        said, true = graded(rng, n, p, sharpness)
        yield what, holds(ece(said, rng.random(n) < true, seed=seed_of(rng)).interval, ece_truth(p, sharpness))


def paired(rng: np.random.Generator, n: int, p: float) -> tuple[Predictions, Predictions]:
    truth = rng.random(n) < p
    shared = 2 * truth - 1 + rng.normal(size=n)
    return tuple(predictions(truth, shared + noise * rng.normal(size=n)) for noise in (0.3, 1.0))  # pyright: ignore[reportReturnType]


@cache
def paired_truth(p: float) -> dict[str, float]:
    first, second = paired(np.random.default_rng(0), 1_000_000, p)
    blocks = blocks_of(len(first), seed=0)
    one, other = (RowSums.of(each, blocks).scores() for each in (first, second))
    return {name: float(other[name] - one[name]) for name in one}


@cache
def ece_truth(p: float, sharpness: float) -> float:
    said, true = graded(np.random.default_rng(0), 2_000_000, p, sharpness)
    return float(np.abs(np.bincount(bin_of(said), said - true)).sum() / len(said))


def graded(rng: np.random.Generator, n: int, p: float, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    logits = np.log(p / (1 - p)) + 1.5 * rng.normal(size=n)
    return 1 / (1 + np.exp(-sharpness * logits)), 1 / (1 + np.exp(-logits))


def temperatures(repeats: int) -> Iterator[Found]:
    """Of a model whose logits are twice a calibrated one's; a draw whose rows are all right has none, and says nothing."""
    for n in SIZES:
        for p in SHARES:
            rng, held = np.random.default_rng([n, int(10 * p)]), []
            for _ in range(repeats):
                said, true = graded(rng, n, p, 2.0)
                fitted = temperature(np.c_[np.zeros(n), np.log(said / (1 - said))], (rng.random(n) < true).astype(int))
                held += [] if fitted.at_bound else [holds(fitted.interval, 2.0)]
            yield Found("temperatures", "temperature, overconfident model", n, p, float(np.mean(held)), len(held), 0.93, 0.97)


# --- the test over all groups --------------------------------------------------------------------------------------------


def omnibus(repeats: int) -> Iterator[Found]:
    for what, sizes in (("selection rate", np.ones(GROUPS)), ("selection rate, sizes 1 : 2 : 3 : 4", np.arange(1, 5))):
        for n in SIZES:
            for p in SHARES:
                rng, rows = np.random.default_rng(n), (n * sizes).astype(int)
                found = [rate_ranges_p(rng.binomial(rows, p), rows, at) for at in range(2 * repeats)]
                yield Found("omnibus", what, n, p, float(np.mean(np.array(found) <= 0.05)), 2 * repeats, 0.03, 0.07)
    yield from scores_omnibus(repeats)


def rate_ranges_p(hits: np.ndarray, rows: np.ndarray, seed: int) -> float:
    return p_value(float(np.ptp(hits / rows)), rate_ranges(hits, rows, seed=seed, size=999))


def scores_omnibus(repeats: int) -> Iterator[Found]:
    """Macro F1, AUC and ECE, whose rows are moved one by one; 99 permutations."""
    permutations.MOST = permutations.LEAST
    for n in SIZES:
        for p in SHARES:
            rng, found = np.random.default_rng(n), []
            for at in range(repeats):
                truth, scores = binormal(rng, n * GROUPS, p)
                found.append(scores_p(predictions(truth, scores), np.repeat(np.arange(GROUPS), n).astype(np.int16), at))
            for name in found[0]:
                each = [p_of[name] for p_of in found if name in p_of]
                yield Found("omnibus", name, n, p, float(np.mean(np.array(each) <= 0.05)), len(each), 0.03, 0.07)


def scores_p(given: Predictions, codes: np.ndarray, seed: int) -> dict[str, float]:
    everyone = np.arange(GROUPS)
    statistics = {
        "macro F1": macro_f1_by_group(given, GROUPS),
        "AUC": auc_by_group(given.probabilities[:, 1], given.is_positive, GROUPS),  # pyright: ignore[reportOptionalSubscript]
        "ECE": ece_by_group(given, GROUPS),
    }
    drawn = score_ranges({name: (of, everyone) for name, of in statistics.items()}, codes, given.truth, seed=seed)
    seen = {name: float(np.ptp(of(codes))) for name, of in statistics.items()}
    return {
        name: p_value(each, drawn[name]) for name, each in seen.items() if np.isfinite(each)
    }  # a group of one class has no AUC


# --- data ----------------------------------------------------------------------------------------------------------------


def binormal(rng: np.random.Generator, n: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.random(n) < p
    return truth, rng.normal(size=n) + SHIFT * truth


def predictions(truth: np.ndarray, logits: np.ndarray) -> Predictions:
    scores = 1 / (1 + np.exp(-logits))
    shares = np.c_[1 - scores, scores]
    return Predictions.of(truth.astype(int), (logits > 0).astype(int), ["no", "yes"], probabilities=shares, positive="yes")


def holds(interval: Interval | None, truth: float) -> bool:
    return interval is not None and interval.low - 1e-12 <= truth <= interval.high + 1e-12


def seed_of(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


QUESTIONS: dict[str, Callable[[int], Any]] = {
    "rates": rates, "differences": differences, "bootstraps": bootstraps, "temperatures": temperatures, "omnibus": omnibus,
}  # fmt: skip

if __name__ == "__main__":
    main()
