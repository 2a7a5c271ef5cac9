"""Reports as lines of text."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.panels import plain
from fm_notebook.session.progress import Progress


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    ours = Clock()
    monkeypatch.setattr(plain, "time", ours)
    return ours


@pytest.fixture
def progress():
    found = Progress("sentiment", "/runs/sentiment.1")
    found.apply(ev.Started(time=1.0, total_steps=1000, steps_per_epoch=500, metric="accuracy"))
    return found


@pytest.fixture
def said(clock, progress, capsys):
    tell = plain.Lines(progress)

    def lines() -> list[str]:
        assert tell(progress) is False
        return capsys.readouterr().out.splitlines()

    return lines


def step(progress, number, seconds=1.0):
    progress.apply(
        ev.StepEnded(time=1.0 + number * seconds, step=number, epoch=number / 500, loss=1 / number, learning_rate=1e-5,
                     grad_norm=1.0, examples=8, tokens=80, seconds=seconds, memory_bytes=0)
    )  # fmt: skip


def evaluate(progress, number, best=False):
    scores = {"accuracy": 0.75, "loss": 0.5}
    progress.apply(ev.EvalEnded(time=1.0 + number, step=number, epoch=1.0, metrics=scores, n=800, seconds=1.0, best=best))


def test_every_report_is_one_line(said, progress):
    assert said() == ["[sentiment] running · step 0 / 1,000 · epoch 0.00 / 2 · elapsed 0:00"]
    assert said() == []
    evaluate(progress, 30, best=True)
    evaluate(progress, 60)
    progress.apply(ev.CheckpointSaved(step=60, folder="checkpoints/60"))
    assert said() == [
        "[sentiment] step 30 evaluated: accuracy 0.750 · loss 0.500 · n = 800 · best so far",
        "[sentiment] step 60 evaluated: accuracy 0.750 · loss 0.500 · n = 800",
        "[sentiment] step 60 saved: the run can be resumed from here",
    ]
    assert said() == []
    progress.apply(ev.Ended(state="stopped", step=60))
    assert said()[0].startswith("[sentiment] stopped and saved")


def test_steps_are_told_of_every_ten_seconds(said, progress, clock):
    said()
    told = []
    for number in range(1, 41):
        clock.now += 1.0
        step(progress, number)
        told += said()
    assert [line.split(" · ")[1] for line in told] == [f"step {k} / 1,000" for k in (10, 20, 30, 40)]


def test_a_phase_of_the_moment_is_no_report(said, progress):
    said()
    for phase in ("saving", "evaluating"):
        progress.apply(ev.PhaseBegan(phase=phase))
        assert said() == []


def test_a_long_run_with_many_evaluations_writes_few_lines(said, progress, clock):
    lines = said()
    for number in range(1, 20_001):  # five and a half hours, an evaluation a second
        clock.now += 1.0
        step(progress, number)
        evaluate(progress, number)
        lines += said()
    assert 100 < len(lines) < 600
    assert "step 20,000" in lines[-1] or "step 19," in lines[-1]


def test_what_was_there_before_is_not_told_again(clock, progress, capsys):
    evaluate(progress, 30)
    plain.Lines(progress)(progress)
    assert "evaluated" not in capsys.readouterr().out


def test_evaluations_after_a_resume_are_told_although_there_are_fewer_than_before(said, progress):
    for number in (30, 60, 90):
        evaluate(progress, number)
    said()
    progress.apply(ev.Started(time=200.0, total_steps=1000, step=30, steps_per_epoch=500, metric="accuracy"))
    said()
    evaluate(progress, 60)
    assert "step 60 evaluated" in said()[0]


@pytest.mark.parametrize(("value", "wanted"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_a_kernel_is_plain_where_it_is_told_to_be(value, wanted, monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_PLAIN", value)
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert plain.is_plain() is wanted
    del shell.kernel
    assert plain.is_plain()
