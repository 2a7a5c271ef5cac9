"""The runs panel without a page: what it sends and when, what it takes, and that it never raises."""

import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from fm_notebook import messages
from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts, Interval, RunResult
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.jobs.control import CommandReader
from fm_notebook.jobs.folder import Identity, JobFolder
from fm_notebook.jobs.journal import JournalWriter
from fm_notebook.jobs.locks import Lock
from fm_notebook.panels import runs
from fm_notebook.panels.runs import RunsPanel
from fm_notebook.panels.runs import rows as runs_rows
from fm_notebook.session import store

HOSTILE = "<img src=x onerror=alert(1)>"
SPEC = FinetuneSpec(
    model=ModelRef(source="bert-base-cased", kind="hub", location="bert-base-cased"),
    train=DataRef(source="reviews", kind="value", fingerprint="abcdef0123456789"),
)
FACTS = DataFacts(labels=["n", "p"], train_rows=8, eval_rows=2, train_label_counts=[4, 4], eval_label_counts=[1, 1])
RESULT = RunResult(
    metrics={"accuracy": 0.8123}, intervals={"accuracy": Interval(low=0.75, high=0.87, method="wilson")}, best_step=2, steps=2,
    metric="accuracy", n_eval=50, seconds={"train": 2.0}, examples_per_second=1.0, tokens_per_second=1.0, peak_memory_bytes=1,
)  # fmt: skip
BEGAN = ev.PhaseBegan(time=8.0, phase="loading_libraries")
STARTED = ev.Started(time=9.0, total_steps=90, metric="accuracy", provenance={"torch": "2.13.0"})


def step(number: int) -> ev.StepEnded:
    return ev.StepEnded(time=10.0 + number, step=number, epoch=0.1, loss=1 / number, learning_rate=1e-3, grad_norm=1.0,
                        examples=1, tokens=1, seconds=1.0, memory_bytes=1)  # fmt: skip


FINISHED = (BEGAN, STARTED, step(1), step(2), ev.Ended(time=70.0, state="finished", result=RESULT))


def write(folder: JobFolder, *events: ev.Event) -> None:
    writer = JournalWriter(folder.events)
    for event in events:
        writer.append(event)
    writer.close()


@pytest.fixture
def make(home, monkeypatch):
    """Makes a run with the given journal; no worker is started for one that waits."""
    from fm_notebook.session import job, launch

    asked = []
    monkeypatch.setattr(job, "ensure_worker", asked.append)
    monkeypatch.setattr(launch, "begin", lambda job, on: asked.append((job.name, on)))

    def made(name: str, *events: ev.Event, created: float = 1.0, **fields) -> JobFolder:
        folder = store.create_run(name)
        identity = Identity(name=name, key="k", created=created)
        folder.write(spec=SPEC.model_copy(update=fields), identity=identity, facts=FACTS)
        write(folder, *events)
        return folder

    made.asked = asked  # type: ignore[attr-defined]
    return made


@pytest.fixture
def alive(make):
    """A run of two steps whose worker holds its lock."""
    folder = make("alive", BEGAN, STARTED, step(1), step(2), created=2.0)
    lock = Lock(folder.lock)
    assert lock.acquire()
    yield folder
    lock.release()


