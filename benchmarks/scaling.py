"""How do time and memory grow with rows, length and processes?

``python benchmarks/scaling.py [--only rows|length|processes]``. *Rows*: a CSV of ``--rows`` short texts and of 10 and 100 times
as many, one epoch each, in processes of their own: memory should stay, seconds a row too. *Length*: reviews cut at 64 to 512
tokens, in turn. *Processes*: one and two on this machine (two share the cores: a check, not a gain), where ``--on torchrun:2``
exists.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import importlib.util
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import blocks
import workload
from blocks import Turns, peak_memory
from workload import Work

blocks.settle()

FACTORS = (1, 10, 100)
LENGTHS = (64, 128, 256, 512)
HELD_OUT = 200


def one_epoch(work: Work, turns: Turns) -> None:
    """A child: a whole run of ours on a file, with the seconds of its parts."""
    import peers

    folder = Path(work.folder)
    began, started, ended, examples, tokens = time.perf_counter(), 0.0, 0.0, 0, 0
    fields = {"train": str(folder / f"{work.rows}.csv"), "eval": str(folder / "held_out.csv"), "text": "text", "label": "label"}
    for event in peers.events_of_ours(dataclasses.replace(work, rows=HELD_OUT), **fields):
        if event.type == "Started":
            started = time.perf_counter()
        elif event.type == "StepEnded":
            examples, tokens, ended = examples + event.examples, tokens + event.tokens, time.perf_counter()
    turns.tell(
        rows=examples,
        tokens=tokens,
        set_up_seconds=started - began,
        train_seconds=ended - started,
        peak_memory_bytes=peak_memory(),
    )


def by_rows(asked: argparse.Namespace, folder: str) -> list[dict[str, float]]:
    """One after the other: what is asked is memory and growth, not a ratio of a few per cent."""
    work = Work("text-classification", "sst2", folder, batch=asked.batch, length=128, rows=1000)
    data = workload.read(work)
    workload.prepare(work, data)
    _write(Path(folder) / "held_out.csv", data.held_out[:HELD_OUT])
    found = []
    for factor in FACTORS[: asked.factors]:
        rows = asked.rows * factor
        _write(Path(folder) / f"{rows}.csv", list(itertools.islice(itertools.cycle(data.train), rows)))
        peer = blocks.start("one-epoch", dataclasses.replace(work, rows=rows).to_json(), "scaling.py")
        peer.end()
        if not peer.facts:
            raise RuntimeError(f"the run on {rows} rows failed")
        found.append(peer.facts)
        print(f"{rows} rows: {peer.facts}", flush=True)
    return found


def _write(path: Path, rows: list[tuple[Any, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def by_length(asked: argparse.Namespace, folder: str) -> list[dict[str, float]]:
    import flops
    import transformers

    from fm_notebook.engine.flops import cost_of

    peaks = flops.gemm_peaks()
    base = Work(
        "text-classification", "imdb", folder, batch=asked.batch, block=2, epochs=50.0, bf16=peaks["bf16"] > peaks["fp32"]
    )
    data = workload.read(base)
    cost = cost_of(workload.prepare(base, data))
    tokenizer = transformers.AutoTokenizer.from_pretrained(base.model)
    works = [dataclasses.replace(base, length=length) for length in LENGTHS]
    peers = [blocks.start("ours", work.to_json()) for work in works]
    blocks.interleave(peers, asked.rounds)
    found = []
    for work, peer in zip(works, peers, strict=True):
        tokens, squares = workload.lengths(workload.tokenized(work, data.train, data.names, tokenizer))
        rates = peer.rates()
        useful = cost.training(1.0, squares / tokens) * rates["tokens_per_second"]
        more = {"mean_tokens": tokens / len(data.train), "useful_flops_per_second": useful}
        found.append({"length": work.length, **rates, **more, "share_of_bf16_peak": useful / peaks["bf16"]})
    return found


def by_processes(asked: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Examples a second of a run's later half, from its journal: as a user has it, launcher and all."""
    if importlib.util.find_spec("fm_notebook.worker.together") is None:
        return {"skipped": "there is no launcher for several processes"}
    import peers

    work = Work("text-classification", "sst2", folder, batch=asked.batch, rows=2000, held_out_rows=HELD_OUT)
    workload.prepare(work, workload.read(work))
    os.environ |= {
        "FM_NOTEBOOK_RUNS": f"{folder}/runs", "FM_NOTEBOOK_STATE": f"{folder}/state", "FM_NOTEBOOK_IDLE_SECONDS": "5",
        "FM_NOTEBOOK_WARM": "0",
    }  # fmt: skip
    from fm_notebook import verbs
    from fm_notebook.contracts.events import StepEnded
    from fm_notebook.jobs import journal

    given = {
        "model": str(work.model), **peers.our_rows(work), "batch_size": work.batch, "max_length": work.length,
        "max_steps": 8 * asked.rounds, "device": "cpu",
    }  # fmt: skip
    found = {}
    for name, on in (("one", "process"), ("two", "torchrun:2")):
        run = verbs.finetune(name, on=on, **given)  # type: ignore[arg-type]
        steps = [event for event in journal.replay(run.job.jobfolder.events) if isinstance(event, StepEnded)]
        half = steps[len(steps) // 2 :]
        rate = sum(e.examples for e in half) / sum(e.seconds for e in half)
        found[name] = {"examples_per_second": rate, "losses": [e.loss for e in steps]}
    return found


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] == "one-epoch":
        one_epoch(workload.load_work(sys.argv[2]), Turns(0))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["rows", "length", "processes"])
    parser.add_argument("--rows", type=int, default=200, help="rows of the smallest file")
    parser.add_argument("--factors", type=int, default=3, help="how many of 1, 10, 100")
    parser.add_argument("--rounds", type=int, default=8, help="measured blocks of each length")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    report: dict[str, Any] = {"machine": blocks.machine()}
    for name, measure in {"rows": by_rows, "length": by_length, "processes": by_processes}.items():
        if asked.only in {None, name}:
            with tempfile.TemporaryDirectory(prefix="fm_notebook-scaling-") as folder:
                report[name] = measure(asked, folder)
    print(table(report))
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1))


