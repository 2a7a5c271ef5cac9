"""From a journal to a tracker: what it is told, once, and when it is told that the run is over."""

import subprocess
import sys
from collections import deque

import pytest

from fm_notebook import trackers
from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import Tracker
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.errors import FMError
from fm_notebook.jobs import folder as jobs
from fm_notebook.jobs.folder import Identity
from fm_notebook.jobs.journal import JournalWriter
from fm_notebook.jobs.locks import Lock
from fm_notebook.jobs.queue import Queue
from fm_notebook.trackers._feed import Feeder, is_alive

SPEC = FinetuneSpec(
    model=ModelRef(source="m", kind="folder", location="/m"), train=DataRef(source="rows", kind="value"), trackers=("recorder",)
)
STARTED = ev.Started(total_steps=4, device="cpu", precision="fp32", time=10.0)


class Recorder:
    """Keeps what it is told."""

    name, source, package, extra = "recorder", "", "", ""

    def __init__(self):
        self.runs, self.logs, self.ends = [], [], []

    def begin(self, run):
        self.runs.append(run)
        return run.id or "id-1"

    def log(self, step, values, time):
        self.logs.append((step, dict(values), time))

    def end(self, state):
        self.ends.append(state)


def step(n, loss=0.5):
    return ev.StepEnded(
        step=n, epoch=n / 2, loss=loss, learning_rate=0.1, grad_norm=1.0, examples=2, tokens=9, seconds=0.1, memory_bytes=7,
        time=10.0 + n,
    )  # fmt: skip


def scores(n, accuracy=0.75):
    return ev.EvalEnded(step=n, epoch=n / 2, metrics={"accuracy": accuracy}, n=4, seconds=0.1, best=True)


@pytest.fixture
def job(home):
    folder = jobs.create(home / "my study" / "runs" / "mine.1")
    folder.write(spec=SPEC, identity=Identity(name="mine", created=1.0))
    (folder.path / "trackers").mkdir()
    return folder


@pytest.fixture
def write(job):
    def append(*events):
        journal = JournalWriter(job.events)
        for event in events:
            journal.append(event)
        journal.close()

    return append


def feed(job, *, alive=(True,)):
    """What a process would tell whose run is alive at its first looks, and then not."""
    recorder, looks = Recorder(), deque(alive)
    follow = lambda: looks.popleft() if looks else False  # noqa: E731
    Feeder(job, "recorder", recorder).follow(follow, tick_seconds=0, grace_seconds=0.05)
    return recorder


def test_a_tracker_is_told_of_the_run_its_steps_its_scores_and_its_end(job, write):
    write(STARTED, step(1), step(2), scores(2), ev.Ended(state="finished", step=2))
    found = feed(job)
    (run,) = found.runs
    assert (run.name, run.project, run.id, run.started) == ("mine.1", "my-study", "", 10.0)
    assert run.folder.is_dir()
    assert run.config["learning_rate"] == SPEC.learning_rate
    assert run.config["run"]["precision"] == "fp32"
    assert [(at, time) for at, values, time in found.logs if "train/loss" in values] == [(1, 11.0), (2, 12.0)]
    assert found.logs[0][1] == pytest.approx(
        {"train/loss": 0.5, "train/grad_norm": 1, "train/learning_rate": 0.1, "train/epoch": 0.5, "train/seconds": 0.1,
         "train/memory_bytes": 7},
    )  # fmt: skip
    assert found.logs[-1][:2] == (2, {"eval/accuracy": 0.75})
    assert found.ends == ["finished"]


def test_after_a_resume_nothing_is_told_twice_and_the_id_is_kept(job, write):
    write(STARTED, step(1), step(2), scores(2), step(3), ev.Ended(state="stopped", step=3))
    assert [at for at, *_ in feed(job).logs] == [1, 2, 2, 3]
    write(STARTED.model_copy(update={"step": 2}), step(3), step(4), scores(4), ev.Ended(state="finished", step=4))
    found = feed(job)
    assert [run.id for run in found.runs] == ["id-1"]
    assert [at for at, *_ in found.logs] == [4, 4]
    assert found.ends == ["finished"]


def test_an_earlier_end_does_not_end_a_resumed_run(job, write):
    write(STARTED, step(1), ev.Ended(state="stopped", step=1))
    looks = []

    def alive():
        looks.append(len(looks))
        if len(looks) == 3:
            write(STARTED, step(2), ev.Ended(state="finished", step=2))
        return 2 <= len(looks) <= 3

    recorder = Recorder()
    Feeder(job, "recorder", recorder).follow(alive, tick_seconds=0, grace_seconds=5)
    assert [at for at, *_ in recorder.logs] == [1, 2]
    assert recorder.ends == ["finished"]


def test_a_run_that_died_is_told_so(job, write):
    write(STARTED, step(1))
    assert feed(job).ends == ["died"]


def test_of_a_run_that_never_started_nothing_is_told(job, write):
    write(ev.Ended(state="failed"))
    found = feed(job)
    assert (found.runs, found.logs, found.ends) == ([], [], [])


def test_a_torn_note_is_as_none(job, write):
    write(STARTED, step(1), ev.Ended(state="finished", step=1))
    feed(job)
    (job.path / "trackers" / "recorder.json").write_text("{")
    assert [at for at, *_ in feed(job).logs] == [1]


def test_what_was_told_before_a_tracker_failed_is_noted_no_further_than_that(job, write):
    write(STARTED, step(1))
    feed(job)
    write(step(2))

    class Failing(Recorder):
        def log(self, *_):
            raise ValueError("no room")

    with pytest.raises(ValueError, match="no room"):
        Feeder(job, "recorder", Failing()).follow(lambda: True, tick_seconds=0)
    assert [at for at, *_ in feed(job).logs] == [2]


def test_a_run_is_alive_in_the_queue_and_in_work(job):
    assert not is_alive(job)
    queue = Queue("cpu")
    queue.put(job.path)
    assert is_alive(job)
    assert queue.take() == job.path
    assert not is_alive(job)
    worker = Lock(queue.lock)
    worker.acquire()
    assert is_alive(job)
    worker.release()


HANGS = """
import sys, time
from pathlib import Path
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.trackers._feed import Feeder
class Hanging:
    def begin(self, run): time.sleep(60)
Feeder(JobFolder(Path(sys.argv[1])), "hanging", Hanging(), call_seconds=0.3).follow(lambda: True)
"""


def test_a_call_that_hangs_ends_its_process_and_says_where(job, write):
    write(STARTED)
    ended = subprocess.run([sys.executable, "-c", HANGS, str(job.path)], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert "in begin" in ended.stderr


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb"])
def test_each_tracker_keeps_its_promises(name):
    tracker = trackers.trackers[name]
    assert isinstance(tracker, Tracker)
    assert tracker.name == tracker.extra == name
    assert tracker.source.startswith("https://")


def test_all_trackers_are_found_and_an_unknown_one_is_named():
    assert list(trackers.trackers) == ["tensorboard", "trackio", "wandb"]
    with pytest.raises(FMError, match="Did you mean tensorboard"):
        trackers.trackers["tensorbord"]
