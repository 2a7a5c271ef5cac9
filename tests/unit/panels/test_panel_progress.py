"""The live panel, without a page: what it sends, what it takes, and that it never raises."""

import math
import struct
from pathlib import Path

import pytest

from fm_notebook import messages
from fm_notebook.contracts import events as ev
from fm_notebook.errors import RunError
from fm_notebook.panels import curves, live
from fm_notebook.panels.progress import WORDS, ProgressPanel
from fm_notebook.panels.snapshot import snapshot
from fm_notebook.session.progress import MOST_POINTS, Progress


class FakeJob:
    def __init__(self, folder, name="sentiment"):
        self.name, self.folder = name, Path(folder)
        self.progress = Progress(name, str(folder))
        self.commands, self.listeners, self.refuse = [], [], None

    def refresh(self):
        return False

    def watch(self, listener):
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def command(self, wish):
        if self.refuse:
            raise self.refuse
        self.commands.append(wish)

    def start(self, total=100, metric="accuracy"):
        self.progress.apply(ev.PhaseBegan(time=1.0, phase="loading_model"))
        self.progress.apply(ev.Started(time=2.0, total_steps=total, steps_per_epoch=total // 2, metric=metric))

    def steps(self, first, last):
        for step in range(first, last + 1):
            self.progress.apply(
                ev.StepEnded(time=2.0 + step, step=step, epoch=step / 50, loss=1 / step, learning_rate=1e-5, grad_norm=1.0,
                             examples=32, tokens=640, seconds=0.5, memory_bytes=10**9)
            )  # fmt: skip

    def evaluated(self, step, accuracy, best=True):
        scores = {"accuracy": accuracy, "loss": 1 - accuracy}
        self.progress.apply(ev.EvalEnded(time=3.0 + step, step=step, epoch=1.0, metrics=scores, n=200, seconds=1.0, best=best))


@pytest.fixture
def job(tmp_path):
    return FakeJob(tmp_path)


@pytest.fixture
def panel(job, monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    made = ProgressPanel(job, resume=lambda: job.commands.append("restart"))
    made.sent = []
    made.send = lambda content, buffers=None: made.sent.append((content, buffers))
    yield made
    made.close()


def click(panel, content):
    panel._handle_custom_msg(content, [])


def unpack(data):
    numbers = struct.unpack(f"<{len(data) // 4}f", data)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_a_tick_sends_only_the_new_points(panel, job):
    job.start()
    job.steps(1, 3)
    panel._tick()
    job.steps(4, 5)
    panel._tick()
    content, buffers = panel.sent[-1]
    assert content["curves"] == [("train", 3)]
    assert unpack(buffers[0]) == [(4.0, 0.25), (5.0, pytest.approx(0.2))]


def test_a_resume_that_voids_steps_sends_the_curve_whole(panel, job):
    job.start()
    job.steps(1, 9)
    panel._tick()
    job.progress.apply(ev.Started(time=20.0, step=4, total_steps=100))
    panel._tick()
    content, buffers = panel.sent[-1]
    assert content["curves"][0] == ("train", 0)
    assert [step for step, _ in unpack(buffers[0])] == [1, 2, 3, 4]


def test_deltas_add_up_to_what_a_reloaded_page_gets(job):
    job.start(total=5000)
    sent, points = curves.Sent(), dict.fromkeys(curves.NAMES, b"")
    for first in range(1, 5000, 37):
        job.steps(first, first + 36)
        job.evaluated(first + 36, 0.5)
        parts, buffers = sent.delta(job.progress)
        for (name, start), data in zip(parts, buffers, strict=True):
            points[name] = points[name][: start * 8] + data
    assert points == curves.whole(job.progress)


def test_what_is_not_a_number_reaches_the_page(job):
    assert math.isnan(unpack(curves.pack([(1, math.nan)]))[0][1])


def test_many_steps_and_evaluations_stay_few_points(job):
    job.start(total=10**6)
    for step in range(1, 6001):
        job.steps(step, step)
        job.evaluated(step, 0.5, best=step == 777)
    whole = curves.whole(job.progress)
    assert len(whole["train"]) // 8 <= MOST_POINTS
    assert len(whole["metric"]) // 8 <= curves.MOST_EVALUATIONS + 2
    assert {777.0, 6000.0} <= {step for step, _ in unpack(whole["metric"])}


def test_a_page_that_asks_later_gets_state_and_history_of_that_moment(panel, job):
    job.start()
    job.steps(1, 7)
    state = panel.get_state()
    assert state["state"]["step"] == 7
    assert len(state["curves"]["train"]) == 7 * 8
    assert state["state"]["words"] == "running"


def test_a_page_loaded_while_the_run_is_going_is_told_that_its_card_is_late(panel, job):
    job.start()
    assert panel.get_state()["late"] is True
    assert panel.late is False  # the page that saw the start is not told


def test_a_page_loaded_after_the_end_is_told_too_unless_a_page_saw_the_end(panel, job):
    job.start()
    job.progress.apply(ev.Ended(time=9.0, state="cancelled"))
    panel.update()
    click(panel, {"type": "seen"})
    assert panel.get_state()["late"] is False
    job.start()  # it was resumed
    panel.update()
    job.progress.apply(ev.Ended(time=19.0, state="cancelled"))
    panel.update()
    assert panel.get_state()["late"] is True


def test_only_the_asked_key_is_given(panel):
    assert set(panel.get_state("words")) == {"words"}


@pytest.mark.parametrize(
    "junk", [None, 3, [], {}, {"type": "command"}, {"type": "command", "command": 5}, {"type": "command", "command": "rm -rf"},
             {"type": "command", "command": ["stop"]}, {"type": "tick"}, "stop"],
)  # fmt: skip
def test_junk_from_the_page_is_ignored(panel, job, junk):
    job.start()
    click(panel, junk)
    assert job.commands == []
    assert panel.sent == []


def test_a_click_is_shown_as_asked_until_the_state_changes(panel, job):
    job.start()
    click(panel, {"type": "command", "command": "pause"})
    assert job.commands == ["pause"]
    assert panel.sent[-1][0]["state"]["words"] == "pause asked for…"
    assert panel.sent[-1][0]["state"]["state"] == "running"
    job.progress.apply(ev.Paused(time=9.0, step=1))
    panel.update(job)
    assert panel.sent[-1][0]["state"]["words"] == "paused"


def test_what_does_not_fit_the_state_is_refused_in_words(panel, job):
    click(panel, {"type": "command", "command": "resume"})
    assert job.commands == []
    assert "cannot be asked for" in panel.sent[-1][0]["state"]["error"][0]


def test_an_error_of_the_job_is_shown_and_not_raised(panel, job):
    job.start()
    job.refuse = OSError("disk full")
    click(panel, {"type": "command", "command": "stop"})
    assert panel.sent[-1][0]["state"]["error"] == ["disk full"]
    job.refuse = RunError("metrics.not_finite")
    click(panel, {"type": "command", "command": "stop"})
    assert panel.sent[-1][0]["state"]["words"] == "running"


def test_a_broken_page_connection_does_not_reach_the_watcher(panel, job):
    def broken(*_):
        raise ConnectionError

    panel.send = broken
    panel.update(job)


@pytest.mark.parametrize("state", ["died", "stopped"])
def test_a_run_that_died_or_stopped_can_be_resumed_from_the_panel(panel, job, state):
    job.start()
    job.progress.state = state
    click(panel, {"type": "command", "command": "restart"})
    assert job.commands == ["restart"]
    assert job.listeners == [panel.update]


def test_updates_come_at_most_four_times_a_second(panel, job):
    job.start()
    for _ in range(50):
        panel.update(job)
    assert len(panel.sent) == 1


def test_a_change_of_state_is_shown_at_once(panel, job):
    job.start()
    panel.update(job)
    job.progress.apply(ev.Stopping(time=3.0, step=1))
    panel.update(job)
    assert [content["state"]["state"] for content, _ in panel.sent] == ["running", "stopping"]


def test_the_bundle_has_html_and_text_beside_the_view(panel, job):
    data, _ = panel._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(data)
    assert "sentiment" in data["text/html"]
    panel.has_card = True
    assert len(panel._repr_mimebundle_()[0]["text/html"]) < 400


def test_a_late_card_is_written_by_the_next_cell_of_ours(panel, job, monkeypatch):
    monkeypatch.setattr(live, "live", {job.folder: live.Shown(panel, live.Card(job))})
    shown = []
    monkeypatch.setattr(live.Card, "show", lambda self: shown.append(self))
    job.start()
    panel.get_state()  # a reload
    live.settle()
    assert shown == []
    job.progress.apply(ev.Ended(time=9.0, state="cancelled"))
    live.settle()
    live.settle()
    assert len(shown) == 1
    assert panel.sent[-1][0]["state"]["late"] is False


def test_every_word_of_the_page_is_in_the_catalogue():
    assert all(messages.has(f"panel.{key}") for key in WORDS)


def test_the_module_is_small_and_enters_text_as_text_only():
    assert len(ProgressPanel._esm) < 60_000
    assert not any(
        word in ProgressPanel._esm for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "http://localhost", "eval(")
    )


def test_facts_are_worded(job, monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    job.start()
    job.steps(1, 10)
    facts = dict(snapshot(job.progress).facts)
    # 32 examples and 640 tokens in half a second; 90 steps of half a second are left
    assert facts == {"step": "10 / 100", "epoch": "0.20 / 2", "loss": "0.1", "time left": "0:45", "examples/s": "64",
                     "tokens/s": "1,280", "memory": "1.00 GB"}  # fmt: skip


def test_many_panels_close_the_oldest_finished_one(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "live", {})
    shown = [
        live.Shown(ProgressPanel(FakeJob(tmp_path / str(i))), live.Card(FakeJob(tmp_path / str(i))))
        for i in range(live.MOST_PANELS + 1)
    ]
    shown[3].panel.job.progress.state = "finished"
    live.live.update({each.panel.job.folder: each for each in shown})
    live._close_oldest()
    assert shown[3].panel.comm is None
    assert len(live.live) == live.MOST_PANELS
    live.close_all()
    assert all(each.panel.comm is None for each in shown)
