"""The state of a job: what its events say, in view of its queue and of who is alive."""

import os
import signal
import subprocess
import threading
import time

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.errors import JobFailed, RunError, WaitInterrupted
from fm_notebook.jobs.control import CommandReader
from fm_notebook.jobs.locks import Lock
from fm_notebook.jobs.queue import Queue
from fm_notebook.session import job as job_module
from fm_notebook.session.job import Job, Watcher
from fm_notebook.session.launchers import process
from fm_notebook.session.run import Run

BEGAN = ev.PhaseBegan(phase="loading_libraries")
STARTED = ev.Started(total_steps=10)


@pytest.fixture
def queue(home):
    return Queue("cpu")


@pytest.fixture
def hold():
    """Locks held as by a worker, until the test's end."""
    held = []

    def take(path):
        lock = Lock(path)
        assert lock.acquire()
        held.append(lock)
        return lock

    yield take
    for lock in held:
        lock.release()


def state(job: Job) -> str:
    job.refresh()
    return job.progress.state


def test_a_job_in_the_queue_waits_behind_nobody_if_the_device_is_free(make_folder, queue):
    folder = make_folder()
    queue.put(folder.path)
    job = Job(folder)
    assert (job.progress.state, job.progress.behind, job.progress.over) == ("queued", "", False)


def test_a_job_waits_behind_the_one_before_it_and_that_behind_the_one_in_work(make_folder, queue, hold):
    one, two, three = (make_folder(name) for name in ("one", "two", "three"))
    for folder in (one, two, three):
        queue.put(folder.path)
    queue.take()
    hold(one.lock)
    assert (Job(two).progress.behind, Job(three).progress.behind) == ("one", "two")


def test_a_job_does_not_wait_behind_one_that_is_over(make_folder, queue):
    one, two = make_folder("one", ev.Ended(state="finished")), make_folder("two")
    queue.put(one.path)
    queue.take()
    queue.put(two.path)
    assert Job(two).progress.behind == ""


def test_a_job_that_was_taken_is_starting_before_it_says_a_word(make_folder, queue, hold):
    folder = make_folder()
    queue.put(folder.path)
    queue.take()
    hold(queue.lock)
    assert Job(folder).progress.state == "starting"


@pytest.mark.parametrize(
    ("events", "wish", "expected"),
    [
        ([BEGAN], None, "starting"),
        ([BEGAN, STARTED], None, "running"),
        ([BEGAN, STARTED], "run", "running"),
        ([BEGAN, STARTED], "pause", "pausing"),
        ([BEGAN, STARTED, ev.Paused(step=1)], "pause", "paused"),
        ([BEGAN, STARTED, ev.Paused(step=1)], "stop", "stopping"),
        ([BEGAN], "cancel", "cancelling"),
        ([BEGAN, STARTED], "stop", "stopping"),
        ([BEGAN, STARTED, ev.Stopping(step=1)], "stop", "stopping"),
        ([BEGAN, STARTED, ev.Ended(state="stopped")], "stop", "stopped"),
    ],
)
def test_a_living_job_is_what_it_was_asked_to_be(make_folder, hold, events, wish, expected):
    folder = make_folder("a", *events)
    hold(folder.lock)
    job = Job(folder)
    if wish:
        folder.control.write_text(wish)
    assert state(job) == expected


@pytest.mark.parametrize("events", [[], [BEGAN], [BEGAN, STARTED], [BEGAN, STARTED, ev.Paused(step=1)]])
def test_without_an_end_and_without_a_worker_a_job_has_died(make_folder, events):
    job = Job(make_folder("a", *events))
    assert job.progress.state == "died"
    assert job.progress.over


def test_a_job_whose_folder_was_made_just_now_has_not_died(make_folder):
    assert Job(make_folder(created=0.0)).progress.state == "queued"


def test_a_dead_worker_that_had_taken_the_job_does_not_keep_it_alive(make_folder, queue):
    folder = make_folder("a", BEGAN, STARTED)
    queue.put(folder.path)
    queue.take()
    assert Job(folder).progress.state == "died"


