"""Where a job stands is a fold over its events."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import RunResult
from fm_notebook.session.progress import MOST_POINTS, RECENT_SECONDS, Progress, Series

BEGAN = ev.PhaseBegan(phase="loading_libraries")


def step(number: int, loss: float = 1.0, seconds: float = 0.5) -> ev.StepEnded:
    return ev.StepEnded(
        step=number,
        epoch=number / 10,
        loss=loss,
        learning_rate=1e-5,
        grad_norm=1.0,
        examples=8,
        tokens=64,
        seconds=seconds,
        memory_bytes=1,
    )


def evaluated(number: int, *, best: bool = True) -> ev.EvalEnded:
    return ev.EvalEnded(step=number, epoch=1.0, metrics={"loss": 1.0 / number}, n=9, seconds=0.1, best=best)


def after(*events: ev.Event) -> Progress:
    progress = Progress("a", "/runs/a.1")
    for event in events:
        progress.apply(event)
    return progress


def started(at: int = 0) -> ev.Started:
    return ev.Started(step=at, total_steps=100)


@given(st.integers(0, 9_000), st.floats(-5, 5))
def test_a_curve_keeps_at_most_two_thousand_points_and_the_mean(n, slope):
    series = Series()
    for i in range(1, n + 1):
        series.append(i, slope * i)
    assert len(series.steps) == len(series.values) < MOST_POINTS
    assert series.steps == sorted(set(series.steps))
    shown = len(series.steps) * series.stride
    assert n - shown < series.stride
    if shown:
        assert series.steps[-1] == shown
        assert sum(series.values) / len(series.values) == pytest.approx(slope * (shown + 1) / 2, abs=1e-6)


def test_thinning_is_told_so_that_the_curve_is_drawn_anew():
    series = Series()
    told = [i for i in range(1, 3 * MOST_POINTS) if series.append(i, 1.0)]
    assert told == [MOST_POINTS, 2 * MOST_POINTS]


def test_a_thinned_point_is_the_mean_of_its_steps():
    series = Series()
    for i in range(MOST_POINTS):
        series.append(i, float(i % 2))
    assert set(series.values) == {0.5}


@given(st.integers(1, 5_000), st.integers(0, 5_000))
def test_a_cut_leaves_nothing_after_the_step(n, at):
    series = Series()
    for i in range(1, n + 1):
        series.append(i, 1.0)
    series.cut(at)
    assert all(each <= at for each in series.steps)
    assert all(each <= at for each, _ in series._pending)


def test_a_resume_replaces_the_steps_that_were_not_saved():
    progress = after(started(), *(step(i, 9.0) for i in range(1, 8)), evaluated(2), evaluated(6))
    before = progress.curve_version
    for event in (BEGAN, started(4), step(5, 1.0), step(6, 1.0)):
        progress.apply(event)
    assert progress.train.steps == [1, 2, 3, 4, 5, 6]
    assert progress.train.values == [9.0] * 4 + [1.0] * 2
    assert [each.step for each in progress.held_out] == [2]
    assert progress.curve_version > before
    assert progress.step == 6


def test_steps_that_wait_to_be_averaged_are_cut_too():
    progress = after(started(), *(step(i) for i in range(1, MOST_POINTS + 2)))
    assert progress.train._pending == [(MOST_POINTS + 1, 1.0)]
    progress.apply(started(MOST_POINTS))
    assert progress.train._pending == []


def test_a_stop_at_the_last_step_changes_no_drawn_point():
    progress = after(started(), step(1), step(2))
    version = progress.curve_version
    progress.apply(started(2))
    assert progress.curve_version == version


def test_the_states_follow_the_events():
    seen = []
    progress = Progress("a", "/runs/a.1")
    result = RunResult(
        metrics={},
        best_step=1,
        steps=2,
        metric="loss",
        n_eval=1,
        seconds={},
        examples_per_second=1,
        tokens_per_second=1,
        peak_memory_bytes=1,
    )
    events = [
        BEGAN,
        ev.PhaseBegan(phase="loading_model"),
        started(),
        step(1),
        ev.Paused(step=1),
        ev.Unpaused(step=1),
        ev.Stopping(step=1),
        ev.Ended(state="stopped", step=1),
        BEGAN,
        started(1),
        step(2),
        ev.Ended(state="finished", step=2, result=result),
    ]
    for event in events:
        progress.apply(event)
        seen.append(progress.state)
    assert seen == [
        "starting",
        "starting",
        "running",
        "running",
        "paused",
        "running",
        "stopping",
        "stopped",
        "starting",
        "running",
        "running",
        "finished",
    ]
    assert progress.result == result
    assert progress.over


@pytest.mark.parametrize("last", [step(1), ev.Paused(step=1), ev.Stopping(step=1)])
def test_a_run_taken_up_after_its_worker_was_killed_starts_anew(last):
    progress = after(BEGAN, started(), step(1), last, BEGAN)
    assert (progress.state, progress.phase) == ("starting", "loading_libraries")


def test_a_failed_run_that_is_resumed_forgets_its_error():
    progress = after(BEGAN, ev.Ended(state="failed", error=ev.ErrorRecord(kind="bug")), BEGAN)
    assert (progress.state, progress.error, progress.over) == ("starting", None, False)


def test_a_phase_within_a_run_does_not_start_it_again():
    assert after(started(), step(1), ev.PhaseBegan(phase="evaluating")).state == "running"


@given(st.lists(st.floats(0.001, 4.0), min_size=1, max_size=200))
def test_the_pace_is_that_of_the_last_ten_seconds_of_steps(seconds):
    progress = after(started(), *(step(i, seconds=each) for i, each in enumerate(seconds, 1)))
    window: list[float] = []
    for each in reversed(seconds):
        window.append(each)
        if sum(window) > RECENT_SECONDS:
            break
    assert progress.examples_per_second == pytest.approx(8 * len(window) / sum(window), rel=0.05)
    assert progress.tokens_per_second == pytest.approx(8 * progress.examples_per_second)


def test_the_time_left_is_steps_left_at_that_pace():
    assert after(started(), *(step(i) for i in range(1, 11))).eta_seconds == pytest.approx(90 * 0.5)
    assert after(started()).eta_seconds is None
    assert after(started(), step(1), ev.Ended(state="stopped")).eta_seconds is None


def test_steps_of_no_time_are_no_division_by_zero():
    progress = after(started(), step(1, seconds=0.0))
    assert (progress.examples_per_second, progress.eta_seconds) == (0.0, 0.0)


def test_a_loss_that_is_no_number_is_kept():
    assert math.isnan(after(started(), step(1, math.nan)).train.values[0])


def test_the_best_is_the_last_one_that_was_called_best():
    progress = after(started(), evaluated(1), evaluated(2), evaluated(3, best=False))
    assert progress.best is not None
    assert progress.best.step == 2


def test_shrunk_memory_is_noted():
    (note,) = after(started(), ev.MemoryShrunk(step=3, micro_batch_size=4)).notes
    assert (note.key, note.level, note.values) == ("memory_shrunk", "warning", {"step": 3, "micro_batch_size": 4})


EVENTS = st.one_of(
    st.just(BEGAN),
    st.builds(started, st.integers(0, 50)),
    st.builds(step, st.integers(1, 50)),
    st.builds(evaluated, st.integers(1, 50)),
    st.builds(ev.Paused, step=st.just(1)),
    st.builds(ev.Stopping, step=st.just(1)),
    st.builds(ev.Ended, state=st.sampled_from(["finished", "stopped", "cancelled", "failed"])),
)


@given(st.lists(EVENTS, max_size=30))
def test_any_order_of_events_is_taken_in(events):
    progress = after(*events)
    assert progress.over == bool(events and progress.state in {"finished", "stopped", "cancelled", "failed"})
    if events and isinstance(events[-1], ev.Ended):
        assert progress.state == events[-1].state
    assert progress.elapsed_seconds >= 0
