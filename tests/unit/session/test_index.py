"""The list of runs says what their jobs say, and reads only what changed."""

import os
import shutil

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import Interval, RunResult
from fm_notebook.jobs.queue import Queue, state_folder
from fm_notebook.session import index as indexing
from fm_notebook.session.index import Index, listing
from fm_notebook.session.job import Job
from fm_notebook.session.skim import LARGE_BYTES

INTERVAL = Interval(low=0.7, high=0.9, method="wilson")
RESULT = RunResult(
    metrics={"accuracy": 0.81, "loss": 0.4}, intervals={"accuracy": INTERVAL}, best_step=2, steps=3, metric="accuracy",
    n_eval=50, seconds={"train": 2.0}, examples_per_second=1.0, tokens_per_second=1.0, peak_memory_bytes=1,
)  # fmt: skip


def step(number: int) -> ev.StepEnded:
    return ev.StepEnded(time=10.0 + number, step=number, epoch=0.1, loss=1.0, learning_rate=1e-3, grad_norm=1.0, examples=1,
                        tokens=1, seconds=1.0, memory_bytes=1)  # fmt: skip


def evaluated(number: int, accuracy: float, *, best: bool = True) -> ev.EvalEnded:
    return ev.EvalEnded(time=10.0 + number, step=number, epoch=0.1, metrics={"accuracy": accuracy}, n=50, seconds=1.0, best=best,
                        intervals={"accuracy": INTERVAL})  # fmt: skip


def started(number: int = 0) -> ev.Started:
    return ev.Started(time=9.0 + number, step=number, total_steps=3, metric="accuracy")


BEGAN = ev.PhaseBegan(time=8.0, phase="loading_libraries")
FINISHED = ev.Ended(time=20.0, state="finished", result=RESULT)
STOPPED = ev.Ended(time=20.0, state="stopped")
JOURNALS = {
    "finished": (BEGAN, started(), step(1), step(2), evaluated(2, 0.81), step(3), FINISHED),
    "stopped": (BEGAN, started(), step(1), evaluated(1, 0.5), step(2), evaluated(2, 0.4, best=False), STOPPED),
    "died": (BEGAN, started(), step(1)),
    "resumed, died": (BEGAN, started(), step(1), step(2), step(3), BEGAN, started(1), step(2)),
    "resumed, died at once": (BEGAN, started(), step(1), step(2), evaluated(2, 0.9), STOPPED, BEGAN, started(1)),
    "failed": (BEGAN, ev.Ended(time=20.0, state="failed")),
    "empty": (),
}


@pytest.mark.parametrize("journal", JOURNALS.values(), ids=JOURNALS)
def test_the_list_says_what_a_job_that_read_the_whole_journal_says(make_folder, journal):
    folder = make_folder("a", *journal)
    (entry,) = listing()
    progress = Job(folder).progress
    best = progress.best.metrics["accuracy"] if progress.best else None
    assert (entry.state, entry.summary.step, entry.summary.total_steps) == (progress.state, progress.step, progress.total_steps)
    assert entry.summary.seconds == progress.elapsed_seconds
    assert entry.summary.value == best
    assert entry.alive is False