def test_a_job_that_died_is_told_in_words_everywhere(make_folder, monkeypatch):
    run = Run(Job(make_folder("a", BEGAN, STARTED)))
    assert "died: the worker is gone; go on with %runs resume a" in repr(run)
    for ask in (run.wait, lambda: run.result):
        with pytest.raises(JobFailed) as caught:
            ask()
        assert (
            str(caught.value).splitlines()[0] == "The worker of 'a.1' is gone: it was killed, or the machine ran out of memory."
        )
    with pytest.raises(RunError, match="has no model"):
        run.predict("x")
    with pytest.raises(RunError, match="is over already"):
        run.pause()
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    assert "%runs resume a" in repr(run)


def test_a_list_with_a_died_run_can_be_shown(make_folder):
    from fm_notebook.panels.runs.table import RunsTable
    from fm_notebook.session.index import listing

    make_folder("a", BEGAN, STARTED)
    table = RunsTable(tuple(listing()))
    assert "died" in repr(table)
    assert (table[0].name, table[0].state) == ("a.1", "died")


def test_a_resumed_job_is_seen_as_queued_then_starting_by_another_handle(make_folder, queue, hold, write_events):
    folder = make_folder("a", BEGAN, STARTED)
    other = Job(folder)
    assert state(other) == "died"
    Job(folder).enqueue()
    assert state(other) == "queued"
    queue.take()
    hold(queue.lock)
    write_events(folder, BEGAN)
    assert state(other) == "starting"


def test_enqueue_forgets_the_wish_that_ended_it_and_asks_for_a_worker(make_folder, queue, no_workers):
    folder = make_folder("a", BEGAN, STARTED, ev.Ended(state="stopped"))
    folder.control.write_text("stop")
    job = Job(folder)
    job.enqueue()
    assert job.progress.state == "queued"
    assert CommandReader(folder.control)() == "run"
    assert no_workers == ["cpu"]


@pytest.mark.parametrize("wish", ["cancel", "stop"])
def test_a_job_cancelled_in_the_queue_is_over_and_never_taken(make_folder, queue, wish):
    folder = make_folder()
    job = Job(folder)
    job.enqueue()
    job.command(wish)
    assert job.progress.state == "cancelled"
    assert Job(folder).progress.state == "cancelled"
    assert queue.waiting() == []


def test_pause_of_a_queued_job_is_kept_for_its_first_step(make_folder):
    job = Job(make_folder())
    job.enqueue()
    job.command("pause")
    assert job.progress.state == "queued"
    assert CommandReader(job.jobfolder.control)() == "pause"


def test_a_job_that_is_over_cannot_be_asked(make_folder, monkeypatch):
    job = Job(make_folder("a", BEGAN, ev.Ended(state="finished")))
    with pytest.raises(RunError) as caught:
        job.command("stop")
    assert str(caught.value) == "'a.1' is over already (finished)."
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    with pytest.raises(RunError) as caught:
        job.command("stop")
    assert "finished" not in str(caught.value)


def test_what_the_worker_refused_is_raised_as_it_was(make_folder, write_events):
    from fm_notebook.errors import DataError, ModelError

    folder = make_folder("a", BEGAN)
    write_events(folder, ev.Ended(state="failed", error=ev.ErrorRecord.of(ModelError("model.no_folder", folder="/x", line=3))))
    failure = Job(folder).failure()
    assert isinstance(failure, ModelError)
    assert not isinstance(failure, DataError)
    assert str(failure).splitlines()[0] == "Line 3: There is no folder '/x'."


def test_our_own_bug_names_the_log_and_keeps_its_traceback(make_folder, write_events):
    folder = make_folder("a", BEGAN)
    write_events(folder, ev.Ended(state="failed", error=ev.ErrorRecord.of(ZeroDivisionError("by zero"))))
    failure = Job(folder).failure()
    assert isinstance(failure, JobFailed)
    assert "ZeroDivisionError: by zero" in str(failure)
    assert str(folder.log) in str(failure)
    assert "ZeroDivisionError" in failure.detail


def test_waiting_ends_with_the_job(make_folder, hold, write_events):
    folder = make_folder("a", BEGAN, STARTED)
    lock = hold(folder.lock)
    job = Job(folder)
    assert not job.wait(timeout_seconds=0.05)
    threading.Timer(0.1, lambda: (write_events(folder, ev.Ended(state="finished")), lock.release())).start()
    assert job.wait(timeout_seconds=5)
    assert job.progress.state == "finished"


