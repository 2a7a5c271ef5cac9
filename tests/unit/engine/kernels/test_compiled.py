"""The C functions against torch's operators, and layers built of them against the models' own."""

import subprocess
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from fm_notebook.engine.kernels import bert_layer, switch
from fm_notebook.engine.kernels.compiled import building
from fm_notebook.engine.kernels.compiled import layer as compiled
from fm_notebook.engine.kernels.compiled.operations import NO_DROPOUT, Dropout, Operations, Texts, operations

needs_them = pytest.mark.skipif(operations() is None, reason="needs gcc and a CPU with AVX512-BF16")
ROUNDING = 2**-7  # of a bf16, relative, with room for a sum of some


def draws(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale).bfloat16()


def texts(lengths: list[int], tail: int = 13) -> tuple[Texts, int]:
    ends = np.cumsum([0, *lengths, tail])
    return Texts(len(lengths), torch.tensor(ends, dtype=torch.int32), max(lengths)), int(ends[-1])


def close(found: torch.Tensor, right: torch.Tensor, bound: float = ROUNDING) -> None:
    torch.testing.assert_close(found.float(), right.float(), rtol=bound, atol=bound * float(right.detach().abs().max()))


@pytest.fixture
def do() -> Operations:
    found = operations()
    assert found is not None
    return found


@needs_them
def test_gelu_is_torchs_within_the_rounding_of_its_result(do):
    x = torch.cat([draws(64, 32, scale=3), torch.tensor([[0.0, -0.0, 1e-30, -1e-30, 80.0, -80.0, 5.5, -5.5] * 4]).bfloat16()])
    given = x.float().requires_grad_()
    right = F.gelu(given)
    torch.testing.assert_close(do.gelu(x).float(), right, rtol=2**-8, atol=1e-6)
    gradient = draws(65, 32, seed=1)
    right.backward(gradient.float())
    torch.testing.assert_close(do.gelu_backward_(x, gradient.clone()).float(), given.grad, rtol=2**-8, atol=1e-6)


@needs_them
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_sum_and_normalisation_are_torchs_under_the_same_mask(do, rate):
    norm = torch.nn.LayerNorm(48)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x, added, more = draws(37, 48).float().requires_grad_(), draws(37, 48, seed=1), draws(37, 48, seed=2)
    dropout = Dropout(rate, 2**63 - 25)
    made = do.add_and_norm(x.detach(), added, norm, dropout)
    mask = ((made.total - x.detach()) / added.float()).round(decimals=2)
    assert mask[added.abs() > 0.1].unique().tolist() == pytest.approx([0.0, 1.43] if rate else [1.0])
    also = added.float().requires_grad_()
    mask = torch.where(mask.abs() < 0.5, 0.0, 1 / (1 - rate))
    y = norm(x + also * mask)
    torch.testing.assert_close(made.y, y)
    close(made.rounded, y, 2**-8)
    dy = draws(37, 48, seed=3).float()
    y.backward(dy + more.float())
    dx, dadded, dweight, dbias = do.add_and_norm_backward(dy, more, (made.total, made.moments), norm, dropout)
    for found, right in ((dx, x.grad), (dweight, norm.weight.grad), (dbias, norm.bias.grad)):
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)
    close(dadded, also.grad, 2**-8)


@needs_them
def test_sums_are_torchs(do):
    x, to = draws(70, 64), draws(70, 64, seed=1).float()
    torch.testing.assert_close(do.column_sums(x), x.float().sum(0), rtol=1e-5, atol=1e-5)
    right = to + x.float()
    do.add_rounded_(to, x)
    assert to.equal(right)


LENGTHS = [1, 2, 5, 16, 17, 31, 32, 33, 64, 70, 3]


