"""Kernels that repeat their bits are asked for on a GPU, for as long as they are there; what was set is set again."""

import pytest
import torch

from fm_notebook.engine import determinism
from fm_notebook.engine.determinism import Repeatable


@pytest.fixture
def on_gpu(monkeypatch) -> Repeatable:
    monkeypatch.setattr(determinism, "prepare", lambda device: None)
    return Repeatable(torch.device("cuda"))


def test_they_are_taken_within_and_not_after(on_gpu):
    assert not torch.are_deterministic_algorithms_enabled()
    with on_gpu.kernels():
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_on_the_cpu_nothing_is_set():
    repeatable = Repeatable(torch.device("cpu"))
    with repeatable.kernels():
        assert not torch.are_deterministic_algorithms_enabled()
    assert not repeatable.gives_up(RuntimeError("cumsum does not have a deterministic implementation"))


def test_where_there_is_none_it_does_without(on_gpu):
    assert not on_gpu.gives_up(RuntimeError("shapes do not fit"))
    assert on_gpu.gives_up(RuntimeError("cumsum_cuda_kernel does not have a deterministic implementation"))
    with on_gpu.kernels():
        assert not torch.are_deterministic_algorithms_enabled()


def test_a_step_that_had_no_such_kernel_is_done_again_from_the_same_random_numbers(make_parts, on_gpu):
    from fm_notebook.engine.run import Run

    expected = Run(make_parts("right"))
    right = expected.try_gradient(expected.batch())
    run = Run(make_parts("run"))  # begins with the seed anew
    run.repeatable, usual = on_gpu, run.step_function
    calls = []

    def once(*arguments):
        calls.append(1)
        found = usual(*arguments)
        if len(calls) == 1:
            raise RuntimeError("no deterministic implementation")
        return found

    run.step_function = once
    found = run.try_gradient(run.batch())
    assert len(calls) == 2
    assert found is not None
    assert right is not None
    assert [float(x) for x in found] == [float(x) for x in right]