def table(report: dict[str, Any]) -> str:
    lines = []
    if "rows" in report:
        lines += ["| rows | set-up, s | training, s | ms a row | peak memory, MB |", "|---|---|---|---|---|"]
        for r in report["rows"]:
            lines.append(
                f"| {r['rows']} | {r['set_up_seconds']:.1f} | {r['train_seconds']:.1f} "
                f"| {1e3 * r['train_seconds'] / r['rows']:.1f} | {r['peak_memory_bytes'] / 1e6:.0f} |"
            )
    if "length" in report:
        lines += [
            "",
            "| longest | mean tokens | examples/s | real tokens/s | of bf16 peak | peak memory, MB |",
            "|---|---|---|---|---|---|",
        ]
        for r in report["length"]:
            lines.append(
                f"| {r['length']} | {r['mean_tokens']:.0f} | {r['examples_per_second']:.1f} | {r['tokens_per_second']:.0f} "
                f"| {r['share_of_bf16_peak']:.1%} | {r['peak_memory_bytes'] / 1e6:.0f} |"
            )
    if two := report.get("processes"):
        lines += ["", two.get("skipped") or _of_two(two)]
    return "\n".join(lines)


def _of_two(found: dict[str, Any]) -> str:
    one, two = (found[name]["examples_per_second"] for name in ("one", "two"))
    apart = max(abs(a - b) for a, b in zip(found["one"]["losses"], found["two"]["losses"], strict=False))
    return f"1 process {one:.1f}, 2 processes {two:.1f} examples/s; losses at most {apart:.1e} apart (dropout on)"


if __name__ == "__main__":
    main()