def attention(qkv: torch.Tensor, lengths: list[int], heads: int, masks: list[torch.Tensor] | None = None) -> torch.Tensor:
    """By torch's operators in fp32; `masks`, one a text, multiply the weights."""
    found, ends = [], np.cumsum([0, *lengths])
    for i, (start, end) in enumerate(pairwise(ends)):
        q, k, v = (part.unflatten(1, (heads, -1)).transpose(0, 1) for part in qkv[start:end].chunk(3, 1))
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        found.append(((weights if masks is None else weights * masks[i]) @ v).transpose(0, 1).flatten(1))
    return torch.cat([*found, qkv.new_zeros(len(qkv) - ends[-1], qkv.shape[1] // 3)])


@needs_them
@pytest.mark.parametrize(("heads", "depth"), [(2, 16), (3, 32), (2, 64)])
def test_attention_and_its_gradient_are_torchs_within_each_text(do, heads, depth):
    where, rows = texts(LENGTHS)
    qkv, gradient = draws(rows, 3 * heads * depth), draws(rows, heads * depth, seed=1)
    given = qkv.float().requires_grad_()
    right = attention(given, LENGTHS, heads)
    close(do.attend(qkv, where, heads), right)
    right.backward(gradient.float())
    assert given.grad is not None
    found = do.attend_backward(qkv, gradient, where, heads, NO_DROPOUT)
    for mine, theirs in zip(found.chunk(3, 1), given.grad.chunk(3, 1), strict=True):
        close(mine, theirs)
    assert not found[sum(LENGTHS) :].any()


@needs_them
def test_attention_under_dropout_has_the_gradient_of_its_mask(do):
    lengths, heads, depth = [3, 16, 7], 2, 16
    where, rows = texts(lengths)
    qkv, gradient, dropout = draws(rows, 3 * heads * depth), draws(rows, heads * depth, seed=1), Dropout(0.4, 77)
    seen = qkv.clone()  # unit vectors as values show the weights themselves
    seen[:, 2 * heads * depth :] = 0
    for start, end in pairwise(where.bounds.tolist()[:-1]):
        for head in range(heads):
            at = torch.arange(end - start)
            seen[start + at, (2 * heads + head) * depth + at] = 1
    shown, whole = (do.attend(seen, where, heads, each).float() for each in (dropout, NO_DROPOUT))
    masks = [
        torch.stack([((shown[s:e] > 0) / 0.6)[:, h * depth : h * depth + e - s] for h in range(heads)])
        for s, e in pairwise(where.bounds.tolist()[:-1])
    ]
    kept = shown > 0
    close(shown[kept], whole[kept] / 0.6)
    given = qkv.float().requires_grad_()
    right = attention(given, lengths, heads, masks)
    close(do.attend(qkv, where, heads, dropout), right)
    right.backward(gradient.float())
    assert given.grad is not None
    close(do.attend_backward(qkv, gradient, where, heads, dropout), given.grad)


@needs_them
def test_dropout_keeps_its_share_everywhere_and_no_two_seeds_alike(do):
    norm, n, width = torch.nn.LayerNorm(256), 512, 256
    ones, zeros = torch.ones(n, width).bfloat16(), torch.zeros(n, width)
    kept = torch.stack([do.add_and_norm(zeros, ones, norm, Dropout(0.1, seed)).total > 0 for seed in range(8)]).double()
    assert float(kept.mean()) == pytest.approx(0.9, abs=4 * 0.3 / (8 * n * width) ** 0.5)
    deviation = 0.3 / (8 * n) ** 0.5
    assert float((kept.mean((0, 1)) - 0.9).abs().max()) < 5 * deviation  # no column is dropped more often than another
    rows = (kept - 0.9).flatten(0, 1)
    for other in (rows.roll(1, 0), rows.roll(1, 1), rows.roll(n, 0)):  # next row, next column, next seed
        assert abs(float((rows * other).mean()) / 0.09) < 5 / rows.numel() ** 0.5


@needs_them
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_bits_with_any_number_of_threads(do, threads):
    where, rows = texts(LENGTHS)
    qkv, gradient, before = draws(rows, 96), draws(rows, 32, seed=1), torch.get_num_threads()
    norm, dropout = torch.nn.LayerNorm(32), Dropout(0.2, 5)

    def all_of_it() -> list[torch.Tensor]:
        made = do.add_and_norm(gradient.float(), gradient, norm, dropout)
        back = do.add_and_norm_backward(gradient.float(), None, (made.total, made.moments), norm, dropout)
        return [
            do.attend(qkv, where, 2, dropout), do.attend_backward(qkv, gradient, where, 2, dropout), *made, *back,
            do.column_sums(qkv),
        ]  # fmt: skip

    try:
        torch.set_num_threads(1)
        right = all_of_it()
        torch.set_num_threads(threads)
        assert all(a.equal(b) for a, b in zip(all_of_it(), right, strict=True))
    finally:
        torch.set_num_threads(before)


@needs_them
def test_what_is_no_number_stays_none(do):
    where, rows = texts([5, 4])
    qkv = draws(rows, 96)
    qkv[2, 0] = torch.nan
    assert do.attend(qkv, where, 2)[:5].isnan().any()
    assert not do.attend(qkv, where, 2)[5:].isnan().any()
    bad = torch.tensor([[torch.nan, torch.inf] * 8]).bfloat16()
    assert do.gelu(bad)[0, 0].isnan()
    assert do.add_and_norm(torch.zeros(1, 16), bad, torch.nn.LayerNorm(16)).y.isnan().any()


# ---- layers -------------------------------------------------------------------------------------------------------------------


def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    forward = compiled.forward
    monkeypatch.setattr(compiled, "forward", lambda *args: (found.append(1), forward(*args))[1])
    return found


def gradients(model: Any) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def distance(found: torch.Tensor, right: torch.Tensor) -> float:
    return float((found - right).norm() / right.norm())


@needs_them
@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("batches", [1, 2])  # the second adds to the first one's gradients
def test_gradients_are_as_close_to_fp32_as_autocasts(tiny, do, monkeypatch, read, batches):
    exact, autocast, mine = (tiny.model() for _ in range(3))
    bert_layer.enable(mine, operations=do)
    seen = calls(monkeypatch)
    for model, precision in ((exact, "fp32"), (autocast, "bf16"), (mine, "bf16")):
        for i in range(batches):
            tiny.loss(model, tiny.batch(i), precision, read=read and model is mine).backward()
    assert len(seen) == 2 * batches
    assert distance(gradients(mine), gradients(exact)) < 1.3 * distance(gradients(autocast), gradients(exact))


@needs_them
def test_rows_may_come_in_any_layout_of_memory(tiny, do):
    model, (_, plan, _) = tiny.model().eval(), tiny.batch(0)
    parts = bert_layer._parts(model.bert.encoder.layer[0], None)
    x = draws(32, len(plan.positions)).float().t()
    with torch.no_grad():
        found, right = (
            compiled.forward(each, compiled.call(parts, do, plan, None, training=False))[0] for each in (x, x.contiguous())
        )
    assert found[: plan.tokens].equal(right[: plan.tokens])


@needs_them
def test_it_trains_as_without_it(tiny, do):
    bert_layer.enable(mine := tiny.model(), operations=do)
    found, right = (tiny.train(model, precision="bf16", micro=2) for model in (mine, tiny.model()))
    assert found == pytest.approx(right, abs=2e-3)
    assert right[-1] < right[0] - 0.02


@needs_them
def test_scores_are_closer_to_fp32_than_those_of_rounded_weights_alone(tiny, do, monkeypatch):
    model, found = tiny.model().eval(), SimpleNamespace()
    seen = calls(monkeypatch)
    with torch.no_grad():
        found.exact = tiny.loss(model, tiny.batch(0))
        with switch.while_scoring(model, "bf16"):
            found.mine = tiny.loss(model, tiny.batch(0), "bf16")
        assert len(seen) == 2
        monkeypatch.setattr(switch, "operations", lambda: None)
        with switch.while_scoring(model, "bf16"):
            found.rounded = tiny.loss(model, tiny.batch(0), "bf16")
        assert len(seen) == 2
    assert abs(found.mine - found.exact) < 5e-3
    assert "forward" not in vars(model.bert.encoder.layer[0])


@needs_them
def test_left_to_torch_in_fp32_and_for_widths_of_no_sixteen(tiny, do, monkeypatch):
    seen = calls(monkeypatch)
    for model, precision in ((tiny.model(), "fp32"), (tiny.model(intermediate_size=40), "bf16")):
        bert_layer.enable(model, operations=do)
        tiny.loss(model, tiny.batch(0), precision).backward()
        assert model.bert.encoder.layer[0].output.dense.weight.grad is not None
    assert not seen


# ---- building -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    monkeypatch.setattr(building, "folder", lambda: tmp_path / "compiled")
    building.library.cache_clear()
    yield tmp_path / "compiled"
    building.library.cache_clear()


@needs_them
def test_it_is_built_once_and_built_anew_for_other_sources(fresh, monkeypatch, tmp_path):
    assert building.library() is not None
    (made,) = fresh.iterdir()
    monkeypatch.setattr(subprocess, "run", None)  # nothing is compiled again
    building.library.cache_clear()
    assert building.library() is not None
    monkeypatch.undo()
    monkeypatch.setattr(building, "folder", lambda: fresh)
    other = tmp_path / "more.c"
    other.write_text("int more(void) { return 3; }\n")
    monkeypatch.setattr(building, "SOURCES", (*building.SOURCES, other))
    building.library.cache_clear()
    found = building.library()
    assert found is not None
    assert found.more() == 3
    assert made in fresh.iterdir()


def test_without_a_compiler_or_with_a_broken_one_there_is_none(fresh, monkeypatch, tmp_path):
    monkeypatch.setattr(building.shutil, "which", lambda name: None)
    assert building.library() is None
    broken = tmp_path / "gcc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(building.shutil, "which", lambda name: str(broken))
    building.library.cache_clear()
    assert building.library() is None
    assert not list(fresh.glob("*.so"))


def test_another_processor_has_none(fresh, monkeypatch):
    monkeypatch.setattr(building, "_flags", lambda: {"fma", "avx2"})
    assert building.library() is None
    assert not fresh.exists()
