"""The optimiser and schedules are the Trainer's."""

import pytest
import torch
import transformers

from fm_notebook.engine import optim

ORACLES = {
    "linear": transformers.get_linear_schedule_with_warmup,
    "cosine": transformers.get_cosine_schedule_with_warmup,
    "constant": lambda optimizer, warmup, total: transformers.get_constant_schedule_with_warmup(optimizer, warmup),
}


@pytest.mark.parametrize("kind", ORACLES)
@pytest.mark.parametrize(("asked", "steps"), [(0, 0), (5, 5), (0.1, 3), (0.11, 4)])
def test_schedules_equal_those_of_transformers(kind, asked, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    oracle = ORACLES[kind](optimizer, steps, 30)
    ours = optim.schedule(kind, 0.5, asked, 30)
    for step in range(30):
        assert ours(step) == pytest.approx(oracle.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        oracle.step()


def test_the_same_parameters_decay_as_in_trainer(make_parts):
    from transformers import Trainer

    model = make_parts().model
    decayed = {id(p) for p in optim.parameter_groups(model, 0.1)[0]["params"]}
    names = {name for name, p in model.named_parameters() if id(p) in decayed}
    assert names == set(Trainer.get_decay_parameter_names(None, model))


def test_frozen_parameters_are_in_no_group(make_parts):
    model = make_parts().model
    model.bert.requires_grad_(False)
    groups = optim.parameter_groups(model, 0.1)
    assert sum(len(group["params"]) for group in groups) == 2


def test_moments_that_exist_from_the_start_change_nothing():
    torch.manual_seed(0)
    start, grads = torch.randn(4, 3), torch.randn(5, 4, 3)
    ours, plain = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    first = optim.adamw([{"params": [ours], "weight_decay": 0.1}], 0.01)
    second = torch.optim.AdamW([plain], lr=0.01, weight_decay=0.1)
    for grad in grads:
        for p, optimizer in ((ours, first), (plain, second)):
            p.grad = grad.clone()
            optimizer.step()
    torch.testing.assert_close(ours, plain, atol=1e-7, rtol=1e-6)
