"""How much a run takes."""

import sys

import pytest
import torch

from fm_notebook.engine import memory

CPU = torch.device("cpu")


def test_memory_in_use_grows_with_what_is_allocated():
    before = memory.used(CPU)
    held = torch.ones(20_000_000)
    assert memory.used(CPU) - before > 70_000_000
    assert held.sum() > 0


def test_the_peak_remembers_what_was_given_back():
    peak = memory.Peak(CPU)
    held = torch.ones(40_000_000)
    seen = peak.see()
    del held
    assert peak.bytes >= seen


def test_only_lack_of_memory_counts_as_such():
    assert memory.is_out_of_memory(torch.OutOfMemoryError("no room"))
    assert memory.is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert memory.is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    assert memory.is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert memory.is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert not memory.is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not memory.is_out_of_memory(ValueError("can't allocate memory"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is that of the process's life")
def test_a_peak_before_is_forgotten():
    held = torch.ones(60_000_000)
    del held
    assert memory.Peak(CPU).bytes < memory.used(CPU) + 100_000_000
