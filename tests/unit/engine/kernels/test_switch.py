import itertools

import pytest
import torch

from fm_notebook.engine.kernels import switch

SUBSETS = [set(which) for n in range(4) for which in itertools.combinations(switch.ALL, n)]


@pytest.mark.parametrize("which", SUBSETS, ids=lambda which: "+".join(sorted(which)) or "none")
def test_every_choice_has_the_same_gradient_without_dropout(tiny, which):
    plain, mine = tiny.model(), tiny.model()
    before = {name: set(vars(module)) for name, module in mine.named_modules()}
    undo = switch.enable(mine, seed=0, which=which)
    for model in (plain, mine):
        tiny.loss(model, tiny.batch(0), read=True).backward()
    for (name, right), found in zip(plain.named_parameters(), mine.parameters(), strict=True):
        torch.testing.assert_close(found.grad, right.grad, rtol=1e-4, atol=1e-6, msg=name)
    undo()
    assert {name: set(vars(module)) for name, module in mine.named_modules()} == before


def test_a_run_cut_in_two_repeats_every_bit_of_the_whole(tiny):
    whole = tiny.model(0.2)
    switch.enable(whole, seed=4)
    steps = Steps(tiny, whole)
    right = [steps.take(i) for i in range(8)]
    first = tiny.model(0.2)
    undo = switch.enable(first, seed=4)
    steps = Steps(tiny, first)
    found = [steps.take(i) for i in range(4)]
    generator, weights, moments = torch.get_rng_state(), first.state_dict(), steps.optimizer.state_dict()
    undo()
    resumed = tiny.model(0.2)
    resumed.load_state_dict(weights)
    switch.enable(resumed, seed=4)
    steps = Steps(tiny, resumed)
    steps.optimizer.load_state_dict(moments)
    torch.set_rng_state(generator)
    found += [steps.take(i) for i in range(4, 8)]
    assert found == right


class Steps:
    def __init__(self, tiny, model):
        self.tiny, self.model = tiny, model
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        torch.manual_seed(9)

    def take(self, i: int) -> float:
        loss = self.tiny.loss(self.model, self.tiny.batch(i), "bf16", read=True)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())


def test_layers_by_hand_draw_from_the_same_pool(tiny):
    switch.enable(model := tiny.model(0.2), seed=4)
    assert all(layer.forward.args[1].pool is model.mask_pool for layer in model.bert.encoder.layer)
