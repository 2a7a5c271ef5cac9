"""The loop on a GPU: no waiting, the same bits after a stop, and less at once where memory runs out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.adapters import LoraSpec
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.engine import adapters, checkpoints, estimate, families
from fm_notebook.engine.batching import Examples
from fm_notebook.engine.kernels import graphs, switch
from fm_notebook.engine.loop import finetune
from fm_notebook.engine.parts import Parts
from fm_notebook.engine.tokens import Tokens
from fm_notebook.tasks.text_classification import task

pytestmark = pytest.mark.gpu

MB = 10**6


def examples(n: int, longest: int, seed: int = 0, *, fixed: bool = False) -> Examples:
    """Texts of 3 to `longest` tokens, or all of that length; the first token tells the label."""
    rng = np.random.default_rng(seed)
    lengths = np.full(n, longest) if fixed else rng.integers(3, longest, n)
    ids = rng.integers(5, 200, lengths.sum()).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    targets = (ids[offsets[:-1]] % 2).astype(np.int64)
    tokens = Tokens(ids, offsets, None, 0, 512, 0, 0, len(ids))
    return Examples(tokens, targets, np.ones(n, np.float32), np.arange(n))


def model(dropout: float, family: str = "bert", **sizes: int) -> Any:
    torch.manual_seed(1)
    fields = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, **sizes}
    drops = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    small = {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "dropout": dropout, "attention_dropout": dropout}
    config = {
        "distilbert": lambda: tf.DistilBertConfig(vocab_size=200, **small),
        "modernbert": lambda: tf.ModernBertConfig(
            vocab_size=200, attention_dropout=dropout, pad_token_id=0, cls_token_id=1, sep_token_id=2, **fields
        ),
        "gpt2": lambda: tf.GPT2Config(
            vocab_size=200,
            n_embd=64,
            n_layer=2,
            n_head=4,
            attn_pdrop=dropout,
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            pad_token_id=0,
        ),
        "llama": lambda: tf.LlamaConfig(vocab_size=200, attention_dropout=dropout, pad_token_id=0, **fields),
    }.get(family, lambda: tf.BertConfig(vocab_size=200, **drops, **fields))()
    made = tf.AutoModelForSequenceClassification.from_config(config)
    return (adapters.adapt(made, LoraSpec(rank=4), fresh=(), seed=0) if family == "lora" else made).cuda()


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Parts]:
    def make(
        name: str = "run", *, precision: Any = "bf16", layout: Any = "packed", dropout: float = 0.1, n: int = 200,
        longest: int = 40, family: str = "bert", sizes: dict[str, int] | None = None, fixed: bool = False, **fields: Any,
    ) -> Parts:  # fmt: skip
        settings = {"epochs": 2.0, "batch_size": 16, "learning_rate": 1e-3, "warmup_steps": 0, **fields}
        made, train, held_out = (
            model(dropout, family, **(sizes or {})),
            examples(n, longest, fixed=fixed),
            examples(16, longest, 1),
        )
        tokenizer = tf.BertTokenizerFast(vocab={word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])})
        techniques = switch.Techniques()
        if layout == "packed":
            families.enable(made)
            techniques = switch.enable_for(made, (train, held_out), tokenizer, 0)
        (tmp_path / name).mkdir(exist_ok=True)
        ref = ModelRef(source="tiny", kind="folder", location="nowhere")
        return Parts(
            spec=FinetuneSpec(train=DataRef(source="rows", kind="value"), model=ref, **settings), task=task, model=made,
            tokenizer=tokenizer, train=train, held_out=held_out, labels=["n", "p"], precision=precision, layout=layout,
            checkpoints=tmp_path / name / "checkpoints", result=tmp_path / name / "model", vocabulary=techniques.vocabulary,
        )  # fmt: skip

    return make


def steps_of(events: list[ev.Event]) -> dict[int, tuple[float, float]]:
    return {event.step: (event.loss, event.grad_norm) for event in events if isinstance(event, ev.StepEnded)}


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_the_same_run_twice_has_the_same_bits(make, precision, layout):
    runs = [make(name, precision=precision, layout=layout) for name in ("one", "two")]
    one, two = (steps_of(list(finetune(parts))) for parts in runs)
    assert one == two
    assert len(one) == 26
    for a, b in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("precision", "layout", "micro"), [
    ("bf16", "packed", None), ("bf16", "packed", 5), ("fp16", "packed", None), ("fp32", "packed", None), ("bf16", "padded", None),
])  # fmt: skip
def test_stopped_and_resumed_it_ends_in_the_same_bits(make, precision, layout, micro):
    fields = {"precision": precision, "layout": layout, "save_every": 3, "micro_batch_size": micro}
    whole = make("whole", **fields)
    expected = steps_of(list(finetune(whole)))
    found: dict[int, tuple[float, float]] = {}
    parts = make("parted", **fields)
    for stop in (4, 11, None):
        found |= steps_of(list(_until(parts, stop)))
        torch.manual_seed(999)
        torch.rand(3, device="cuda")
        ended, parts = parts, make("parted", **fields)
    assert found == expected
    for a, b in zip(whole.model.parameters(), ended.model.parameters(), strict=True):
        assert torch.equal(a, b)


def _until(parts: Parts, step: int | None) -> Iterator[ev.Event]:
    """Events until the command to stop came at `step`."""
    seen: list[int] = [0]
    for event in finetune(parts, lambda: "stop" if step is not None and seen[-1] >= step else "run"):
        if isinstance(event, ev.StepEnded):
            seen.append(event.step)
        yield event


def test_generators_are_put_back():
    torch.manual_seed(5)
    torch.rand(7, device="cuda")
    before = checkpoints.generators()
    drawn = [torch.rand(4, device=device) for device in ("cpu", "cuda")]
    checkpoints.set_generators(before)
    assert all(torch.equal(torch.rand(4, device=device), it) for device, it in zip(("cpu", "cuda"), drawn, strict=True))
    assert {"cpu", "cuda:0"} <= before.keys()


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("micro", [None, 9])
def test_the_host_waits_for_no_step(make, precision, micro):
    parts = make(precision=precision, n=3200, epochs=1.0, micro_batch_size=micro, longest=20)
    events = finetune(parts)
    seen = 0
    warnings.simplefilter("ignore")  # that the mode is a prototype
    try:
        for event in events:
            seen += isinstance(event, ev.StepEnded)
            if seen == 20:
                torch.cuda.set_sync_debug_mode("error")
            if seen == 150:
                break
    finally:
        torch.cuda.set_sync_debug_mode("default")
        events.close()  # type: ignore[attr-defined]
    assert seen == 150


BIG = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}


@pytest.fixture
def limited() -> Iterator[Callable[[int], None]]:
    """Sets how many bytes this process may take on the device."""
    total = torch.cuda.get_device_properties(0).total_memory
    yield lambda size: torch.cuda.set_per_process_memory_fraction(size / total)
    torch.cuda.set_per_process_memory_fraction(1.0)


def _peak(events: list[ev.Event]) -> int:
    end = events[-1]
    assert isinstance(end, ev.Ended)
    assert end.result
    return end.result.peak_memory_bytes


def test_out_of_memory_halves_the_micro_batch_and_changes_no_step(make, limited):
    fields = {"precision": "fp32", "dropout": 0.0, "n": 512, "longest": 512, "batch_size": 64, "epochs": 1.0, "sizes": BIG}
    free = list(finetune(make("free", **fields)))
    peak = _peak(free)
    torch.cuda.empty_cache()
    parts = make("tight", **fields)
    began = torch.cuda.memory_allocated()
    limited(began + 40 * MB + (peak - began) // 2)
    tight = list(finetune(parts))
    shrunk = [event for event in tight if isinstance(event, ev.MemoryShrunk)]
    assert shrunk
    assert shrunk[-1].micro_batch_size < 64
    found, right = steps_of(tight), steps_of(free)
    assert found.keys() == right.keys()
    assert [loss for loss, _ in found.values()] == pytest.approx([loss for loss, _ in right.values()], rel=1e-3)
    assert tight[-1].state == "finished"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_estimate_is_near_what_is_taken(make, precision, layout):
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    sizes = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536, "num_hidden_layers": 6}
    events = list(
        finetune(make(precision=precision, layout=layout, n=256, longest=256, fixed=True, batch_size=64, epochs=2.0, sizes=sizes))
    )
    started = next(event for event in events if isinstance(event, ev.Started))
    foretold, taken = started.provenance["estimated_memory"]["total"], _peak(events) - before
    print(
        precision, layout, f"foretold {foretold / MB:.0f} MB, taken {taken / MB:.0f} MB", started.provenance["estimated_memory"]
    )
    assert 0.6 < taken / foretold < 1.5


def test_what_is_free_on_the_device_is_known():
    free = estimate.free_bytes(torch.device("cuda"))
    assert free is not None
    assert 0 < free <= torch.cuda.get_device_properties(0).total_memory


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_fifty_steps_have_the_losses_of_the_cpu(make, precision):
    fields = {"dropout": 0.0, "n": 400, "learning_rate": 1e-4}
    found = steps_of(list(finetune(make("here", precision=precision, **fields))))
    there = make("there", precision="fp32", layout="padded", **fields)
    there.model.cpu()
    right = steps_of(list(finetune(there)))
    apart = max(abs(a - b) for (a, _), (b, _) in zip(found.values(), right.values(), strict=True))
    assert len(found) == 50
    assert apart < (1e-4 if precision == "fp32" else 2e-2)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert", "llama"])
def test_recorded_steps_are_the_plain_ones_to_the_bit(make, monkeypatch, precision, family):
    """Over evaluations and best models, which take the weights elsewhere for a while."""
    replays = []
    replay = graphs._Recording.replay
    monkeypatch.setattr(graphs._Recording, "replay", lambda self, given: (replays.append(1), replay(self, given))[1])
    fields = {"precision": precision, "family": family, "eval_every": 5, "weight_decay": 0.1}
    recorded = make("recorded", **fields)
    found = list(finetune(recorded))
    assert len(replays) == 24  # all but the smaller batch that ends each epoch
    monkeypatch.setattr(graphs, "fits", lambda *_: False)
    plain = make("plain", **fields)
    right = list(finetune(plain))
    assert len(replays) == 24
    assert steps_of(found) == steps_of(right)
    assert [e.metrics for e in found if isinstance(e, ev.EvalEnded)] == [e.metrics for e in right if isinstance(e, ev.EvalEnded)]
    for a, b in zip(recorded.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_where_a_step_cannot_be_recorded_it_is_done_as_usual(make, monkeypatch):
    right = steps_of(list(finetune(make("right", max_steps=5))))

    def fails(*arguments):
        kept(*arguments)
        raise RuntimeError("no")

    kept = graphs._loss
    monkeypatch.setattr(graphs, "_loss", fails)
    assert steps_of(list(finetune(make("failing", max_steps=5)))) == right
