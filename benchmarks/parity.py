"""Do we train as `transformers.Trainer` does?

``losses``: fp32, dropout 0, the same batches: the first 50 losses and gradient norms of each work, step by step, ours by the
worker's own code from the spec on, without padding. Not for fill-mask, whose masks each side draws by itself.
The others train whole: both sides from the same weights, the fresh head and adapters included, each with its own batches, masks
and dropout, in the precision that each takes by itself; one scorer for all (accuracy, entity F1, or loss of a held-out token).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import statistics
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # before torch is imported: two threads beside other work

import blocks
import peers
import torch
import workload
from scipy import stats
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from workload import Work

from fm_notebook.engine.plans import EpochPlan
from fm_notebook.engine.precision import choose_device, choose_precision

STEPS = 50
WORKS = {
    "sst2": Work("text-classification", "sst2", "", rows=3000),
    "trec": Work("text-classification", "trec", "", rows=2500, epochs=2.0),
    "wnut17": Work("token-classification", "wnut17", "", rows=1700, epochs=4.0, learning_rate=3e-4),
    "fill-mask": Work("fill-mask", "sst2", "", rows=1500),
    "text-generation": Work("text-generation", "sst2", "", rows=320, held_out_rows=200, lora=True, learning_rate=2e-4),
}
"""Sizes that tell learning from none in minutes; WNUT-17 needs more epochs and a higher rate before any entity is found."""


class StopAt(TrainerCallback):
    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        del args, kwargs
        control.should_training_stop = state.global_step >= self.step
        return control


class OurBatches(Trainer):
    """A Trainer that is shown the rows of our plan; of the first epoch."""

    plan: EpochPlan

    def get_train_dataloader(self) -> Any:
        rows = [self.plan.rows(step).tolist() for step in range(self.plan.steps_per_epoch)]
        return torch.utils.data.DataLoader(self.train_dataset, batch_sampler=rows, collate_fn=self.data_collator)  # type: ignore[arg-type]


def compare_losses(name: str, folder: str) -> dict[str, Any]:
    work = dataclasses.replace(WORKS[name], folder=folder, block=0)
    Path(folder).mkdir()
    workload.prepare(work, workload.read(work))
    events = peers.events_of_ours(work, precision="fp32", dropout=0.0)
    ours = list(islice((event for event in events if event.type == "StepEnded"), STEPS))
    events.close()  # type: ignore[attr-defined]
    theirs = losses_of_trainer(work)
    pairs = {
        field: [(getattr(a, field), float(b[field])) for a, b in zip(ours, theirs, strict=True)]
        for field in ("loss", "grad_norm", "learning_rate")
    }
    most = {f"max_abs_difference_{field}": max(abs(a - b) for a, b in found) for field, found in pairs.items()}
    print(name, len(ours), most, flush=True)
    return {"steps": len(ours), **most, "ours": [a for a, _ in pairs["loss"]], "trainer": [b for _, b in pairs["loss"]]}


def losses_of_trainer(work: Work) -> list[dict[str, float]]:
    model, rows, tokenizer = peers.load(work)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    train = workload.tokenized(work, rows.train, rows.names, tokenizer)
    settings = TrainingArguments(**peers.settings(work), logging_steps=1)
    collate = peers.collator(work, tokenizer)
    it = OurBatches(model, settings, train_dataset=train, data_collator=collate, callbacks=[StopAt(STEPS)])  # type: ignore[arg-type]
    it.plan = EpochPlan(len(train), work.batch, work.seed)
    it.remove_callback(PrinterCallback)
    it.train()
    return [entry for entry in it.state.log_history if "loss" in entry]


def compare_scores(name: str, seeds: list[int], names: list[str], folder: str) -> dict[str, list[dict[str, float]]]:
    """Whole trainings, each in a process of its own, the order of the peers shifted with every seed."""
    found: dict[str, list[dict[str, float]]] = {peer: [] for peer in names}
    bf16 = choose_precision("auto", choose_device("auto")) == "bf16"
    for number, seed in enumerate(seeds):
        work = dataclasses.replace(WORKS[name], folder=folder, seed=seed, bf16=bf16, block=0)
        workload.prepare(work, workload.read(work))
        for place in range(len(names)):
            peer = blocks.start(names[(place + number) % len(names)], work.to_json(), script="whole.py")
            peer.end()
            found[peer.name].append({"seed": seed, **peer.facts})
            print(f"{name}, seed {seed}, {peer.name}: {peer.facts}", flush=True)
    return found


def against(base: str, scores: dict[str, list[dict[str, float]]]) -> Iterator[dict[str, Any]]:
    """Each peer's mean score, its standard deviation over seeds, and the paired difference from `base` (Student's interval)."""
    for peer, runs in scores.items():
        values = [run["score"] for run in runs]
        differences = [run["score"] - other["score"] for run, other in zip(runs, scores[base], strict=True)]
        half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(differences) if len(values) > 1 else math.nan
        mean = statistics.fmean(differences)
        yield {
            "peer": peer, "mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else math.nan,
            "difference": mean, "low": mean - half, "high": mean + half, "n": len(values),
        }  # fmt: skip


def table(found: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    lines = ["| work | peer | mean score | sd over seeds | difference from Trainer, 95 % | seeds |", "|" + "---|" * 6]
    for name, scores in found.items():
        for row in against("trainer" if "trainer" in scores else next(iter(scores)), scores):
            difference = f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
            lines += [f"| {name} | {row['peer']} | {row['mean']:.4f} | {row['sd']:.4f} | {difference} | {row['n']} |"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=["losses", *WORKS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--peers", nargs="+", default=["ours", "trainer"])
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found: dict[str, Any] = {
        "machine": blocks.machine(),
        "precision": choose_precision("auto", choose_device("auto")),
        "scores": {},
    }
    for name in asked.what:
        with tempfile.TemporaryDirectory(prefix="fm_notebook-parity-") as folder:
            if name == "losses":
                found["losses"] = {each: compare_losses(each, f"{folder}/{each}") for each in WORKS if each != "fill-mask"}
            else:
                found["scores"][name] = compare_scores(name, asked.seeds, asked.peers, folder)
        if asked.json:
            asked.json.write_text(json.dumps(found, indent=1))
    print(table(found["scores"]))


if __name__ == "__main__":
    main()
