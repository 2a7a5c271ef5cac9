"""What ends a kernel or a worker ends nothing else."""

from __future__ import annotations

import os
import signal
import time

import pytest

from fm_notebook.jobs.queue import Queue
from fm_notebook.session.launchers.process import worker_pid
from fm_notebook.session.run import Run

pytestmark = pytest.mark.slow


def test_a_killed_kernel_loses_nothing_and_the_next_one_watches_on(kernel, finetune):
    cell = kernel.run(finetune("first", steps=1500, batch_size=16))
    kernel.until(lambda: kernel.state(cell.panel)["step"] > 0)
    worker = worker_pid(Queue("cpu"))
    kernel.kill()
    loaded = kernel.run("%load_ext fm_notebook")
    assert "Still alive: first.1 (running)." in loaded.text
    assert "%runs attach first.1" in loaded.text
    attached = kernel.run("%runs attach first")
    step = kernel.state(attached.panel)["step"]
    assert 0 < step < 1500
    kernel.until(lambda: kernel.state(attached.panel)["step"] > step, what="live points in the new kernel")
    kernel.until(lambda: kernel.state(attached.panel)["state"] == "finished", seconds=200, what="the end")
    assert worker_pid(Queue("cpu")) == worker
    assert kernel.value("first.result.n_eval, first.history.step.tolist() == list(range(1, 1501))") == "(32, True)"
    kernel.until(lambda: "data:image/png" in attached.html and "<details><summary>first" not in attached.html, seconds=5)


def test_a_killed_worker_is_noticed_and_the_next_job_gets_a_fresh_one(kernel, finetune):
    first = kernel.run(finetune("first", save_every=10))
    second = kernel.run(finetune("second", steps=30))
    assert second.error == []
    kernel.until(lambda: kernel.state(second.panel)["words"] == "queued behind first", seconds=5, what="behind whom it waits")
    kernel.until(lambda: Run.open("first").progress.checkpoints, what="a checkpoint")
    killed = worker_pid(Queue("cpu"))
    os.kill(killed, signal.SIGKILL)
    assert kernel.until(lambda: kernel.state(first.panel)["state"] == "died", seconds=10) < 10
    assert "%runs resume first" in kernel.state(first.panel)["words"]
    assert kernel.state(first.panel)["commands"] == ["restart"]
    kernel.until(lambda: kernel.state(second.panel)["state"] == "finished", what="the queued job's end")
    assert worker_pid(Queue("cpu")) not in {None, killed}

    kernel.click(first.panel, "restart")
    kernel.until(lambda: kernel.state(first.panel)["state"] == "running", what="the resumed run")
    resumed = Run.open("first").progress
    assert resumed.started.step >= 10
    assert resumed.error is None


def test_restarting_the_kernel_politely_leaves_the_run_alone(current, finetune):
    cell = current.run(finetune("first"))
    current.until(lambda: current.state(cell.panel)["step"] > 0)
    current.manager.restart_kernel(now=False)
    step = Run.open("first").progress.step
    time.sleep(0.5)
    assert Run.open("first").progress.step > step
