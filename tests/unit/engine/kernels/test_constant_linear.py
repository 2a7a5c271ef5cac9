"""Constant weights are cast once, and nothing else changes."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM

from fm_notebook.contracts.adapters import LoraSpec
from fm_notebook.engine import adapters
from fm_notebook.engine.kernels import constant_linear


class Casts(TorchDispatchMode):
    """Counts the casts of matrices as wide as the model's layers."""

    def __init__(self, shapes):
        super().__init__()
        self.shapes, self.count = shapes, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and args[0].shape in self.shapes:
            self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=72, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1
    )
    return adapters.adapt(LlamaForCausalLM(config), LoraSpec(rank=2, targets=("q_proj", "v_proj")))


def step(model):
    """Loss and gradients of one step, in bf16."""
    model.zero_grad()
    ids = torch.arange(24).view(2, 12) % 40
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.requires_grad)]


def test_a_step_with_frozen_weights_is_the_same_to_the_bit(model):
    before = step(model)
    undo = constant_linear.enable(model)
    for _ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(step(model), before, strict=True))
    undo()
    assert all(torch.equal(a, b) for a, b in zip(step(model), before, strict=True))


def test_frozen_weights_are_cast_at_the_first_step_alone(model):
    shapes = {p.shape for p in model.parameters() if not p.requires_grad and p.dim() == 2 and p.shape[0] != 40}
    counts = []
    for enabled in (False, True, True):
        undo = constant_linear.enable(model) if enabled and len(counts) == 1 else None
        with Casts(shapes) as casts:
            step(model)
        counts.append(casts.count)
        del undo
    plain, first, second = counts
    assert plain >= first >= 14  # seven projections a layer
    assert second == 0


def test_an_evaluation_before_the_first_step_does_no_harm(model):
    before = step(model)
    constant_linear.enable(model)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        model(input_ids=torch.arange(12)[None])
    assert all(torch.equal(a, b) for a, b in zip(step(model), before, strict=True))


def test_weights_that_learn_are_left_alone(model):
    trained = [each for each in model.modules() if type(each) is torch.nn.Linear and each.weight.requires_grad]
    constant_linear.enable(model)
    assert trained
    assert not any("forward" in vars(each) for each in trained)


def test_for_scoring_all_are_cast_and_without_autocast_nothing_is(model):
    plain = model.merge_and_unload().eval()
    ids = torch.arange(12)[None]
    with torch.inference_mode():
        exact = plain(ids).logits
        with torch.autocast("cpu", torch.bfloat16):
            rounded = plain(ids).logits
        undo = constant_linear.enable(plain, scoring=True)
        assert torch.equal(plain(ids).logits, exact)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(plain(ids).logits, rounded)
    undo()
    assert not any("forward" in vars(each) for each in plain.modules())
