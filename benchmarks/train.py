"""How fast does it train, beside its peers, on the same work?

``python benchmarks/train.py --data sst2 --batch 16|64``, ``--data imdb --length 256``, ``--task token-classification|fill-mask|
text-generation``. Peers (see `peers`) run interleaved by blocks of steps; figures are medians over blocks, the first block of
each is warm-up and counted apart. How well they train: `parity`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import blocks
import workload
from workload import Work

blocks.settle()

DATA_OF = {"text-classification": "sst2", "token-classification": "wnut17", "fill-mask": "sst2", "text-generation": "sst2"}
LENGTH_OF = {"imdb": 256}


def main() -> None:
    asked = arguments()
    with tempfile.TemporaryDirectory(prefix="fm_notebook-train-") as folder:
        report = run(asked, folder)
    print(table(report))
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=[*workload.HEADS], default="text-classification")
    parser.add_argument("--data", choices=[*workload.DATA])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, help="most tokens of a text; 256 for imdb, else 128")
    parser.add_argument("--full", action="store_true", help="train all weights of a causal model, not LoRA of rank 8")
    parser.add_argument("--peers", nargs="+", default=["ours", "ours-grouped", "trainer", "trainer-tuned", "tutorial"])
    parser.add_argument("--rounds", type=int, default=12, help="measured blocks of each peer")
    parser.add_argument("--block", type=int, default=8, help="steps of a block")
    parser.add_argument("--rows", type=int, help="training rows; default all")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    asked.data = asked.data or DATA_OF[asked.task]
    asked.length = asked.length or LENGTH_OF.get(asked.data, 128)
    return asked


def run(asked: argparse.Namespace, folder: str) -> dict[str, Any]:
    import flops
    import transformers

    from fm_notebook.engine.flops import cost_of

    peaks = flops.gemm_peaks()
    lora = asked.task == "text-generation" and not asked.full
    work = Work(
        task=asked.task, data=asked.data, folder=folder, batch=asked.batch, length=asked.length, rows=asked.rows,
        bf16=peaks["bf16"] > peaks["fp32"], lora=lora, learning_rate=2e-4 if lora else 5e-5, block=asked.block,
    )  # fmt: skip
    rows = workload.read(work)
    cost = dataclasses.replace(cost_of(workload.prepare(work, rows)), weights_trained=not lora)
    tokenizer = transformers.AutoTokenizer.from_pretrained(work.model)
    tokens, squares = workload.lengths(workload.tokenized(work, rows.train, rows.names, tokenizer))
    about = {
        "work": work.to_json() | {"folder": ""}, "rows": len(rows.train), "mean_tokens": tokens / len(rows.train),
        "gemm_peaks": peaks, "cost": dataclasses.asdict(cost), "machine": blocks.machine(),
    }  # fmt: skip
    # enough epochs for all turns: a schedule that is too long changes no time
    steps = (asked.rounds + 2) * asked.block
    work = dataclasses.replace(work, epochs=float(-(-steps * asked.batch // len(rows.train)) + 1))
    peers = [blocks.start(name, work.to_json()) for name in asked.peers]
    blocks.interleave(peers, asked.rounds)
    peaks.update({name: max(peaks[name], again) for name, again in flops.gemm_peaks().items()})  # a neighbour only lowers it
    found = {}
    for peer in peers:
        rates = peer.rates()
        useful = cost.training(1.0, squares / tokens) * rates["tokens_per_second"]
        shares = {f"share_of_{name}_peak": useful / peak for name, peak in peaks.items()}
        found[peer.name] = rates | {"useful_flops_per_second": useful} | shares
    return about | {"peers": found}


def table(report: dict[str, Any]) -> str:
    peers, peaks = report["peers"], report["gemm_peaks"]
    default, tuned = (peers.get(name, {}).get("tokens_per_second") for name in ("trainer", "trainer-tuned"))
    heads = [
        "peer",
        "examples/s",
        "real tokens/s",
        "x Trainer",
        "x tuned",
        "useful GFLOP/s",
        "of bf16 peak",
        "memory, MB",
        "warm-up, s",
    ]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, r in peers.items():
        ratios = [f"{r['tokens_per_second'] / base:.2f}" if base else "–" for base in (default, tuned)]
        lines.append(
            f"| {name} | {r['examples_per_second']:.1f} | {r['tokens_per_second']:.0f} | {' | '.join(ratios)} "
            f"| {r['useful_flops_per_second'] / 1e9:.0f} | {r['share_of_bf16_peak']:.1%} "
            f"| {r['peak_memory_bytes'] / 1e6:.0f} | {r['warm_up_seconds']:.1f} |"
        )
    peak = ", ".join(f"{name} {value / 1e9:.0f}" for name, value in peaks.items())
    return "\n".join([*lines, f"GEMM peak, GFLOP/s: {peak}. Ratios are of real tokens/s."])


if __name__ == "__main__":
    main()
