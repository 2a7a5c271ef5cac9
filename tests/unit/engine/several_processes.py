"""The runs of `test_distributed.py`, as one process of several: ``python several_processes.py FOLDER``, or in one process."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import Interval, Report, Score
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.engine import distributed
from fm_notebook.engine.batching import Examples
from fm_notebook.engine.distributed import ALONE, World
from fm_notebook.engine.loop import finetune
from fm_notebook.engine.parts import Parts
from fm_notebook.engine.step import accumulate
from fm_notebook.tasks.text_classification import task as text_task

_spec = importlib.util.spec_from_file_location("engine_conftest", Path(__file__).with_name("conftest.py"))
assert _spec is not None
assert _spec.loader is not None
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


class TokenTask:
    """Three classes a token, the loss alone is scored."""

    name, level = "tokens", "token"
    metrics: ClassVar = {"loss": "min"}

    def losses(self, logits, targets):
        return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")

    def keep(self, logits, targets):
        return {"loss": self.losses(logits, targets)}

    def report(self, outputs, labels, *, seed):
        interval = Interval(low=0.0, high=9.0, method="exact")
        return Report(scores=[Score(name="loss", value=float(outputs.values["loss"].mean()), n=len(outputs), interval=interval)])


def make_parts(folder: Path, world: World, *, dropout: float = 0.0, token: bool = False, **fields: Any) -> Parts:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *tiny.WORDS]
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, model_max_length=32)
    settings = {"max_steps": 50, "batch_size": 9, "learning_rate": 1e-3, "warmup_steps": 0, "eval_every": 25, **fields}
    spec = FinetuneSpec(
        train=DataRef(source="rows", kind="value"), model=ModelRef(source="tiny", kind="folder", location="x"), **settings
    )
    examples = [tiny.make_examples(tokenizer, n, seed=n) for n in (37, 8)]  # 37 = 4 * 9 + 1: the last batch has one text
    model, task = tiny.make_model(dropout), text_task
    if token:
        examples, model, task = [tag(each) for each in examples], token_model(), TokenTask()
    folder.mkdir(parents=True, exist_ok=True)
    return Parts(
        spec=spec, task=task, model=model, tokenizer=tokenizer, train=examples[0], held_out=examples[1], labels=tiny.LABELS,
        precision="fp32", checkpoints=folder / "checkpoints", result=folder / "model", world=world,
    )  # fmt: skip


def tag(examples: Examples) -> Examples:
    """A class for every second token or so: texts differ in how many of theirs have one."""
    ids = examples.tokens.ids
    targets = np.where((ids >= 5) & (ids % 3 > 0), ids % 3, -100).astype(np.int64)
    return dataclasses.replace(examples, targets=targets, weights=np.ones(len(ids), np.float32), level="token")


def token_model() -> Any:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tiny.WORDS) + 5, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=3,
    )  # fmt: skip
    return BertForTokenClassification(config)


def text(folder: Path, world: World) -> dict[str, Any]:
    return told(finetune(make_parts(folder, world)))


def tokens(folder: Path, world: World) -> dict[str, Any]:
    return told(finetune(make_parts(folder, world, token=True)))


def micro(folder: Path, world: World) -> dict[str, Any]:
    return told(finetune(make_parts(folder, world, token=True, micro_batch_size=2, max_steps=12)))


def unused(folder: Path, world: World) -> dict[str, Any]:
    """A parameter that no loss depends on stays what it is, though there is weight decay."""
    parts = make_parts(folder, world, weight_decay=0.5, max_steps=12)
    parts.model.register_parameter("unused", torch.nn.Parameter(torch.ones(2, 2)))
    return {**told(finetune(parts)), "unused": parts.model.unused.tolist()}


def different(folder: Path, world: World) -> dict[str, Any]:
    """Each process begins with weights of its own."""
    parts = make_parts(folder, world, max_steps=12)
    torch.manual_seed(100 + world.rank)
    if not world.is_first:
        torch.nn.init.normal_(parts.model.classifier.weight)
    world.equalise([*parts.model.parameters(), *parts.model.buffers()])
    return told(finetune(parts))


def out_of_memory(folder: Path, world: World) -> dict[str, Any]:
    """The last process alone runs out of memory at more than two texts."""

    def step(model, task, batch, forward, budget, backward):
        if world.rank == world.size - 1 and min(budget.texts, len(batch)) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return accumulate(model, task, batch, forward, budget, backward)

    return told(finetune(dataclasses.replace(make_parts(folder, world, max_steps=12), step_function=step)))


def obeys(folder: Path, world: World) -> dict[str, Any]:
    """Only the first process sees what the user wants: a pause at 3 steps, then a stop."""
    done, wishes = [0], itertools.chain(["pause"] * 3, itertools.repeat("stop"))
    parts = make_parts(folder, world)
    parts = dataclasses.replace(parts, between_steps=lambda model: done.append(done[-1] + 1))

    def command():
        assert world.is_first
        return next(wishes) if done[-1] >= 3 else "run"

    return {**told(finetune(parts, command if world.is_first else lambda: "run")), "done": done[-1]}


def cancelled(folder: Path, world: World) -> dict[str, Any]:
    done: list[int] = []
    parts = dataclasses.replace(make_parts(folder, world), between_steps=lambda model: done.append(1))
    return told(finetune(parts, lambda: "cancel" if world.is_first and len(done) == 4 else "run"))


def resumed(folder: Path, world: World) -> dict[str, Any]:
    """With dropout: one run that is stopped after 7 and 19 steps, and one that is not."""

    def weights(name: str, *stops: int) -> list[torch.Tensor]:
        for start, stop in zip((0, *stops), (*stops, None), strict=True):
            done = [start]
            parts = make_parts(folder / name, world, dropout=0.2, max_steps=24, eval_every=8, save_every=5)
            parts = dataclasses.replace(parts, between_steps=lambda model, done=done: done.append(done[-1] + 1))
            list(finetune(parts, lambda stop=stop, done=done: "stop" if done[-1] == stop else "run"))
        return [p.detach().clone() for p in parts.model.parameters()]

    never, often = weights("never"), weights("often", 7, 19)
    return {"equal": all(torch.equal(a, b) for a, b in zip(never, often, strict=True)), "n": len(never)}


def told(events: Iterator[ev.Event]) -> dict[str, Any]:
    """The losses of a run's steps, the micro-batches it shrank to, and how it ended."""
    all_of_them = list(events)
    return {
        "losses": [event.loss for event in all_of_them if isinstance(event, ev.StepEnded)],
        "norms": [event.grad_norm for event in all_of_them if isinstance(event, ev.StepEnded)],
        "shrunk": [event.micro_batch_size for event in all_of_them if isinstance(event, ev.MemoryShrunk)],
        "paused": [event.step for event in all_of_them if isinstance(event, ev.Paused)],
        "ended": all_of_them[-1].state,  # type: ignore[union-attr]
        "step": all_of_them[-1].step,  # type: ignore[union-attr]
    }


RUNS: list[Callable[[Path, World], dict[str, Any]]] = [
    text, tokens, micro, unused, different, out_of_memory, obeys, cancelled, resumed,
]  # fmt: skip


def main(folder: Path, world: World = ALONE) -> dict[str, dict[str, Any]]:
    """What each of `RUNS` told."""
    return {run.__name__: run(folder / run.__name__, world) for run in RUNS}


if __name__ == "__main__":
    torch.set_num_threads(1)
    joined = distributed.join("cpu")
    found = main(Path(sys.argv[1]) / "together", joined)
    (Path(sys.argv[1]) / f"{joined.rank}.json").write_text(json.dumps(found))
    distributed.leave()
