"""The runs of `test_sharding.py`, as one process of several: ``python sharded_processes.py FOLDER``, or whole in one process."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from fm_notebook.contracts import events as ev
from fm_notebook.engine import distributed, families
from fm_notebook.engine.batching import Examples, micro_batches
from fm_notebook.engine.causal import shift
from fm_notebook.engine.determinism import Repeatable
from fm_notebook.engine.distributed import ALONE, World
from fm_notebook.engine.loop import finetune
from fm_notebook.engine.parts import Parts
from fm_notebook.engine.run import Run
from fm_notebook.engine.sharding import Shards, local
from fm_notebook.errors import JobFailed

_spec = importlib.util.spec_from_file_location("several_processes", Path(__file__).with_name("several_processes.py"))
assert _spec is not None
assert _spec.loader is not None
plain = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(plain)

WORDS = len(plain.tiny.WORDS) + 5
SMALL = {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
LLAMA = {**SMALL, "num_key_value_heads": 1, "max_position_embeddings": 32, "pad_token_id": 0}
GPT2 = {
    "vocab_size": WORDS, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 32, "pad_token_id": 0, "bos_token_id": 2,
    "eos_token_id": 3, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
}  # fmt: skip
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "albert": ("AlbertForSequenceClassification", {**SMALL, "embedding_size": 16, **NO_DROPOUT, "classifier_dropout_prob": 0.0}),
    "deberta": ("DebertaV2ForSequenceClassification", {
        **SMALL, **NO_DROPOUT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "pooler_dropout": 0.0,
    }),
    "distilbert": ("DistilBertForSequenceClassification", {
        "vocab_size": WORDS, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "dropout": 0.0, "attention_dropout": 0.0,
        "seq_classif_dropout": 0.0, "max_position_embeddings": 32,
    }),
    "electra": ("ElectraForSequenceClassification", {**SMALL, "embedding_size": 16, **NO_DROPOUT}),
    "gpt2": ("GPT2ForSequenceClassification", GPT2),
    "llama": ("LlamaForSequenceClassification", LLAMA),
    "modernbert": ("ModernBertForSequenceClassification", {
        **SMALL, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3,
    }),
    "roberta": ("RobertaForSequenceClassification", {**SMALL, **NO_DROPOUT, "max_position_embeddings": 40, "pad_token_id": 0}),
}  # fmt: skip


def make_parts(folder: Path, world: World, *, model: Any = None, **fields: Any) -> Parts:
    """As `several_processes` makes them, the model in shards where there are several processes."""
    packed, precision = fields.pop("packed", False), fields.pop("precision", "fp32")
    parts = plain.make_parts(folder, world, **fields)
    parts = dataclasses.replace(parts, model=model or parts.model, precision=precision)
    if packed:
        families.enable(parts.model)
        parts = dataclasses.replace(parts, layout="packed")
    return cut(parts, world)


def cut(parts: Parts, world: World) -> Parts:
    if world.size == 1:
        return parts
    shards = Shards(parts.model, world)
    return dataclasses.replace(parts, shards=shards, step_function=shards.accumulate)


def made(name: str, settings: dict[str, Any]) -> Any:
    torch.manual_seed(1)
    kind = getattr(transformers, name)
    return kind(kind.config_class(**settings))


def text(folder: Path, world: World) -> dict[str, Any]:
    """The last batch of an epoch is one text: the second process has none."""
    return scored(make_parts(folder, world))


def packed(folder: Path, world: World) -> dict[str, Any]:
    return scored(make_parts(folder, world, packed=True, max_steps=12, max_grad_norm=0.02))


def tokens(folder: Path, world: World) -> dict[str, Any]:
    return scored(make_parts(folder, world, token=True))


def uneven(folder: Path, world: World) -> dict[str, Any]:
    """Five texts against four, two at a time: three passes against two."""
    parts = make_parts(folder, world, token=True, micro_batch_size=2, max_steps=12)
    run = Run(parts)
    counts = {
        tuple(len(list(micro_batches(run.batch(step).take(share), run.state.budget, padded=True))) for share in shares)
        for step in range(12) if len(shares := World(size=2).shares(len(run.batch(step)))) == 2
    }  # fmt: skip
    assert counts == {(3, 2)}, counts
    return scored(parts)


def unused(folder: Path, world: World) -> dict[str, Any]:
    parts = plain.make_parts(folder, world, weight_decay=0.5, max_steps=12)
    parts.model.register_parameter("unused", torch.nn.Parameter(torch.ones(2, 2)))
    found = scored(cut(parts, world))
    return {**found, "unused": bool((local(parts.model.unused) == 1).all())}


def recomputed(folder: Path, world: World) -> dict[str, Any]:
    model = plain.tiny.make_model(0.0)
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    return scored(make_parts(folder, world, model=model, packed=True, max_steps=12))


def rounded(folder: Path, world: World) -> dict[str, Any]:
    return scored(make_parts(folder, world, precision="bf16", packed=True, max_steps=12))


def language(folder: Path, world: World, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    parts = plain.make_parts(folder, world, token=True, max_steps=24, eval_every=12)
    model = made(name, settings)
    families.enable(model)
    causal = [dataclasses.replace(each, targets=_learnt(each), draw=shift) for each in (parts.train, parts.held_out)]
    parts = dataclasses.replace(parts, model=model, layout="packed", train=causal[0], held_out=causal[1])
    return scored(cut(parts, world))


def _learnt(examples: Examples) -> np.ndarray:
    flags = np.ones(len(examples.tokens.ids), bool)
    flags[examples.tokens.offsets[:-1]] = False
    return flags


def llama(folder: Path, world: World) -> dict[str, Any]:
    return language(folder, world, "LlamaForCausalLM", {**LLAMA, "tie_word_embeddings": False})


def gpt2_tied(folder: Path, world: World) -> dict[str, Any]:
    return language(folder, world, "GPT2LMHeadModel", GPT2)


def every_family(folder: Path, world: World) -> dict[str, Any]:
    """Losses of a few steps, packed where the family can be."""
    found = {}
    for name, (kind, settings) in MODELS.items():
        model = made(kind, {**settings, "num_labels": 2})
        can = families.can_pack(model)
        parts = make_parts(folder / name, world, model=model, packed=can, max_steps=6, eval_every=6)
        found[name] = plain.told(finetune(parts))["losses"]
    return found


def resumed(folder: Path, world: World) -> dict[str, Any]:
    """With dropout: one run that is stopped after 7 and 19 steps, and one that is not."""

    def weights(name: str, *stops: int) -> list[torch.Tensor]:
        parts = make_parts(folder / name, world, dropout=0.2)
        for start, stop in zip((0, *stops), (*stops, None), strict=True):
            done = [start]
            parts = make_parts(folder / name, world, dropout=0.2, max_steps=24, eval_every=8, save_every=5)
            parts = dataclasses.replace(parts, between_steps=lambda model, done=done: done.append(done[-1] + 1))
            list(finetune(parts, lambda stop=stop, done=done: "stop" if done[-1] == stop else "run"))
        return [local(p.detach()).clone() for p in parts.model.parameters()]

    never, often = weights("never"), weights("often", 7, 19)
    return {"equal": all(torch.equal(a, b) for a, b in zip(never, often, strict=True)), "n": len(never)}


def begun(folder: Path, world: World) -> dict[str, Any]:
    """The first 10 of 24 steps; who goes on in what way is for `continued`, in another process, to say."""
    done: list[int] = []
    parts = make_parts(folder, world, max_steps=24)
    parts = dataclasses.replace(parts, between_steps=lambda model: done.append(1))
    return plain.told(finetune(parts, lambda: "stop" if world.is_first and len(done) == 10 else "run"))


def continued(folder: Path, world: World) -> dict[str, Any]:
    """From a checkpoint that one process wrote of a whole model."""
    first = plain.make_parts(folder, ALONE, max_steps=24) if world.is_first else None
    if first is not None:
        done: list[int] = []
        first = dataclasses.replace(first, between_steps=lambda model: done.append(1))
        list(finetune(first, lambda: "stop" if len(done) == 10 else "run"))
    world.any(True)
    return plain.told(finetune(make_parts(folder, world, max_steps=24)))


def not_finite(folder: Path, world: World) -> dict[str, Any]:
    """Texts of 16 tokens and more give no number; the first one is seen by one process, all stop before a weight is spoilt."""
    model = plain.tiny.make_model(0.0)
    with torch.no_grad():
        model.bert.embeddings.position_embeddings.weight[15] = torch.inf
    parts = make_parts(folder, world, model=model, packed=True, max_steps=24, eval_every=24)
    lengths = [Run(parts).batch(step).lengths for step in range(8)]
    where = [sorted({i % 2 for i, length in enumerate(each) if length > 15}) for each in lengths]
    step = next(i for i, each in enumerate(where, 1) if each)
    try:
        list(finetune(parts))
    except JobFailed as error:
        fault = error.faults[0]
        spoilt = sum(int((~local(p.detach()).isfinite()).sum()) for p in parts.model.parameters())
        return {"key": fault.key, "step": fault.values["step"], "expected": step, "ranks": where[step - 1], "spoilt": spoilt}
    return {}


def obeys(folder: Path, world: World) -> dict[str, Any]:
    """Only the first process sees what the user wants: a cancel in the middle of the evaluation."""
    parts = make_parts(folder, world, max_steps=24, eval_every=6, micro_batch_size=1)
    evaluating = [False]

    def command():
        return "cancel" if world.is_first and evaluating[0] else "run"

    events = []
    for event in finetune(parts, command):
        evaluating[0] = evaluating[0] or (isinstance(event, ev.PhaseBegan) and event.phase == "evaluating")
        events.append(event)
    return {"ended": events[-1].state, "step": events[-1].step}


def given_up(folder: Path, world: World) -> dict[str, Any]:
    """An operator has no repeatable kernel: once on the way there, once on the way back; the step is done again."""
    parts = make_parts(folder, world, max_steps=12)
    left = ["there", "back"]

    def there(_module: Any, arguments: Any) -> None:
        if _module.training and left == ["there", "back"]:
            left.pop(0)
            raise RuntimeError("there does not have a deterministic implementation")

    def back(gradient: torch.Tensor) -> None:
        if left == ["back"]:
            left.pop()
            raise RuntimeError("back does not have a deterministic implementation")

    def watched(module: Any, _inputs: Any, output: torch.Tensor) -> None:
        if module.training:
            output.register_hook(back)

    layers = parts.model.bert.encoder.layer
    layers[1].register_forward_pre_hook(there)
    layers[0].register_forward_hook(watched)
    usual = Repeatable.gives_up
    Repeatable.gives_up = lambda self, error: "deterministic" in str(error)  # type: ignore[method-assign] - as on CUDA
    try:
        return {**plain.told(finetune(parts)), "left": left}
    finally:
        Repeatable.gives_up = usual  # type: ignore[method-assign]


def memory(folder: Path, world: World) -> dict[str, Any]:
    """Bytes of weights, moments and gradients between steps, in this process and of the whole model, and after a score."""
    seen: list[tuple[int, int, int]] = []
    parts = make_parts(folder, world, max_steps=12, eval_every=4)
    run: list[Run] = []

    def look(_model: Any) -> None:
        kept = [value for state in run[0].optimizer.state.values() for name, value in state.items() if name != "step"]
        grads = sum(local(p.grad).nbytes for p in parts.model.parameters() if p.grad is not None)
        seen.append((sum(local(p).nbytes for p in parts.model.parameters()), sum(local(each).nbytes for each in kept), grads))

    original = Run.__init__

    def init(self: Run, parts: Parts) -> None:
        original(self, parts)
        run.append(self)

    Run.__init__ = init  # type: ignore[method-assign]
    try:
        events = list(finetune(dataclasses.replace(parts, between_steps=look)))
    finally:
        Run.__init__ = original  # type: ignore[method-assign]
    estimated = next(event for event in events if isinstance(event, ev.Started)).provenance["estimated_memory"]
    total = sum(p.numel() * p.element_size() for p in parts.model.parameters())
    return {"seen": seen, "whole": total, "estimated": estimated}


def scored(parts: Parts) -> dict[str, Any]:
    """What the run told, its scores, and its result's weights."""
    events = list(finetune(parts))
    found = plain.told(iter(events))
    found["metrics"] = [event.metrics for event in events if isinstance(event, ev.EvalEnded)]
    if parts.world.is_first:
        weights = load_file(parts.result / "model.safetensors")
        found["sums"] = {name: [float(w.double().sum()), float(w.double().abs().sum())] for name, w in sorted(weights.items())}
        if parts.task.name == "text-classification" and not hasattr(parts.model, "unused"):
            again = AutoModelForSequenceClassification.from_pretrained(parts.result)
            found["class"] = type(again).__name__
    return found


RUNS: list[Callable[[Path, World], dict[str, Any]]] = [
    text, packed, tokens, uneven, unused, recomputed, rounded, llama, gpt2_tied, every_family, resumed, begun, continued,
    not_finite, obeys, given_up, memory,
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
