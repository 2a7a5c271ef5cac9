"""A model in shards cannot do a step again with less: the next attempt begins with smaller micro-batches."""

from __future__ import annotations

import pytest

from fm_notebook.errors import JobFailed
from fm_notebook.worker import memory_kill


def fails(folder, error, kills=0, rank=0):
    with pytest.raises(type(error)), memory_kill.attempt(folder, kills, rank=rank):
        raise error


def test_lack_of_memory_in_one_process_counts_as_a_kill(tmp_path):
    fails(tmp_path, JobFailed("fsdp.out_of_memory", message="m"), rank=1)
    fails(tmp_path, JobFailed("distributed.peer_lost", message="m"))
    assert memory_kill.kills(tmp_path) == 1
    assert memory_kill.kills(tmp_path) == 0


def test_each_time_counts(tmp_path):
    fails(tmp_path, JobFailed("fsdp.out_of_memory", message="m"))
    fails(tmp_path, JobFailed("fsdp.out_of_memory", message="m"), kills=memory_kill.kills(tmp_path))
    assert memory_kill.kills(tmp_path) == 2


def test_another_error_does_not(tmp_path):
    fails(tmp_path, JobFailed("engine.disk_full", folder="f", step=1))
    fails(tmp_path, ValueError("a bug"))
    assert memory_kill.kills(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
