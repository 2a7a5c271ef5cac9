"""What is estimated is what autograd keeps, what the optimiser allocates, and what is said when it is too much."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)  # fmt: skip

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import IGNORED
from fm_notebook.engine import estimate as module
from fm_notebook.engine import families, optim
from fm_notebook.engine.batching import Budget, Examples
from fm_notebook.engine.estimate import estimate, fullest, note
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.kernels import switch
from fm_notebook.engine.loop import finetune
from fm_notebook.engine.step import weighted_loss
from fm_notebook.engine.tokens import Tokens
from fm_notebook.tasks.text_classification import task

CPU = torch.device("cpu")
SIZES: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4, "num_hidden_layers": 3}


def examples_of(lengths, level: Any = "text") -> Examples:
    lengths = np.asarray(lengths, np.int64)
    total = int(lengths.sum())
    ids = np.random.default_rng(0).integers(5, 90, total).astype(np.int32)
    n = total if level == "token" else len(lengths)
    tokens = Tokens(ids, np.concatenate([[0], np.cumsum(lengths)]), None, 0, 512, 0, 0, total)
    return Examples(tokens, np.zeros(n, np.int64), np.ones(n, np.float32), np.arange(len(lengths)), level)


def bert(**fields) -> Any:
    return BertForSequenceClassification(BertConfig(vocab_size=100, **{**SIZES, **fields}))


def gpt2(**fields) -> Any:
    names = {
        "n_embd": "hidden_size",
        "n_inner": "intermediate_size",
        "n_head": "num_attention_heads",
        "n_layer": "num_hidden_layers",
    }
    sizes = {**SIZES, **fields}
    return GPT2ForSequenceClassification(GPT2Config(vocab_size=100, pad_token_id=0, **{k: sizes[v] for k, v in names.items()}))


def llama(**fields) -> Any:
    return LlamaForSequenceClassification(LlamaConfig(vocab_size=100, pad_token_id=0, **{**SIZES, **fields}))


def kept(model: Any, examples: Examples, forward: Forward) -> int:
    """Bytes of the tensors that autograd keeps for the backward pass, but for the weights."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        weighted_loss(model, task, examples.batch(np.arange(len(examples))), forward)
    return sum(size for size, _ in found.values())


@pytest.mark.parametrize("lengths", [[16] * 32, [128] * 4])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("make", "layout", "kernels"),
    [(bert, "packed", True), (bert, "packed", False), (bert, "padded", False), (gpt2, "packed", False), (llama, "packed", False),
     (llama, "padded", False)],
)  # fmt: skip
def test_a_layer_keeps_what_is_estimated_within_a_quarter(make, layout, kernels, precision, lengths):
    """Of two depths the difference: embeddings, head and the pool of dropout masks are no layer's."""
    examples, forward, found = examples_of(lengths), Forward(precision, layout), []
    for depth in (1, 3):
        model = make(num_hidden_layers=depth)
        if layout == "packed":
            families.enable(model)
        if kernels:
            switch.enable(model, 0)
        guess = estimate(model, examples, Budget(32, 4096), forward, 32)
        found.append((guess.activations + guess.casts, kept(model, examples, forward)))
    (few, few_kept), (many, many_kept) = found
    assert many - few == pytest.approx(many_kept - few_kept, rel=0.25)


def test_gradients_and_moments_are_those_of_the_optimiser():
    model = bert()
    for p in model.bert.embeddings.parameters():
        p.requires_grad = False
    optimizer = optim.adamw(optim.parameter_groups(model, 0.0), 1e-3)
    found = estimate(model, examples_of([8] * 4), Budget(4, 64), Forward("fp32"), 4)
    moments = [v for state in optimizer.state.values() for name, v in state.items() if name != "step"]
    assert found.optimizer == sum(v.numel() * 4 for v in moments)
    assert found.gradients == sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
    assert found.weights == sum(p.numel() * 4 for p in model.parameters())


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks for an attribute by its old name
def test_an_adapter_trains_few_weights_but_keeps_the_activations():
    full = estimate(bert(), examples_of([8] * 4), Budget(4, 64), Forward("fp32"), 4)
    adapted = get_peft_model(bert(), LoraConfig(r=2, target_modules=["query", "value"], task_type="SEQ_CLS"))
    found = estimate(adapted, examples_of([8] * 4), Budget(4, 64), Forward("fp32"), 4)
    assert found.gradients < full.gradients / 20
    assert found.activations == full.activations


def test_a_frozen_backbone_keeps_nothing():
    model = bert()
    for p in model.base_model.parameters():
        p.requires_grad = False
    assert estimate(model, examples_of([8] * 4), Budget(4, 64), Forward("fp32"), 4).activations == 0


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_checkpointing_keeps_one_layer_and_the_inputs_of_the_others():
    plain, saving = bert(num_hidden_layers=12), bert(num_hidden_layers=12)
    saving.gradient_checkpointing_enable()
    most, least = (estimate(m, examples_of([16] * 4), Budget(4, 64), Forward("fp32"), 4).activations for m in (plain, saving))
    assert least == most // 12 + 12 * 4 * 64 * 64


