"""How long until the first optimiser step has ended?

``python benchmarks/startup.py [--repeats N]``: MiniLM, batch of 16, SST-2. Ways alternate; medians. Each is counted from the
start of a process (the bare script) or from the call (ours) to the end of the first step.

===============  ============================================================================================================
``bare``         a script of its own: torch, transformers' Auto classes, the model, the first step
``bare-direct``  the same with `modeling_bert` imported by name
``cold``         ours, no worker alive, nothing warmed
``overlapped``   ours, no worker alive: the worker loads its libraries while the kernel reads the data (as it comes)
``spare``        ours, the worker has loaded its libraries before, and no model
``warm``         ours, the worker has just done another job
===============  ============================================================================================================

Ours includes what the bare script does not do: binding and fingerprints, the journal, the try of a first batch. Its parts are
given beside it: ``prepare`` is the kernel's, ``worker`` the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import blocks
import workload
from workload import Work

blocks.settle()

BARE = """
import csv, sys
import torch
{imports}
folder, path = sys.argv[1:]
rows = list(csv.DictReader(open(path), delimiter="\\t", quoting=csv.QUOTE_NONE))[:{rows}]
tokenizer, model = {tokenizer}.from_pretrained(folder), {model}.from_pretrained(folder)
encoded = [tokenizer(row["sentence"], truncation=True, max_length=128)["input_ids"] for row in rows]
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)
model.train()
batch = [torch.tensor(ids) for ids in encoded[:16]]
ids = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)
labels = torch.tensor([int(row["label"]) for row in rows[:16]])
loss = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss
loss.backward()
torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
optimizer.step()
print(float(loss), flush=True)
"""
AUTO = {
    "imports": "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
    "model": "AutoModelForSequenceClassification", "tokenizer": "AutoTokenizer",
}  # fmt: skip
DIRECT = {
    "imports": "from transformers.models.bert.modeling_bert import BertForSequenceClassification\n"
    "from transformers.models.bert.tokenization_bert import BertTokenizer as BertTokenizerFast",
    "model": "BertForSequenceClassification", "tokenizer": "BertTokenizerFast",
}  # fmt: skip
Seconds = dict[str, float]


def bare(work: Work, rows: int, **names: str) -> Seconds:
    code = BARE.format(rows=rows, **names)
    began = time.time()
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(work.model), str(work.files.train)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdout is not None
    line = child.stdout.readline()
    seconds = time.time() - began
    if child.wait() or not line:
        raise RuntimeError("the bare script failed")
    return {"all": seconds}


class Ours:
    """Runs of ours in workers of ours; the notebook's side is this process, whose imports are done."""

    def __init__(self, work: Work, rows: int):
        import pandas as pd

        self.work, self.count = work, 0
        data = workload.read(work).train[:rows]
        self.frame = pd.DataFrame(data, columns=[work.files.text, work.files.label])

    def cold(self) -> Seconds:
        self._send_home()
        os.environ["FM_NOTEBOOK_WARM"] = "0"
        return self._run()

    def overlapped(self) -> Seconds:
        self._send_home()
        os.environ["FM_NOTEBOOK_WARM"] = "1"
        return self._run()

    def spare(self) -> Seconds:
        from fm_notebook.jobs.locks import is_held
        from fm_notebook.jobs.queue import Queue
        from fm_notebook.session.launchers import process

        self._send_home()
        os.environ["FM_NOTEBOOK_WARM"] = "1"
        while not is_held(Queue("cpu").lock):  # asked again: one that is about to leave counts as alive for a moment
            process.warm("cpu")
            time.sleep(0.05)
        _until_idle(process.worker_pid(Queue("cpu")) or 0)
        return self._run()

    def warm(self) -> Seconds:
        """After another of these: its worker is alive."""
        return self._run()

    def _run(self) -> Seconds:
        from fm_notebook import verbs
        from fm_notebook.contracts.events import StepEnded
        from fm_notebook.jobs import journal

        self.count += 1
        given = {
            "model": str(self.work.model), "train": self.frame, "text": "sentence", "label": "label", "batch_size": 16,
            "max_length": 128, "max_steps": 2, "seed": self.count, "eval_split": 0.05, "device": "cpu",
        }  # fmt: skip
        began = time.time()
        run = verbs.finetune(f"r{self.count}", wait=False, **given)
        bound = time.time()
        run.job.wait()
        if failure := run.job.failure():
            raise failure
        first = next(event for event in journal.replay(run.job.jobfolder.events) if isinstance(event, StepEnded))
        return {"all": first.time - began, "prepare": bound - began, "worker": first.time - bound}

    def _send_home(self) -> None:
        from fm_notebook.jobs.queue import Queue
        from fm_notebook.session.launchers.process import free_worker

        if not free_worker(Queue("cpu"), patience_seconds=60):
            raise RuntimeError("the worker does not leave")

    close = _send_home


def _until_idle(pid: int) -> None:
    """Until the worker has used no processor time for half a second: its libraries are loaded."""
    import psutil

    worker, before = psutil.Process(pid), -1.0
    while (now := sum(worker.cpu_times()[:2])) > before + 0.06:
        before = now
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fm_notebook-startup-") as folder:
        os.environ |= {
            "FM_NOTEBOOK_RUNS": f"{folder}/runs", "FM_NOTEBOOK_STATE": f"{folder}/state", "FM_NOTEBOOK_IDLE_SECONDS": "60",
            "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        report = run(asked, folder)
    print(table(report))
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1))


def run(asked: argparse.Namespace, folder: str) -> dict[str, Any]:
    work = Work("text-classification", "sst2", folder)
    # the weights are made by a child: what this process has loaded must be what a kernel has
    code = "import sys, workload; w = workload.load_work(sys.argv[1]); workload.prepare(w, workload.read(w))"
    subprocess.run(
        [sys.executable, "-c", code, json.dumps(work.to_json())], check=True, cwd=Path(__file__).parent, env=os.environ
    )
    ours = Ours(work, asked.rows)
    ways: dict[str, Callable[[], Seconds]] = {
        "bare": lambda: bare(work, asked.rows, **AUTO), "bare-direct": lambda: bare(work, asked.rows, **DIRECT),
        "cold": ours.cold, "overlapped": ours.overlapped, "spare": ours.spare, "warm": ours.warm,
    }  # fmt: skip
    found: dict[str, list[Seconds]] = {name: [] for name in ways}
    try:
        for _ in range(asked.repeats):
            for name, way in ways.items():
                found[name].append(way())
                time.sleep(1)
    finally:
        ours.close()
    medians = {name: {part: median(each[part] for each in times) for part in times[0]} for name, times in found.items()}
    return {"seconds": medians, "repeats": found, "rows": asked.rows, "machine": blocks.machine()}


def table(report: dict[str, Any]) -> str:
    seconds = report["seconds"]
    lines = ["| | s to the first step | x bare | prepare, s | worker, s |", "|---|---|---|---|---|"]
    for name, parts in seconds.items():
        rest = " | ".join(f"{parts[part]:.2f}" if part in parts else "–" for part in ("prepare", "worker"))
        lines.append(f"| {name} | {parts['all']:.2f} | {parts['all'] / seconds['bare']['all']:.2f} | {rest} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
