"""Operations counted as by hand."""

import pytest

from fm_notebook.contracts.adapters import LoraSpec
from fm_notebook.engine import adapters, flops
from fm_notebook.engine.loop import finetune


def test_parameters_are_those_of_the_layers_and_heads(make_parts):
    model = make_parts().model
    layer = 4 * (32 * 32 + 32) + (32 * 64 + 64) + (64 * 32 + 32) + 4 * 32
    rest = 2 * 32 + (32 * 32 + 32) + (32 * 2 + 2)  # the embeddings' norm, pooler, classifier
    assert flops.cost_of(model) == flops.Cost(2 * layer + rest, 2 * 32, weights_trained=True)


def test_frozen_weights_need_no_gradient_of_their_own(make_parts):
    adapted = adapters.adapt(make_parts().model, LoraSpec(rank=2))
    assert not flops.cost_of(adapted).weights_trained
    assert flops.Cost(100, 8, weights_trained=False).training(10, 50) == 4 * 100 * 10 + 12 * 8 * 50


def test_a_run_counts_its_useful_operations(make_parts):
    parts = make_parts()
    result = list(finetune(parts))[-1].result
    lengths = parts.train.tokens.lengths
    expected = flops.cost_of(parts.model).training(2 * lengths.sum(), 2 * (lengths**2).sum())
    assert result.useful_flops_per_second == pytest.approx(expected / result.seconds["train"])