def test_logits_of_a_vocabulary_count_at_the_places_that_have_a_target():
    model = BertForMaskedLM(BertConfig(vocab_size=5000, **SIZES))
    examples = examples_of([16] * 8, "token")
    targets = np.where(np.arange(128) % 4 == 0, 7, IGNORED)
    found = estimate(model, replace(examples, targets=targets), Budget(8, 128), Forward("fp32"), 4)
    assert found.logits == 32 * 5000 * 4 * module.COPIES


@pytest.mark.parametrize(
    ("budget", "padded", "expected"),
    [((8, 1000), False, [30, 20, 10, 5]), ((2, 1000), False, [30, 20]), ((8, 55), False, [30, 20]), ((8, 10), False, [30]),
     ((8, 1000), True, [32] * 4), ((8, 70), True, [32, 32])],
)  # fmt: skip
def test_the_fullest_micro_batch_has_the_longest_texts(budget, padded, expected):
    assert fullest(examples_of([5, 30, 10, 20]), Budget(*budget), padded=padded).tolist() == expected


def test_what_does_not_fit_is_said_with_both_numbers(monkeypatch):
    found = estimate(bert(), examples_of([16] * 4), Budget(4, 64), Forward("fp32"), 4)
    to_come = found.to_come(CPU, resumed=False)
    monkeypatch.setattr(module, "free_bytes", lambda device: to_come)
    assert note(found, CPU, resumed=False) is None
    monkeypatch.setattr(module, "free_bytes", lambda device: to_come - 1)
    said = note(found, CPU, resumed=False)
    assert said is not None
    assert (said.key, said.level) == ("memory_tight", "warning")
    assert said.values["needed"] == round(to_come / 1e6)


def test_gradients_lie_beside_activations_only_where_a_step_is_several_micro_batches():
    once, several = (estimate(bert(), examples_of([16] * 4), Budget(n, 64), Forward("fp32"), 4) for n in (4, 2))
    assert once.total == once.weights + once.optimizer + max(once.gradients, once.activations + once.logits)
    assert several.total == several.weights + several.optimizer + several.gradients + several.activations + several.logits


def test_weights_are_there_already_and_moments_after_a_resume():
    found = estimate(bert(), examples_of([16] * 4), Budget(4, 64), Forward("fp32"), 4)
    assert found.to_come(CPU, resumed=False) == found.total - found.weights
    assert found.to_come(CPU, resumed=True) == found.total - found.weights - found.optimizer


def test_a_run_warns_before_its_first_batch_and_records_the_estimate(make_parts, monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda device: 0)
    events = list(finetune(make_parts(max_steps=1)))
    keys = [event.key if isinstance(event, ev.Noted) else event.type for event in events]
    assert keys.index("memory_tight") < keys.index("Started")
    started = next(event for event in events if isinstance(event, ev.Started))
    assert started.provenance["estimated_memory"]["weights"] == 4 * started.parameters


def test_a_save_holds_weights_and_moments_and_weights_again():
    model = bert()
    for p in model.bert.embeddings.parameters():
        p.requires_grad = False
    trained = sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
    assert module.saves(model) == 4 * trained
    assert module.saves(model, 1000) == 4 * trained + 1000
    found, plain = (estimate(model, examples_of([8] * 4), Budget(4, 64), Forward("fp32"), 4, saves=n) for n in (500, 0))
    assert found.total - plain.total == 250  # half of the smaller, as a step holds more


def test_overhead_is_what_the_process_holds_beside_the_model(monkeypatch):
    model = bert()
    weights = sum(p.numel() * 4 for p in model.parameters())
    monkeypatch.setattr(module, "used", lambda device: 7_000_000 + weights + 123)
    assert module.overhead(model, 7_000_000) == 123 + module.LATER
    assert module.overhead(model, 7_000_000 + weights + 456) == module.LATER
    assert module.overhead(model, None) == 0


def test_overhead_counts_with_a_fifth_of_the_activations_and_is_there_before():
    found, plain = (estimate(bert(), examples_of([16] * 4), Budget(4, 64), Forward("fp32"), 4, overhead=n) for n in (1000, 0))
    assert found.total - plain.total == 1000 + plain.activations // 5
    assert found.to_come(CPU, resumed=False) == plain.to_come(CPU, resumed=False)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapted_layer_keeps_what_it_keeps_without_kernels():
    """Kernels of whole layers fit none of them; that of the last layer still does."""
    adapted = get_peft_model(bert(), LoraConfig(r=2, target_modules=["query", "value"], task_type="SEQ_CLS"))
    families.enable(adapted)
    before = estimate(adapted, examples_of([16] * 4), Budget(4, 64), Forward("fp32", "packed"), 4).activations
    switch.enable(adapted, 0)
    assert estimate(adapted, examples_of([16] * 4), Budget(4, 64), Forward("fp32", "packed"), 4).activations == before
