"""``--on kernel``: a real tiny run in this very process."""

import gc
import os
import signal
import threading

import pytest

import fm_notebook
from fm_notebook.errors import JobFailed
from fm_notebook.jobs.locks import is_held
from fm_notebook.jobs.queue import Queue

SMALL = {"device": "cpu", "batch_size": 8, "max_length": 32, "learning_rate": 1e-3}

pytestmark = pytest.mark.slow


def parameters_alive() -> int:
    import torch

    gc.collect()
    return sum(type(each) is torch.nn.Parameter for each in gc.get_objects())


@pytest.fixture
def finetune(tiny_bert, reviews, runs_folder):
    def start(name, **fields):
        return fm_notebook.finetune(name, model=str(tiny_bert), train=str(reviews), on="kernel", **{**SMALL, **fields})

    return start


def test_it_blocks_and_leaves_neither_lock_nor_tensor(finetune):
    before = parameters_alive()
    run = finetune("here", max_steps=4)
    assert run.job.progress.state == "finished"
    assert (parameters_alive(), is_held(run.job.jobfolder.lock), is_held(Queue("cpu").lock)) == (before, False, False)


def test_after_an_error_no_tensor_of_ours_is_alive(finetune):
    before = parameters_alive()
    with pytest.raises(JobFailed, match="no longer a finite number"):
        finetune("broken", max_steps=20, learning_rate=1e30, max_grad_norm=None)
    assert parameters_alive() == before


def test_the_first_interrupt_stops_and_saves(finetune):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest's parallel workers ignore interrupts
    threading.Timer(3.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        run = finetune("long", epochs=10_000, eval_every=100)
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.job.progress.state == "stopped"
    assert run.job.progress.checkpoints
