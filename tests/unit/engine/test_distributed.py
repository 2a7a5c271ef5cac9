"""Two processes against one: the same batches, the same losses, the same end. All runs are made by one pair of processes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fm_notebook.engine import distributed
from fm_notebook.engine.distributed import World
from fm_notebook.errors import JobFailed, ModelError

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("several_processes.py")
FAR = 1e-5


def start(rank: int, size: int, folder: Path, script: str | Path = SCRIPT) -> subprocess.Popen[bytes]:
    who = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1"}
    ours = {"FM_NOTEBOOK_STORE": folder / "store", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    given = {**os.environ, **{name: str(value) for name, value in {**who, **ours}.items()}}
    return subprocess.Popen([sys.executable, str(script), str(folder)], env=given)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """What the first and the second of two processes told."""
    folder = tmp_path_factory.mktemp("pair")
    processes = [start(rank, 2, folder) for rank in range(2)]
    try:
        assert [process.wait(timeout=200) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process told."""
    spec = importlib.util.spec_from_file_location("several_processes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize(("run", "steps"), [("text", 50), ("tokens", 50), ("micro", 12), ("unused", 12), ("different", 12)])
def test_the_steps_have_the_losses_and_gradients_of_one_process(pair, alone, run, steps):
    assert len(alone[run]["losses"]) == steps
    np.testing.assert_allclose(pair[0][run]["losses"], alone[run]["losses"], rtol=0, atol=FAR)
    np.testing.assert_allclose(pair[0][run]["norms"], alone[run]["norms"], rtol=1e-3, atol=1e-4)


def test_all_processes_tell_the_same(pair):
    assert pair[0] == pair[1]


def test_a_parameter_without_gradient_is_not_decayed(pair, alone):
    assert pair[0]["unused"]["unused"] == alone["unused"]["unused"] == [[1.0, 1.0], [1.0, 1.0]]


def test_one_process_without_memory_shrinks_all_and_changes_no_loss(pair, alone):
    run = pair[0]["out_of_memory"]
    assert run["shrunk"] == [2]
    np.testing.assert_allclose(run["losses"], alone["out_of_memory"]["losses"], rtol=0, atol=FAR)


def test_pause_and_stop_reach_all_at_the_same_step(pair):
    for told in pair:
        assert (told["obeys"]["paused"], told["obeys"]["ended"], told["obeys"]["step"], told["obeys"]["done"]) == (
            [3],
            "stopped",
            3,
            3,
        )


def test_cancel_reaches_all_at_the_same_step(pair):
    assert [(told["cancelled"]["ended"], told["cancelled"]["step"]) for told in pair] == [("cancelled", 4)] * 2


def test_a_resumed_run_with_dropout_has_the_bits_of_one_never_stopped(pair):
    assert all(told["resumed"]["equal"] and told["resumed"]["n"] > 10 for told in pair)


def test_the_others_notice_at_once_that_one_is_gone(tmp_path):
    script = tmp_path / "one_dies.py"
    script.write_text(
        "import os, sys\nfrom fm_notebook.engine import distributed\nfrom fm_notebook.errors import JobFailed\n"
        "world = distributed.join('cpu')\nworld.any(True)\nif world.rank == 1: os._exit(9)\n"
        "try:\n    while True: world.command('run')\n"
        "except JobFailed as error: os._exit(42 if error.faults[0].key == distributed.PEER_LOST else 1)\n"
    )
    processes = [start(rank, 2, tmp_path, script) for rank in range(2)]
    try:
        assert [process.wait(timeout=60) for process in processes] == [42, 9]
    finally:
        for process in processes:
            process.kill()


def test_shares_are_all_examples_once():
    shares = [World(rank, 3).share(10) for rank in range(3)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(10))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [len(World(rank, 3).share(2)) for rank in range(3)] == [1, 1, 0]


def test_each_process_and_step_has_dropout_of_its_own():
    drawn = set()
    for rank in range(2):
        for step in range(2):
            World(rank, 2).seed(5, step)
            drawn.add(float(torch.rand(())))
    assert len(drawn) == 4
    World(1, 2).seed(5, 1)
    again = float(torch.rand(()))
    assert again in drawn


def test_messages_hold_a_bounded_number_of_values_of_one_type(monkeypatch):
    monkeypatch.setattr(distributed, "BUCKET", 10)
    tensors = [
        torch.zeros(n, dtype=dtype)
        for n, dtype in ((6, torch.float32), (3, torch.int64), (5, torch.float32), (99, torch.float32))
    ]
    found = [[len(tensor) for tensor in bucket] for bucket in distributed._buckets(tensors)]
    assert found == [[6], [5], [99], [3]]


def test_more_processes_than_gpus_are_refused_in_words(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ModelError, match=r"4 processes.* 2 GPUs"):
        distributed.join("cuda")
    with pytest.raises(ModelError, match="one device"):
        distributed.join("cuda:1")


def test_lack_of_memory_is_not_taken_for_a_lost_peer():
    with pytest.raises(RuntimeError, match="allocate"), distributed._among_peers():
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
    with pytest.raises(JobFailed, match="Connection closed"), distributed._among_peers():
        raise RuntimeError("Connection closed by peer\nmore")