@pytest.fixture
def interruptible():
    """As in a kernel; pytest's parallel workers ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_waiting_and_not_the_job(make_folder, hold):
    folder = make_folder("a", BEGAN, STARTED)
    hold(folder.lock)
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(WaitInterrupted) as caught:
        Job(folder).wait(timeout_seconds=5)
    assert str(caught.value).startswith("No longer waiting for 'a.1'; it goes on.")
    assert Job(folder).progress.state == "running"
    assert not folder.control.exists()


def test_watchers_are_told_of_news_and_of_the_end_and_then_forgotten(make_folder, hold, write_events):
    folder = make_folder("a", BEGAN, STARTED)
    lock = hold(folder.lock)
    job, seen = Job(folder), []
    job.watch(lambda job: seen.append(job.progress.state))
    job.watch(lambda job: 1 / 0)  # a listener that fails harms nobody
    write_events(folder, ev.Ended(state="finished"))
    lock.release()
    assert job.wait(timeout_seconds=5)
    assert seen[-1] == "finished"
    count = len(seen)
    time.sleep(0.6)
    assert len(seen) == count


def test_news_that_another_onlooker_took_in_first_still_reaches_the_watchers(make_folder, hold, write_events, monkeypatch):
    monkeypatch.setattr("fm_notebook.session.job._threads_are_mute", lambda: True)
    folder = make_folder("one", BEGAN, STARTED)
    hold(folder.lock)
    job, watcher, seen = Job(folder), Watcher(), []
    watcher.add(job, lambda job: seen.append(job.progress.notes))
    watcher.pump()
    write_events(folder, ev.Noted(key="fresh_head"))
    job.refresh()  # as a cell that waits does
    watcher.pump()
    assert [len(notes) for notes in seen] == [1, 1]  # one list, told of twice


def test_a_listener_that_came_back_while_the_end_was_told_is_kept(make_folder, write_events, monkeypatch):
    monkeypatch.setattr("fm_notebook.session.job._threads_are_mute", lambda: True)
    folder = make_folder("one", BEGAN, ev.Ended(state="stopped"))
    job, watcher = Job(folder), Watcher()

    def resumed(job):
        job.progress.state = "queued"

    watcher.add(job, resumed)
    watcher.pump()
    assert watcher.is_pending(job)


def test_history_has_a_row_a_step_without_what_a_resume_made_void(make_folder):
    def step(number: int, loss: float) -> ev.StepEnded:
        return ev.StepEnded(
            step=number, epoch=0.1, loss=loss, learning_rate=1e-5, grad_norm=1, examples=8, tokens=64, seconds=0.1, memory_bytes=1
        )

    evaluated = ev.EvalEnded(step=2, epoch=0.2, metrics={"loss": 0.5}, n=4, seconds=0.1, best=True)
    resumed = ev.Started(total_steps=10, step=2)
    run = Run(Job(make_folder("a", BEGAN, STARTED, step(1, 3), step(2, 2), evaluated, step(3, 9), BEGAN, resumed, step(3, 1))))
    history = run.history
    assert history["step"].tolist() == [1, 2, 3]
    assert history["loss"].tolist() == [3, 2, 1]
    assert history["eval_loss"].dropna().tolist() == [0.5]


def test_where_no_worker_can_start_the_job_fails_after_three_attempts_and_says_why(make_folder, queue, monkeypatch):
    nowhere = {**os.environ, "PYTHONHOME": "/nowhere", "FM_NOTEBOOK_STATE": str(queue.folder.parents[1])}
    monkeypatch.setattr(process, "worker_environment", lambda: nowhere)
    monkeypatch.setattr(job_module, "ensure_worker", process.ensure_worker)
    starts, popen = [], subprocess.Popen
    monkeypatch.setattr(process.subprocess, "Popen", lambda *args, **kw: starts.append(1) or popen(*args, **kw))
    folder = make_folder()
    job = Job(folder)
    job.enqueue()
    job.wait(timeout_seconds=30)
    assert (job.progress.state, len(starts)) == ("failed", process.MOST_STARTS)
    assert folder.path not in queue.waiting()
    failure = str(job.failure())
    assert str(queue.log) in failure
    assert "Python" in failure or "encodings" in failure
