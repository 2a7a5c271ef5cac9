"""The public functions: a real tiny model, a real worker process, and the life of its jobs."""

import os
import signal
import time

import pytest

import fm_notebook
from fm_notebook import verbs
from fm_notebook.errors import ArgumentError, JobFailed, RunError, SpecError
from fm_notebook.jobs.queue import Queue
from fm_notebook.session import binding
from fm_notebook.session.launchers.process import worker_pid
from fm_notebook.session.progress import Progress
from fm_notebook.session.run import Run


@pytest.mark.parametrize(
    ("state", "behind", "expected"),
    [
        ("queued", "", False), ("queued", "other", True), ("starting", "", False), ("running", "", True), ("paused", "", True),
        ("cancelling", "", False), ("stopping", "", True), ("finished", "", True), ("failed", "", True), ("died", "", True),
    ],
)  # fmt: skip
def test_a_cell_returns_when_set_up_is_behind_the_job_or_another_job_before_it(state, behind, expected):
    assert verbs.has_started(Progress("a", "/runs/a.1", state=state, behind=behind)) == expected


def test_a_name_that_is_no_identifier_is_refused_before_anything_is_read(home):
    with pytest.raises(ArgumentError, match="cannot be the name of a run"):
        fm_notebook.finetune("../up", model="m", train="t")
    assert not (home / "runs").exists()


def test_an_unknown_field_is_refused(home):
    with pytest.raises(SpecError, match=r"There is no field 'epoch'\. Did you mean epochs"):
        fm_notebook.finetune("a", model="/m", train=[], epoch=1)


def test_no_runs_are_an_empty_list(home):
    assert fm_notebook.runs() == []


def test_a_registered_file_is_a_task_by_its_name(tmp_path, monkeypatch):
    from fm_notebook.tasks import tasks

    monkeypatch.setattr(tasks, "_files", {})
    (tmp_path / "my_task.py").write_text("class T:\n    metrics = {'loss': 'min'}\ntask = T()\n")
    assert fm_notebook.register(tmp_path / "my_task.py") == "my-task"
    assert list(tasks["my-task"].metrics) == ["loss"]
    tasks._loaded.pop("my-task", None)


LONG = {"epochs": 500, "eval_every": 200, "save_every": 5, "batch_size": 8, "learning_rate": 1e-3, "max_length": 32}
SHORT = {"max_steps": 4, "batch_size": 8, "max_length": 32, "eval_every": 2}


@pytest.fixture
def finetune(tiny_bert, reviews, runs_folder):
    """Starts a run on the tiny model and returns at once."""

    def start(name: str, **fields) -> Run:
        return fm_notebook.finetune(name, wait=False, model=str(tiny_bert), train=str(reviews), **fields)

    return start


def until(run: Run, *states: str, steps: int = 0) -> Run:
    assert run.job.wait(lambda p: p.over or (p.state in states and p.step >= steps), timeout_seconds=60)
    assert run.state in states, (run.state, run.job.progress.error)
    return run


@pytest.mark.slow
def test_the_life_of_a_run(finetune, reviews, capsys):
    first = finetune("a", **SHORT).wait()
    assert (first.name, first.state, first.result.steps) == ("a.1", "finished", 4)
    # an equal finished job is reused, --again repeats it, a changed one is a new version
    assert finetune("a", **SHORT).folder == first.folder
    again = fm_notebook.finetune("a", again=True, model=first.spec.model.location, train=str(reviews), **SHORT)
    assert (again.name, again.state) == ("a.2", "finished")
    assert again.result.metrics == first.result.metrics  # same seed, same device

    # stop saves, resume goes on from there
    run = until(finetune("long", **LONG), "running", steps=6)
    other = finetune("other", **SHORT)
    assert (other.state, other.job.progress.behind) == ("queued", "long")
    # an equal living job is attached, a different one under that name refused
    assert finetune("long", **LONG).folder == run.folder
    with pytest.raises(RunError, match="A job named 'long' is alive already"):
        finetune("long", **SHORT)
    with pytest.raises(RunError, match="is still alive"):
        run.delete()
    run.stop()
    until(run, "stopped")
    assert list((run.folder / "checkpoints").iterdir())
    stopped_at = run.progress.step
    other.wait()
    run.resume()
    until(run, "running", steps=stopped_at + 1)
    assert run.progress.started is not None
    assert run.progress.started.step == stopped_at
    assert run.history["step"].is_unique
    run.pause()
    until(run, "paused")
    run.resume()
    until(run, "running")

    # cancelled while queued: never taken
    waiting = finetune("b", **SHORT)
    waiting.cancel()
    assert waiting.state == "cancelled"
    assert not (waiting.folder / "log.txt").exists()

    run.cancel()
    until(run, "cancelled")
    run.delete()
    assert not run.folder.exists()
    assert {each.name for each in fm_notebook.runs()} == {"a.1", "a.2", "other.1", "b.1"}


@pytest.mark.slow
def test_a_killed_worker_is_told_in_words_and_the_next_job_gets_a_fresh_one(finetune):
    run = until(finetune("a", **LONG), "running", steps=6)
    following = finetune("b", **SHORT)
    pid = worker_pid(Queue("cpu"))
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(JobFailed, match=r"The worker of 'a\.1' is gone"):
        run.wait()
    assert time.monotonic() - began < 10
    following.wait()
    assert worker_pid(Queue("cpu")) not in {None, pid}
    run.resume()
    until(run, "running", steps=6)
    assert run.progress.started is not None
    assert run.progress.started.step >= 5
    run.cancel()
    until(run, "cancelled")


@pytest.mark.slow
def test_a_finished_run_predicts_is_scored_once_and_starts_another(finetune, reviews):
    run = finetune("a", **SHORT | {"max_steps": 40, "eval_every": 20, "learning_rate": 1e-2}).wait()
    frame = run.predict(["good film", "bad film", "good plot"])
    assert list(frame.columns) == ["label", *run.data.labels]
    assert frame[run.data.labels].sum(axis=1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert frame["label"].tolist() == frame[run.data.labels].idxmax(axis=1).tolist()
    assert list((run.folder / "predictions").iterdir()) == []  # people's texts do not stay

    found = fm_notebook.evaluate(run, str(reviews))
    assert found.n == 320
    assert found.trained_rows > 200
    assert fm_notebook.evaluate("a", str(reviews)).model_dump() == found.model_dump()
    assert len(run.evaluations) == 1

    changed = fm_notebook.finetune("changed", base=run, max_steps=2)
    assert changed.spec.base == "a.1"
    assert changed.spec.learning_rate == run.spec.learning_rate
    assert changed.data == run.data
    given = {"model": binding.Assigned(run), "train": binding.Assigned(str(reviews))}
    continued = binding.bind_finetune(given).spec
    assert continued.kind == "finetune"
    assert continued.model.kind == "run"
