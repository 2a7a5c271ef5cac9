"""Jobs whose model two processes share out: by the same commands, with the losses and the result of one process."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from safetensors.numpy import load_file

import fm_notebook
from fm_notebook.contracts.events import Noted
from fm_notebook.errors import SpecError
from fm_notebook.jobs import journal
from fm_notebook.session import launch
from fm_notebook.session.run import Run

pytestmark = pytest.mark.slow

SMALL = {
    "device": "cpu", "batch_size": 9, "max_length": 32, "learning_rate": 1e-3, "precision": "fp32", "save_every": 10,
    "max_steps": 60, "eval_every": 20,
}  # fmt: skip


NEEDS_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (the extra [ray])")


@pytest.fixture
def finetune(tiny_bert, reviews, runs_folder):
    def start(name: str, on: str, **fields) -> Run:
        return fm_notebook.finetune(name, model=str(tiny_bert), train=str(reviews), wait=False, on=on, **{**SMALL, **fields})

    return start


def until(run: Run, state: str, *, step: int = 0, seconds: float = 90) -> None:
    run.job.wait(lambda progress: progress.over or (progress.state == state and progress.step >= step), timeout_seconds=seconds)
    assert run.job.progress.state == state, (run.job.progress, run.job.jobfolder.log.read_text()[-3000:])


def weights(run: Run) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in load_file(Path(run.folder) / "model" / "model.safetensors").items()}


@pytest.mark.parametrize("on", ["torchrun:2", pytest.param("ray:2", marks=NEEDS_RAY)])
def test_two_processes_that_share_a_model_have_the_losses_and_scores_of_one(finetune, reviews, on):
    one = finetune("one", "process", dropout=0.0)
    until(one, "finished")
    two = finetune("two", on, dropout=0.0, fsdp=True)
    until(two, "finished", seconds=200)
    assert two.history["loss"].dropna().tolist() == pytest.approx(one.history["loss"].dropna().tolist(), abs=1e-5, rel=0)
    assert two.result.metrics == pytest.approx(one.result.metrics, abs=1e-3)
    assert two.job.progress.started.parameters == one.job.progress.started.parameters
    here, there = (run.job.progress.started.provenance["estimated_memory"]["weights"] for run in (two, one))
    assert here == pytest.approx(there / 2, rel=0.1)
    scored = [[score.value for score in fm_notebook.evaluate(run, str(reviews)).scores] for run in (one, two)]
    assert scored[1] == pytest.approx(scored[0], abs=1e-3)


def test_a_run_in_shards_stops_and_goes_on_to_the_bits_of_one_never_stopped(finetune):
    fields = {"max_steps": 120, "eval_every": 60, "dropout": 0.1, "fsdp": True}
    often = finetune("often", "torchrun:2", **fields)
    until(often, "running", step=15)
    often.stop()
    until(often, "stopped")
    stopped = often.job.progress.step
    assert 0 < stopped < 120
    with pytest.raises(SpecError, match="torchrun:2"):
        launch.resume(often.job, on="process")
    launch.resume(often.job)
    until(often, "finished")
    assert often.job.progress.started.step == stopped
    never = finetune("never", "torchrun:2", **fields)
    until(never, "finished")
    assert weights(often) == weights(never)


def test_one_process_cannot_share_and_leaves_no_folder(finetune, runs_folder):
    with pytest.raises(SpecError, match=r"several processes[\s\S]*torchrun:2"):
        finetune("lonely", "process", fsdp=True)
    assert not list(runs_folder.glob("lonely*"))


def test_a_dry_run_says_that_it_tries_without(tiny_bert, reviews, runs_folder):
    fields = {**SMALL, "model": str(tiny_bert), "train": str(reviews)}
    plain, shared = (fm_notebook.dry_run("tried", **fields, fsdp=fsdp) for fsdp in (False, True))
    assert shared.memory["weights"] == plain.memory["weights"]
    notes = [[event.key for event in journal.replay(runs_folder / ".trials" / number / "events.jsonl")
              if isinstance(event, Noted)] for number in ("1", "2")]  # fmt: skip
    assert ["sharding.tried" in each for each in notes] == [False, True]
