"""What probes saw of a model in training: in the live panel, on the card and as text; and the panel of a probe while it runs."""

import json
import math
from pathlib import Path

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.probe_reports import Measurement
from fm_notebook.contracts.scores import Interval
from fm_notebook.panels import card, looks, passing
from fm_notebook.panels.passing import PassingPanel
from fm_notebook.panels.progress import ProgressPanel
from fm_notebook.panels.snapshot import commands
from fm_notebook.session.progress import Progress


class Job:
    """A job that is only looked at."""

    def __init__(self, kind="finetune"):
        self.name, self.folder, self.asked = "sentiment", Path("/no/where"), []
        self.progress = Progress("sentiment", "/no/where", kind)

    def refresh(self):
        return False

    def watch(self, _listener):
        return lambda: None

    def command(self, wish):
        self.asked.append(wish)


def look(step, value, *, probe="crows-pairs", variant="cps", interval=True):
    between = Interval(low=value - 5, high=value + 5, method="wilson") if interval else None
    found = Measurement(name="stereotype_preference", value=value, n=200, neutral=50.0, interval=between, is_main=True)
    return ev.ProbeScored(time=5.0 + step, step=step, epoch=0.1, probe=probe, variant=variant, measurement=found)


@pytest.fixture
def job():
    made = Job()
    made.progress.apply(ev.PhaseBegan(time=1.0, phase="loading_model"))
    made.progress.apply(ev.Started(time=2.0, total_steps=400, steps_per_epoch=100))
    for each in (look(0, 52.0), look(200, 55.0), look(0, 0.5, probe="weat", variant="", interval=False)):
        made.progress.apply(each)
    return made


class Heard(ProgressPanel):
    def __init__(self, *given):
        self.sent = []
        super().__init__(*given)

    def send(self, content, buffers=None):
        del buffers
        json.dumps(content, allow_nan=False)
        self.sent.append(content)


@pytest.fixture
def panel(job):
    made = Heard(job)
    yield made
    made.close()


def test_a_page_gets_a_chart_a_probe_with_the_ends_of_its_band(panel):
    first, second = panel.get_state()["looks"]
    assert first["name"] == "crows-pairs (cps)"
    assert (first["neutral"], first["points"]) == (50.0, [[0, 52.0, 47.0, 57.0], [200, 55.0, 50.0, 60.0]])
    assert second["points"] == [[0, 0.5, None, None]]


def test_looks_are_sent_only_where_there_are_new_ones(panel, job):
    panel.update()
    panel._tick()
    assert ["looks" in each for each in panel.sent] == [True, False]
    job.progress.apply(look(400, 58.0))
    panel._tick()
    assert panel.sent[-1]["looks"][0]["points"][-1][1] == 58.0
    panel._on_message(panel, {"type": "whole"}, [])
    assert "looks" in panel.sent[-1]


def test_a_run_without_probes_sends_none():
    panel = Heard(Job())
    panel._tick()
    assert "looks" not in panel.sent[-1]
    panel.close()


def test_a_resumed_run_that_lost_its_last_looks_shows_the_new_ones(panel, job):
    panel._tick()
    job.progress.apply(ev.Started(time=900.0, total_steps=400, steps_per_epoch=100, step=100))
    job.progress.apply(look(200, 49.0))
    panel._tick()
    assert panel.sent[-1]["looks"][0]["points"][-1][1] == 49.0


def test_what_is_no_number_is_not_drawn(job):
    job.progress.apply(look(300, math.nan, interval=False))
    assert [point[0] for point in looks.charts(job.progress)[0]["points"]] == [0, 200]


def test_of_many_looks_some_are_drawn_and_the_newest_always():
    progress = Job().progress
    for step in range(1001):
        progress.probed.append(look(step, 50.0))
    points = looks.charts(progress)[0]["points"]
    assert len(points) <= looks.MOST_LOOKS + 1
    assert points[-1][0] == 1000


def test_the_card_has_the_first_and_the_last_look_and_a_picture(job):
    text, html = card.plain(job.progress), card.html(job.progress)
    for part in ("What probes saw between the steps", "52.0 (47.0 – 57.0) at step 0", "55.0 (50.0 – 60.0) at step 200"):
        assert part in text
        assert part in html
    assert "crows-pairs (cps), " in html
    assert "looks" not in card.plain(Job().progress)


def test_the_card_is_written_anew_for_a_look(job, monkeypatch):
    monkeypatch.setattr(card, "SHORTEST_PAUSE_SECONDS", 0.0)
    shown = card.Card(job)
    shown._mark()
    assert not shown._is_due()
    job.progress.apply(look(400, 58.0))
    assert shown._is_due()


def test_a_probe_can_be_stopped_and_cancelled_but_not_paused():
    progress = Job("probe").progress
    progress.apply(ev.PhaseBegan(time=1.0, phase="probing"))
    assert commands(progress, resumable=False) == ["stop", "cancel"]
    progress.apply(ev.Stopping(time=2.0, step=0))
    assert commands(progress, resumable=False) == ["cancel"]


class Handle:
    def __init__(self):
        self.shown = None

    def update(self, data, *, raw):
        assert raw
        self.shown = data


def test_a_passing_panel_is_there_while_the_job_runs_and_a_line_afterwards(monkeypatch):
    monkeypatch.setattr(passing, "SILENT_SECONDS", -1.0)
    handle, displayed, job = Handle(), [], Job("probe")
    monkeypatch.setattr("IPython.display.display", lambda data, **_: displayed.append(data) or handle)
    tell = PassingPanel(job, lambda progress: f"done: {progress.state}")
    job.progress.apply(ev.PhaseBegan(time=1.0, phase="probing"))
    assert tell(job.progress) is False
    tell(job.progress)
    assert len(displayed) == 1
    job.progress.apply(ev.Ended(time=3.0, state="stopped"))
    tell(job.progress)
    assert handle.shown == {"text/plain": "done: stopped"}


def test_a_job_that_is_over_soon_shows_no_panel(monkeypatch):
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: pytest.fail("shown"))
    job = Job("probe")
    tell = PassingPanel(job, lambda _: "done")
    tell(job.progress)
    job.progress.apply(ev.Ended(time=3.0, state="finished"))
    tell(job.progress)
