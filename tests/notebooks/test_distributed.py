"""Jobs of two processes: obedient, resumable, and none of them outlives another."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from safetensors.numpy import load_file

import fm_notebook
from fm_notebook.jobs.queue import Queue
from fm_notebook.session import launch
from fm_notebook.session.launchers.process import worker_pid
from fm_notebook.session.run import Run

pytestmark = pytest.mark.slow

SMALL = {"device": "cpu", "batch_size": 9, "max_length": 32, "learning_rate": 1e-3, "precision": "fp32", "save_every": 10}
NEEDS_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (the extra [ray])")


@pytest.fixture
def finetune(tiny_bert, reviews, runs_folder):
    def start(name: str, on: str, **fields) -> Run:
        return fm_notebook.finetune(name, model=str(tiny_bert), train=str(reviews), wait=False, on=on, **{**SMALL, **fields})

    return start


def until(run: Run, state: str, *, step: int = 0, seconds: float = 90) -> None:
    run.job.wait(lambda progress: progress.over or (progress.state == state and progress.step >= step), timeout_seconds=seconds)
    assert run.job.progress.state == state, (run.job.progress, run.job.jobfolder.log.read_text()[-3000:])


def ranks() -> list[psutil.Process]:
    """The processes that train for the worker, the first one first."""
    pid = worker_pid(Queue("cpu"))
    found = []
    for each in psutil.Process(pid).children(recursive=True) if pid else []:
        line = each.cmdline()
        if "fm_notebook.worker.distributed" in line and "torch.distributed.run" not in line:
            found.append(each)
    return sorted(found, key=lambda each: int(each.environ()["RANK"]))


def weights(run: Run) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in load_file(Path(run.folder) / "model" / "model.safetensors").items()}


def losses(run: Run) -> list[float]:
    return run.history["loss"].dropna().tolist()


def test_two_processes_obey_and_go_on_to_the_bits_of_a_run_never_stopped(finetune):
    often = finetune("often", "torchrun:2", max_steps=400, eval_every=400, dropout=0.1)
    until(often, "running", step=15)
    often.pause()
    until(often, "paused")
    at = often.job.progress.step
    time.sleep(0.5)
    often.job.refresh()
    assert often.job.progress.step == at
    often.resume()
    until(often, "running", step=at + 5)
    often.stop()
    until(often, "stopped")
    stopped = often.job.progress.step
    assert 0 < stopped < 400
    launch.resume(often.job)
    until(often, "finished")
    assert often.job.progress.started is not None
    assert often.job.progress.started.step == stopped
    never = finetune("never", "torchrun:2", max_steps=400, eval_every=400, dropout=0.1)
    until(never, "finished")
    assert weights(often) == weights(never)


def test_a_killed_process_fails_the_job_and_a_killed_worker_takes_all_with_it(finetune):
    run = finetune("killed", "torchrun:2", epochs=10_000, eval_every=10_000)
    until(run, "running", step=25)
    os.kill(ranks()[1].pid, signal.SIGKILL)
    until(run, "failed")
    assert "2 of 2 processes ended without a word" in str(run.job.failure())
    launch.resume(run.job)
    until(run, "running", step=30)
    assert run.job.progress.started.step >= 10
    started, worker = ranks(), worker_pid(Queue("cpu"))
    assert len(started) == 2
    os.kill(worker, signal.SIGKILL)
    until(run, "died")
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []
    launch.resume(run.job, on="process")
    until(run, "running", step=run.job.progress.step + 1)
    run.cancel()
    until(run, "cancelled")


@NEEDS_RAY
def test_two_workers_of_a_local_ray_have_the_losses_of_one_process(finetune):
    one = finetune("one", "process", max_steps=50, dropout=0.0)
    until(one, "finished")
    two = finetune("two", "ray:2", max_steps=50, dropout=0.0, again=True)
    until(two, "finished", seconds=200)
    assert losses(two) == pytest.approx(losses(one), abs=1e-5, rel=0)
