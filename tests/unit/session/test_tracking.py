"""Trackers of a run: looked for before it starts, fed beside it, and whatever they do, the run is as it is without them."""

import importlib.util
import os
import signal
import subprocess
from contextlib import suppress

import pytest

import fm_notebook
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.errors import FMError
from fm_notebook.jobs.folder import Identity
from fm_notebook.session import settings, store, tracking
from fm_notebook.trackers import trackers

BAD = {
    "raising": "raise RuntimeError('no server')",
    "exiting": "import os; os._exit(7)",
    "crashing": "import ctypes; ctypes.string_at(0)",
    "hanging": "import time; time.sleep(600)",
}
PLUGIN = """
class Bad:
    name, source, package, extra = "{name}", "", "", ""
    def begin(self, run):
        print("began", flush=True)
        {act}
tracker = Bad()
"""


@pytest.fixture
def register(home, monkeypatch):
    """Registers trackers of the given names that do bad things; their processes are ended."""
    monkeypatch.setattr(trackers, "_files", {})
    monkeypatch.setattr(trackers, "_loaded", {})

    def each(*names):
        for name in names:
            path = home / f"{name}.py"
            path.write_text(PLUGIN.format(name=name, act=BAD[name]))
            trackers.register(path)

    yield each
    for process in tracking._started:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def finetune(tiny_bert, reviews, home):
    def start(name, **fields):
        same = {"device": "cpu", "batch_size": 8, "max_length": 32, "learning_rate": 1e-3, "max_steps": 4, "precision": "fp32"}
        return fm_notebook.finetune(name, model=str(tiny_bert), train=str(reviews), on="kernel", **{**same, **fields})

    return start


@pytest.mark.slow
def test_no_tracker_harms_a_run(finetune, register, home):
    register(*BAD)
    without, run = finetune("alone"), finetune("tracked", trackers=list(BAD))
    assert run.state == "finished"
    assert list(run.history["loss"]) == list(without.history["loss"])
    assert run.result.metrics == without.result.metrics
    processes = dict(zip(BAD, tracking._started[-len(BAD) :], strict=True))
    ended = {name: process.wait(60) for name, process in processes.items() if name != "hanging"}
    assert ended == {"raising": 1, "exiting": 7, "crashing": -signal.SIGSEGV}
    own = run.folder / "trackers"
    assert "RuntimeError: no server" in (own / "raising.log").read_text()
    assert processes["hanging"].poll() is None


@pytest.mark.slow
def test_an_equal_run_is_reused_whoever_is_told_of_it(finetune, register):
    register("raising")
    first = finetune("once")
    assert finetune("once", trackers=["raising"]).folder == first.folder
    assert not (first.folder / "trackers").exists()


def test_a_missing_package_is_named_with_its_extra_before_the_run_starts(finetune, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else found(name, *rest))
    with pytest.raises(FMError, match=r"fm_notebook\[wandb\]"):
        finetune("mine", trackers=["wandb"])
    assert not store.versions("mine")


def test_an_unknown_tracker_is_refused(finetune):
    with pytest.raises(FMError, match=r"no tracker 'wandbb'\. Did you mean wandb"):
        finetune("mine", trackers=["wandbb"])


def test_trackers_can_be_set_for_all_runs(finetune):
    settings.configure("trackers", ["no-such"])
    try:
        with pytest.raises(FMError, match="no tracker 'no-such'"):
            finetune("mine")
    finally:
        settings.forget()


def test_a_process_that_cannot_be_started_is_no_error(home, monkeypatch, capsys):
    def refuse(*_args, **_options):
        raise OSError("no more processes")

    spec = FinetuneSpec(
        model=ModelRef(source="m", kind="folder", location="/m"), train=DataRef(source="rows", kind="value"), trackers=("wandb",)
    )
    folder = store.create_run("mine")
    folder.write(spec=spec, identity=Identity(name="mine"))
    monkeypatch.setattr(subprocess, "Popen", refuse)
    tracking.start(folder)
    assert "no more processes" in capsys.readouterr().err