def test_a_long_finished_journal_is_read_at_both_ends_only(make_folder, monkeypatch):
    steps = [step(number) for number in range(1, LARGE_BYTES // 100)]
    end = ev.Ended(time=9999.0, state="finished", result=RESULT.model_copy(update={"steps": len(steps)}))
    folder = make_folder("a", BEGAN, started(), *steps, end)
    assert folder.events.stat().st_size > LARGE_BYTES
    (entry,) = listing()
    assert (entry.summary.value, entry.summary.interval, entry.summary.n) == (0.81, INTERVAL, 50)
    assert (entry.summary.step, entry.summary.seconds, entry.state) == (len(steps), 9991.0, "finished")


def test_a_long_journal_without_a_result_is_searched_for_its_best_score(make_folder):
    steps = [step(number) for number in range(1, LARGE_BYTES // 100)]
    make_folder("a", BEGAN, started(), *steps[:200], evaluated(200, 0.77), *steps[200:], ev.Ended(state="stopped"))
    (entry,) = listing()
    assert (entry.summary.value, entry.summary.step) == (0.77, len(steps))


def test_an_unchanged_journal_is_not_read_again_and_a_changed_one_is(make_folder, write_events, monkeypatch):
    folder = make_folder("a", *JOURNALS["stopped"])
    make_folder("b", *JOURNALS["finished"])
    listing()
    read = []
    monkeypatch.setattr(indexing, "summarize", lambda each: read.append(each.path.name) or ORIGINAL(each))
    listing()
    assert read == []
    write_events(folder, BEGAN, started(1))
    assert [entry.state for entry in listing()] == ["died", "finished"]
    assert read == ["a.1"]


ORIGINAL = indexing.summarize


def test_without_its_file_or_with_a_broken_one_the_list_is_the_same(make_folder):
    make_folder("a", *JOURNALS["finished"])
    first = listing()
    (file,) = (state_folder() / "index").glob("*.json")
    file.write_text('{"a.1": {"stamp": 3}}')
    assert listing() == first
    shutil.rmtree(state_folder() / "index")
    assert listing() == first
    assert oct(next((state_folder() / "index").glob("*.json")).stat().st_mode & 0o777) == "0o600"


def test_a_number_given_again_after_a_deletion_is_another_run(make_folder):
    folder = make_folder("a")
    os.utime(folder.path / "job.json", ns=(1, 1))
    first = Index()
    first.look()
    first.save()
    shutil.rmtree(folder.path)
    make_folder("a", created=5.0)
    (entry,) = listing()
    assert entry.summary.created == 5.0


def test_a_torn_or_newer_folder_hides_no_other(make_folder):
    make_folder("a", *JOURNALS["finished"])
    torn = make_folder("b")
    (torn.path / "spec.json").write_text("{")
    (make_folder("c").path / "job.json").unlink()
    assert [entry.name for entry in listing()] == ["a.1"]


def test_a_run_in_the_queue_waits_and_a_held_one_lives_and_then_dies(make_folder):
    from fm_notebook.jobs.locks import Lock

    one, two = make_folder("one", *JOURNALS["died"]), make_folder("two", *JOURNALS["stopped"])
    Queue("cpu").put(two.path)
    lock = Lock(one.lock)
    assert lock.acquire()
    index = Index()
    assert {name: (entry.state, entry.alive) for name, entry in index.look().items()} == {
        "one.1": ("running", True), "two.1": ("queued", True),
    }  # fmt: skip
    lock.release()
    assert index.look_at_the_living()["one.1"].state == "died"
    Queue("cpu").withdraw(two.path)
    assert index.look()["two.1"].state == "stopped"


def test_steps_of_a_living_run_are_seen_by_looking_at_the_living_alone(make_folder, write_events):
    from fm_notebook.jobs.locks import Lock

    folder = make_folder("a", *JOURNALS["died"])
    lock = Lock(folder.lock)
    assert lock.acquire()
    index = Index()
    index.look()
    write_events(folder, step(2), evaluated(2, 0.66))
    entry = index.look_at_the_living()["a.1"]
    assert (entry.summary.step, entry.summary.value) == (2, 0.66)
    write_events(folder, step(3), ev.Ended(time=20.0, state="finished", result=RESULT))
    assert index.look_at_the_living()["a.1"].state == "finished"
    assert (index.look()["a.1"].summary.value, index.look()["a.1"].alive) == (0.81, False)
    lock.release()


def test_a_name_that_was_not_found_is_no_run(make_folder, home):
    make_folder("a")
    index = Index()
    index.look()
    assert index.job("a.1").name == "a.1"
    for name in ("../a.1", str(home / "runs" / "a.1"), "a"):
        with pytest.raises(KeyError):
            index.job(name)


def test_after_its_budget_a_look_leaves_the_oldest_runs_for_the_next(make_folder, monkeypatch):
    clock = iter(range(100))
    for place, name in enumerate("abc"):
        os.utime(make_folder(name, *JOURNALS["finished"], created=1.0 + place).path / "job.json", ns=(place, place))
    monkeypatch.setattr(indexing.time, "monotonic", lambda: float(next(clock)))
    index = Index()
    assert (list(index.look(budget_seconds=1.5)), index.unread) == (["c.1"], 2)
    assert (list(index.look(budget_seconds=2.5)), index.unread) == (["b.1", "c.1"], 1)
    assert (list(index.look()), index.unread) == (["a.1", "b.1", "c.1"], 0)
