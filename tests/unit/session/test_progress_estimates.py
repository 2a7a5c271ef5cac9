"""What was foreseen, beside what came."""

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import RunResult
from fm_notebook.session.progress import Progress


def step(number: int, seconds: float) -> ev.StepEnded:
    return ev.StepEnded(step=number, epoch=0.1, loss=1.0, learning_rate=1e-5, grad_norm=1.0, examples=8, tokens=64,
                        seconds=seconds, memory_bytes=1)  # fmt: skip


def started(at: int = 0, total: int = 20, device: str = "cpu", **known) -> ev.Started:
    return ev.Started(step=at, total_steps=total, device=device, provenance=known)


def ended(peak: int) -> ev.Ended:
    result = RunResult(metrics={}, best_step=20, steps=20, metric="accuracy", n_eval=1, seconds={}, examples_per_second=1.0,
                       tokens_per_second=1.0, peak_memory_bytes=peak)  # fmt: skip
    return ev.Ended(state="finished", step=20, result=result)


def after(*events: ev.Event) -> Progress:
    progress = Progress("a", "/runs/a.1")
    for event in events:
        progress.apply(event)
    return progress


def test_time_is_foreseen_by_the_third_to_tenth_step():
    seconds = [9.0, 9.0, *[2.0] * 8, *[3.0] * 10]
    found = after(started(), *(step(i, s) for i, s in enumerate(seconds, 1))).foreseen
    assert found == (pytest.approx(20 * 2.0), pytest.approx(sum(seconds)))


def test_a_resumed_run_is_foreseen_from_where_it_resumed():
    early = [step(i, 50.0) for i in range(1, 6)]
    found = after(started(), *early, started(at=5), *(step(i, 1.0) for i in range(6, 21))).foreseen
    assert found == (pytest.approx(15.0), pytest.approx(15.0))


@pytest.mark.parametrize("steps", [5, 11, 19])
def test_nothing_is_said_before_the_end_or_of_a_short_run(steps):
    assert after(started(), *(step(i, 1.0) for i in range(1, steps + 1))).foreseen is None
    assert after(started(total=11), *(step(i, 1.0) for i in range(1, 12))).foreseen is None


@pytest.mark.parametrize(("device", "measured"), [("cpu", 700), ("cuda:0", 1000)])
def test_memory_is_measured_beyond_the_idle_worker_on_cpu(device, measured):
    known = {"estimated_memory": {"total": 650}, "idle_memory": 300}
    assert after(started(device=device, **known), ended(1000)).weighed == (650, measured)


def test_runs_from_before_it_was_recorded_say_nothing():
    assert after(started(estimated_memory={"total": 650}), ended(1000)).weighed is None
    assert after(started(), ended(1000)).weighed is None


def test_the_card_tells_the_error():
    from fm_notebook.panels import rows

    progress = after(started(estimated_memory={"total": 900_000_000}, idle_memory=0), ended(1_000_000_000))
    ((_, said),) = rows.estimated(progress)
    assert "900 MB" in said
    assert "1.00 GB" in said
    assert "-10 %" in said
