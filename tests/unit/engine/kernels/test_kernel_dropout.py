import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from fm_notebook.engine.kernels.dropout import MaskPool, drop, enable

RATE = 0.1


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1])


def test_a_mask_drops_at_its_rate_and_keeps_the_mean():
    mask = MaskPool(0).mask((500, 1000), RATE)
    assert float((mask == 0).float().mean()) == pytest.approx(RATE, abs=4 * (RATE * (1 - RATE) / mask.numel()) ** 0.5)
    assert mask.unique().tolist() == pytest.approx([0, 1 / (1 - RATE)])
    assert MaskPool(0).mask((20, 10), 0.5, torch.bfloat16).dtype == torch.bfloat16


def test_rows_columns_and_calls_are_not_correlated():
    torch.manual_seed(0)
    pool = MaskPool(0)
    first, second = pool.mask((400, 500), RATE), pool.mask((400, 500), RATE)
    bound = 4.5 / (400 * 499) ** 0.5
    assert abs(correlation(first[:-1], first[1:])) < bound
    assert abs(correlation(first[:, :-1], first[:, 1:])) < bound
    assert abs(correlation(first, second)) < bound


def test_rows_and_columns_are_dropped_at_the_same_rate():
    torch.manual_seed(0)
    mask = MaskPool(0).mask((400, 500), RATE) == 0
    for share, n in ((mask.float().mean(0), 400), (mask.float().mean(1), 500)):
        spread = float(share.var()) / (RATE * (1 - RATE) / n)
        assert 0.7 < spread < 1.3  # binomial: neither clumped nor regular


def test_a_mask_larger_than_the_pool_has_the_rate_too():
    mask = MaskPool(0, size=1 << 12).mask((7, 9000), RATE)
    assert mask.shape == (7, 9000)
    assert float((mask == 0).float().mean()) == pytest.approx(RATE, abs=0.02)
    assert MaskPool(0).mask((0, 5), RATE).shape == (0, 5)


def test_torchs_generator_and_the_seed_repeat_every_mask():
    pool = MaskPool(5)
    state = torch.get_rng_state()
    first = [pool.mask((30, 40), RATE) for _ in range(3)]
    torch.set_rng_state(state)
    again = MaskPool(5)  # another process, resumed
    assert all(torch.equal(mask, again.mask((30, 40), RATE)) for mask in first)
    torch.set_rng_state(state)
    assert not torch.equal(first[0], MaskPool(6).mask((30, 40), RATE))


def test_enabled_modules_use_the_pool_while_they_train():
    model = torch.nn.Sequential(torch.nn.Linear(40, 40), torch.nn.Dropout(0.5))
    undo = enable(model, MaskPool(0))
    x = torch.ones(30, 40)
    torch.manual_seed(1)
    found = model[1](x)
    torch.manual_seed(1)
    assert torch.equal(found, MaskPool(0).mask((30, 40), 0.5))
    torch.manual_seed(1)
    assert torch.equal(drop(x, 0.5, model[0]), found)
    assert torch.equal(model.eval()[1](x), x)
    undo()
    torch.manual_seed(1)
    assert not torch.equal(model.train()[1](x), found)
    assert "forward" not in vars(model[1])
    assert not hasattr(model[0], "mask_pool")


def test_gradient_checkpointing_draws_the_same_mask_again():
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 8))
    enable(model, MaskPool(0))
    found = []
    for forward in (model, lambda x: checkpoint(model, x, use_reentrant=False)):
        torch.manual_seed(1)
        x = torch.ones(5, 8, requires_grad=True)
        forward(x).square().sum().backward()
        found.append(x.grad)
    assert torch.equal(*found)


def test_without_dropout_losses_are_the_same_bits(tiny):
    enable(model := tiny.model(0.0), MaskPool(0))
    assert tiny.train(model) == tiny.train(tiny.model(0.0))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_twice_the_same_bits(tiny, precision):
    losses = []
    for _ in range(2):
        enable(model := tiny.model(0.3), MaskPool(0))
        losses.append(tiny.train(model, 10, precision=precision))
    assert losses[0] == losses[1]
    assert losses[0] != tiny.train(tiny.model(0.3), 10, precision=precision)
