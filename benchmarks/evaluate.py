"""How fast does it score labelled texts, and are its labels those of fp32?

``python benchmarks/evaluate.py [--data sst2|imdb] [--passes N]``: passes over the held-out rows in turn, after one to warm up, by
a model that was fine-tuned on ``--train-rows`` rows first. Loading and tokenising are not counted. Labels are compared with
those of `Trainer.predict` as it comes.

==================  =========================================================================================================
``ours``            this project, in its worker's own code: from the first text to the last, texts scored again in fp32 included
``trainer``         `Trainer.predict` as it comes: batches of 8 in the rows' order, padded to the longest, fp32
``trainer-sorted``  the same at its best: sorted by length, batches of 64, bf16 weights where those multiply faster
==================  =========================================================================================================
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import blocks
import workload
from blocks import Over, Peer, Turns
from workload import Work

blocks.settle()


def ours(work: Work, turns: Turns) -> list[str]:
    """Each pass is an evaluation job, timed by its own events."""
    home = Path(work.folder) / "ours"
    os.environ |= {"FM_NOTEBOOK_RUNS": str(home / "runs"), "FM_NOTEBOOK_STATE": str(home / "state"), "FM_NOTEBOOK_WARM": "0"}
    import pandas as pd
    import pyarrow as pa

    from fm_notebook import verbs
    from fm_notebook.session.binding import Assigned
    from fm_notebook.worker import scoring

    files = work.files
    frame = pd.DataFrame(workload.read(work).held_out, columns=[files.text, files.label])
    given = {
        "model": str(work.model), "data": frame, "text": files.text, "label": files.label, "max_length": work.length,
        "device": "cpu" if _cpu() else "auto",
    }  # fmt: skip
    fields = {name: Assigned(value) for name, value in given.items()}
    turns.ready()
    answers: list[str] = []
    try:
        while True:
            folder = verbs.prepare_evaluation(fields, again=True).job.jobfolder
            began = ended = 0.0
            for event in scoring.evaluate(folder, folder.spec, lambda: "run"):  # type: ignore[arg-type]
                began = time.perf_counter() if event.type == "Started" else began
                ended = time.perf_counter() if event.type == "ItemsScored" else ended  # of the last: close calls are scored again
            answers = pa.ipc.open_file(folder.predictions).read_all()["label"].to_pylist()
            turns.step(len(frame), 0, ended - began)
    except Over:
        return answers


def trainer(work: Work, turns: Turns, *, tuned: bool = False) -> list[str]:
    import numpy as np
    import peers
    from transformers import Trainer, TrainingArguments

    model, rows, tokenizer = peers.load(work)
    given = workload.tokenized(work, rows.held_out, rows.names, tokenizer)
    order = sorted(range(len(given)), key=lambda i: -len(given[i]["input_ids"])) if tuned else list(range(len(given)))
    best = {"per_device_eval_batch_size": 64, "bf16_full_eval": work.bf16} if tuned else {}
    arguments = TrainingArguments(**peers.settings(work), **best)
    it = Trainer(model, arguments, data_collator=peers.collator(work, tokenizer))
    turns.ready()
    answers = [""] * len(given)
    try:
        while True:
            began = time.perf_counter()
            logits = np.asarray(it.predict([given[i] for i in order]).predictions)  # type: ignore[arg-type]
            seconds = time.perf_counter() - began
            for place, answer in zip(order, logits.argmax(1), strict=True):
                answers[place] = rows.names[answer]
            turns.step(len(given), sum(len(row["input_ids"]) for row in given), seconds)
    except Over:
        return answers


def fine_tune(work: Work) -> None:
    """So that labels are no toss-up: one epoch by the tuned Trainer, kept in place of the weights to begin with."""
    import peers
    from whole import Clock

    peers.trainer_tuned(work, Clock(0)).save_pretrained(work.model)


def _cpu() -> bool:
    import torch

    return not torch.cuda.is_available()


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] in CHILDREN:
        work = workload.load_work(sys.argv[2])
        if sys.argv[1] == "fine-tune":
            fine_tune(work)
        else:
            turns = Turns(1)
            turns.tell(answers=CHILDREN[sys.argv[1]](work, turns))
        return
    asked = arguments()
    with tempfile.TemporaryDirectory(prefix="fm_notebook-evaluate-") as folder:
        report = run(asked, folder)
    print(table(report))
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1))


CHILDREN: dict[str, Any] = {
    "ours": ours, "trainer": trainer, "trainer-sorted": lambda work, turns: trainer(work, turns, tuned=True), "fine-tune": None,
}  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["sst2", "imdb"], default="sst2")
    parser.add_argument("--length", type=int, help="256 for imdb, else 128")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--train-rows", type=int, default=1600)
    parser.add_argument("--held-out-rows", type=int)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def run(asked: argparse.Namespace, folder: str) -> dict[str, Any]:
    import flops
    import transformers

    from fm_notebook.engine.flops import cost_of

    peaks = flops.gemm_peaks()
    work = Work(
        task="text-classification", data=asked.data, folder=folder, rows=asked.train_rows, held_out_rows=asked.held_out_rows,
        length=asked.length or (256 if asked.data == "imdb" else 128), bf16=peaks["bf16"] > peaks["fp32"],
    )  # fmt: skip
    rows = workload.read(work)
    cost = cost_of(workload.prepare(work, rows))
    blocks.start("fine-tune", work.to_json(), "evaluate.py").end()
    tokenizer = transformers.AutoTokenizer.from_pretrained(work.model)
    tokens, squares = workload.lengths(workload.tokenized(work, rows.held_out, rows.names, tokenizer))
    peers = [blocks.start(name, work.to_json(), "evaluate.py") for name in ("ours", "trainer", "trainer-sorted")]
    blocks.interleave(peers, asked.passes)
    useful = cost.scoring(tokens, squares) / len(rows.held_out)
    found = {peer.name: _figures(peer, peers[1], useful) for peer in peers}
    return {
        "work": work.to_json() | {"folder": ""}, "rows": len(rows.held_out), "mean_tokens": tokens / len(rows.held_out),
        "gemm_peaks": peaks, "machine": blocks.machine(), "peers": found,
    }  # fmt: skip


def _figures(peer: Peer, fp32: Peer, useful: float) -> dict[str, Any]:
    rates, pairs = peer.rates(), list(zip(peer.facts["answers"], fp32.facts["answers"], strict=True))
    agree = sum(a == b for a, b in pairs) / len(pairs)
    return rates | {"labels_agree": agree, "useful_flops_per_second": useful * rates["examples_per_second"]}


def table(report: dict[str, Any]) -> str:
    peers = report["peers"]
    lines = ["| | texts/s | x Trainer | useful GFLOP/s | labels as fp32's | peak memory, MB |", "|---|---|---|---|---|---|"]
    for name, r in peers.items():
        ratio = r["examples_per_second"] / peers["trainer"]["examples_per_second"]
        lines.append(
            f"| {name} | {r['examples_per_second']:.0f} | {ratio:.2f} | {r['useful_flops_per_second'] / 1e9:.0f} "
            f"| {r['labels_agree']:.2%} | {r['peak_memory_bytes'] / 1e6:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