class Heard(RunsPanel):
    """A panel that keeps what it sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, Any], list[bytes]]] = []
        super().__init__()

    def send(self, content, buffers=None):
        self.sent.append((content, buffers or []))


@pytest.fixture
def panel():
    """Makes panels without a ticker."""
    panels = []

    def made() -> Heard:
        panels.append(Heard())
        return panels[-1]

    yield made
    for each in panels:
        each.close()


def tick(panel: Heard, *, whole: bool = True) -> list[dict]:
    """What a tick sends."""
    panel.sent.clear()
    panel._looked = 0.0 if whole else time.monotonic()
    panel.tick()
    return [content for content, _ in panel.sent]


def ask(panel: Heard, **content) -> list[dict]:
    """What the panel answers to a message of a page."""
    panel.sent.clear()
    panel._handle_custom_msg({"asked": "p-1", **content}, [])
    deadline = time.monotonic() + 10
    while not any(each.get("asked") == "p-1" for each, _ in panel.sent) and time.monotonic() < deadline:
        time.sleep(0.01)
    return [content for content, _ in panel.sent]


def rows(panel: Heard) -> dict[str, dict]:
    return {row["id"]: row for row in panel.get_state()["rows"]}


def test_a_page_that_asks_for_the_state_gets_every_run_in_words(make, panel):
    make("a", *FINISHED)
    (row,) = rows(panel()).values()
    told = dict(zip(runs_rows.COLUMNS, row["cells"], strict=True))
    assert told.pop("made").startswith("1970-01-01")
    assert told == {
        "run": "a.1", "state": "finished", "metric": "accuracy 0.812", "interval": "0.750 – 0.870, n = 50",
        "model": "bert-base-cased", "data": "abcdef01", "task": "text-classification", "duration": "1:02",
    }  # fmt: skip
    assert row["commands"] == ["delete"]
    json.dumps(row, allow_nan=False)


def test_the_words_are_those_of_the_language(make, panel, monkeypatch):
    make("a", *FINISHED)
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    made = panel()
    assert rows(made)["a.1"]["cells"][1] == "已完成"
    assert made.words["overlay"] == messages.catalogue("zh")["runs_panel.overlay"]


def test_nothing_is_sent_while_nothing_changes(make, alive, panel):
    make("a", *FINISHED)
    made = panel()
    assert [tick(made), tick(made, whole=False)] == [[], []]


def test_only_the_row_that_changed_is_sent(make, alive, panel):
    make("a", *FINISHED)
    made = panel()
    write(alive, step(3))
    (message,) = tick(made, whole=False)
    assert [row["id"] for row in message["rows"]] == ["alive.1"]
    assert message["rows"][0]["cells"][1] == "running, 3/90"
    assert (message["gone"], message["curves"], message["opened"]) == ([], [], [])


def test_new_and_removed_runs_are_told_at_a_whole_look_alone(make, panel):
    folder = make("a", *FINISHED)
    made = panel()
    make("b", *FINISHED)
    assert tick(made, whole=False) == []
    (message,) = tick(made)
    assert [row["id"] for row in message["rows"]] == ["b.1"]
    import shutil

    shutil.rmtree(folder.path)
    (message,) = tick(made)
    assert (message["gone"], message["rows"]) == (["a.1"], [])


def test_of_more_runs_than_a_look_can_read_the_others_follow_without_a_wait(make, panel, monkeypatch):
    for name in "abc":
        make(name, *FINISHED)
    monkeypatch.setattr(runs, "LOOK_SECONDS", -1.0)
    made = panel()
    assert (rows(made), made.index.unread) == ({}, 3)
    assert "3 older runs are not shown" in made._repr_mimebundle_()[0]["text/plain"]
    monkeypatch.setattr(runs, "LOOK_SECONDS", 10.0)
    (message,) = tick(made, whole=False)
    assert [row["id"] for row in message["rows"]] == ["a.1", "b.1", "c.1"]


def test_details_go_out_only_when_a_run_is_opened(make, panel):
    folder = make("a", *FINISHED)
    made = panel()
    assert "torch" not in json.dumps(made.get_state(), default=str)
    details, curves = ask(made, type="open", run="a.1")
    told = details["details"]
    sections = {section["key"]: section["rows"] for section in told["sections"]}
    assert ["torch", "2.13.0"] in sections["environment"]
    assert ["learning_rate", "5e-05"] in sections["spec"]
    assert told["scores"] == [("accuracy", "0.812", "0.750 – 0.870", "50")]
    assert told["cell"] == "%%finetune a\nmodel = 'bert-base-cased'\ntrain = reviews\n"
    assert told["folder"] == str(folder.path)
    assert (curves["run"], curves["curves"]) == ("a.1", [("a.1", "train", 0)])
    assert struct.unpack("<4f", made.sent[-1][1][0]) == (1.0, 1.0, 2.0, 0.5)


def test_an_opened_run_that_goes_on_gets_new_points_and_numbers_in_the_message_of_its_row(alive, panel):
    made = panel()
    ask(made, type="open", run="alive.1")
    assert tick(made, whole=False) == []
    write(alive, step(3))
    (message,) = tick(made, whole=False)
    assert message["curves"] == [("alive.1", "train", 2)]
    assert struct.unpack("<2f", made.sent[-1][1][0]) == (3.0, pytest.approx(1 / 3))
    (news,) = message["opened"]
    assert "sections" not in news
    assert ("step", "3 / 90") in news["facts"]


def test_an_evaluation_and_the_end_send_the_details_anew(alive, panel):
    made = panel()
    ask(made, type="open", run="alive.1")
    write(alive, ev.EvalEnded(step=3, epoch=0.1, metrics={"accuracy": 0.5}, n=9, seconds=1.0, best=True))
    (message,) = tick(made, whole=False)
    assert message["opened"][0]["sections"]
    write(alive, ev.Ended(time=20.0, state="finished", result=RESULT))
    (message,) = tick(made, whole=False)
    assert (message["opened"][0]["state"], message["opened"][0]["scores"][0][1]) == ("finished", "0.812")
    assert tick(made) == []


def test_a_closed_run_is_told_of_by_its_row_alone(alive, panel):
    made = panel()
    ask(made, type="open", run="alive.1")
    made._handle_custom_msg({"type": "close", "run": "alive.1"}, [])
    write(alive, step(3))
    (message,) = tick(made, whole=False)
    assert message["opened"] == []


def test_overlaid_runs_send_their_curves_and_no_details(make, panel):
    make("a", *FINISHED)
    (message,) = ask(panel(), type="curves", run="a.1")
    assert (message["type"], message["metric"]) == ("curves", "accuracy")


def test_two_specs_are_compared(make, panel):
    make("a", *FINISHED)
    make("b", *FINISHED, seed=3)
    (message,) = ask(panel(), type="diff", runs=["a.1", "b.1"])
    assert (message["heads"], message["rows"]) == (["field", "a.1", "b.1"], [["seed", "0", "3"]])


@pytest.mark.parametrize(("verb", "word"), [("stop", "stop"), ("pause", "pause"), ("resume", "run"), ("cancel", "cancel")])
def test_a_click_writes_the_wish(alive, panel, verb, word):
    answer = ask(panel(), type="do", verb=verb, run="alive.1")[-1]
    assert (answer["type"], answer["said"]) == ("done", "")
    assert CommandReader(alive.control)() == word


def test_the_row_says_what_was_asked_until_the_worker_has_done_it(alive, panel):
    tell = ask(panel(), type="do", verb="stop", run="alive.1")[0]
    assert tell["rows"][0]["cells"][1] == "stopping…, 2/90"
    assert tell["rows"][0]["commands"] == ["cancel"]


def test_a_stopped_run_is_resumed_as_before(make, panel):
    folder = make("a", BEGAN, STARTED, step(1), ev.Ended(time=20.0, state="stopped"))
    folder.train_rows.write_bytes(b"")
    made = panel()
    assert rows(made)["a.1"]["commands"] == ["restart", "delete"]
    assert ask(made, type="do", verb="restart", run="a.1")[-1]["type"] == "done"
    assert make.asked == [("a.1", "process")]


def test_delete_removes_the_run_and_says_so(make, panel):
    folder = make("a", *FINISHED)
    tell, done = ask(panel(), type="do", verb="delete", run="a.1")
    assert not folder.path.exists()
    assert tell["gone"] == ["a.1"]
    assert done["said"] == "'a.1' and its data are removed."


def test_export_writes_to_the_folder_that_was_typed(make, panel, tmp_path):
    folder = make("a", *FINISHED)
    folder.model.mkdir()
    (folder.model / "config.json").write_text("{}")
    made = panel()
    assert ask(made, type="open", run="a.1")[0]["details"]["exportable"]
    answer = ask(made, type="do", verb="export", run="a.1", path=f" {tmp_path / 'out'} ")[-1]
    assert str(tmp_path / "out") in answer["said"]
    assert (tmp_path / "out" / "README.md").exists()


FAULTS = {
    "a run that is gone": ({"type": "open", "run": "b.1"}, "There is no run 'b.1' any more"),
    "a path for a run": ({"type": "do", "verb": "delete", "run": "../runs/a.1"}, "There is no run"),
    "no folder": ({"type": "do", "verb": "export", "run": "a.1", "path": " "}, "No folder to export to"),
    "a folder that is full": ({"type": "do", "verb": "export", "run": "a.1", "path": "{full}"}, "is not empty"),
    "stopping what is over": ({"type": "do", "verb": "stop", "run": "a.1"}, "is over already"),
    "resuming what has finished": ({"type": "do", "verb": "restart", "run": "a.1"}, "a.1"),
    "deleting what lives": ({"type": "do", "verb": "delete", "run": "alive.1"}, "is still alive"),
    "exporting what lives": ({"type": "do", "verb": "export", "run": "alive.1", "path": "x"}, "is still alive"),
}


@pytest.mark.parametrize(("content", "words"), FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_done_is_said_in_words_and_nothing_is_raised(make, alive, panel, tmp_path, content, words):
    folder = make("a", *FINISHED)
    folder.model.mkdir()
    (folder.model / "config.json").write_text("{}")
    content = {key: value.format(full=tmp_path) for key, value in content.items()}
    answer = ask(panel(), **content)[-1]
    assert (answer["type"], answer["asked"]) == ("fault", "p-1")
    assert words in answer["text"]
    assert folder.path.exists()


@pytest.mark.parametrize(
    "content", [None, 3, {}, {"type": "do"}, {"type": "do", "verb": "burn", "run": "a.1"}, {"type": "open", "run": 3}]
)
def test_a_message_of_another_form_does_nothing(make, panel, content):
    folder = make("a", *FINISHED)
    panel()._handle_custom_msg(content, [])
    assert folder.path.exists()


def test_the_saved_notebook_keeps_the_table_without_markup_from_data(make, panel):
    make("a", *FINISHED, model=SPEC.model.model_copy(update={"source": HOSTILE}))
    made = panel()
    data, _ = made._repr_mimebundle_()
    assert "accuracy 0.812" in data["text/html"]
    assert "accuracy 0.812" in data["text/plain"]
    assert "<img" not in data["text/html"]
    assert "&lt;img" in data["text/html"]
    assert "style=" not in data["text/html"].replace('style="text-align: left"', "")


def test_a_panel_shown_again_is_the_same_and_a_closed_one_is_not(make, monkeypatch):
    make("a", *FINISHED)
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setattr(runs, "is_plain", lambda: False)
    runs.show()
    runs.show()
    assert shown[0] is shown[1]
    shown[0].close()
    runs.show()
    assert shown[2] is not shown[0]
    runs.close()
    assert shown[2].comm is None


def test_without_a_front_end_the_table_is_printed(make, capsys, monkeypatch):
    make("a", *FINISHED)
    monkeypatch.setattr(runs, "is_plain", lambda: True)
    runs.show()
    assert "accuracy 0.812  0.750 – 0.870, n = 50" in capsys.readouterr().out


def test_the_ticker_ends_with_the_panel(make, alive, panel):
    import threading

    made = panel()
    made.start()
    write(alive, step(3))
    deadline = time.monotonic() + 5
    while not made.sent and time.monotonic() < deadline:
        time.sleep(0.02)
    assert made.sent[0][0]["type"] == "tick"
    made.close()
    deadline = time.monotonic() + 5
    while any(each.name == "fm_notebook-runs" for each in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(each.name == "fm_notebook-runs" for each in threading.enumerate())


def test_where_threads_are_mute_the_page_asks(make, alive, panel, monkeypatch):
    import sys
    import types

    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    made = panel()
    made.start()
    assert made.pull is True
    write(alive, step(3))
    made._looked = 0.0
    made.sent.clear()
    made._handle_custom_msg({"type": "look"}, [])
    assert made.sent[0][0]["type"] == "tick"


def test_every_part_of_the_module_is_in_the_package():
    folder = Path(runs.__file__).parents[1] / "static"
    assert RunsPanel._esm.startswith((folder / "draw.js").read_text("utf-8"))
    assert RunsPanel._esm.endswith((folder / "runs.js").read_text("utf-8"))
