"""The form without a page: what it answers, what it keeps to itself, and what it starts."""

import json
from html import unescape
from pathlib import Path

import pandas as pd
import pytest
from bleach import Cleaner

from fm_notebook import messages, verbs
from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts, Interval
from fm_notebook.contracts.trials import Estimate
from fm_notebook.errors import RunError
from fm_notebook.panels import form, live
from fm_notebook.panels.form import WORDS, FormPanel
from fm_notebook.panels.form import start as form_start
from fm_notebook.panels.form import text as form_text
from fm_notebook.session import launch
from fm_notebook.session.progress import Progress
from fm_notebook.session.run import Run

SECRET = "nobody may read this"


class FakeJob:
    def __init__(self, folder, name="sentiment.1"):
        self.name, self.folder = name, Path(folder)
        self.progress, self.listeners = Progress(name, str(folder)), []

    state_in_words = "queued"

    def refresh(self):
        return False

    def watch(self, listener):
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def failure(self):
        return RunError("run.no_result", name=self.name, state="failed")

    def end(self, **how):
        self.progress.apply(ev.Ended(time=1.0, state="finished", **how))
        for listener in list(self.listeners):
            listener(self)


class Handle:
    def __init__(self):
        self.shown = []

    def update(self, bundle, raw):
        assert raw
        self.shown.append(bundle)


@pytest.fixture
def namespace():
    return {"films": pd.DataFrame({"text": [SECRET, "b"] * 9, "label": ["p", "n"] * 9})}


@pytest.fixture
def panel(home, namespace):
    made = FormPanel(namespace, "%%finetune sentiment\n# mine\ntrain = films\n")
    made.sent = []
    made.send = lambda content, buffers=None: made.sent.append(content)
    made.text_handle, made.card_handle = Handle(), Handle()
    yield made
    made.close()
    live.close_all()


def say(panel, **content):
    """What the page sends; the state that comes back."""
    panel._handle_custom_msg({"edit": 1, "left": False, **content}, [])
    return panel.sent[-1]["state"]


def test_a_change_of_a_field_comes_back_as_text_and_a_change_of_the_text_as_fields(panel):
    state = say(panel, type="field", path="epochs", typed="2", left=True, edit=7)
    assert state["text"] == "%%finetune sentiment\n# mine\ntrain = films\nepochs = 2\n"
    assert state["edit"] == 7
    state = say(panel, type="text", text="%%finetune sentiment\nepochs = 3\n# mine\n")
    assert state["values"] == {"epochs": "3"}
    assert say(panel, type="name", typed="other")["name"] == "other"


def test_what_is_wrong_comes_back_in_words(panel):
    state = say(panel, type="field", path="learning_rate", typed="-1")
    assert ["learning_rate", ["Line 4: learning_rate = -1 is not possible.", "  learning_rate is a number above 0."]] in state[
        "faults"
    ]
    state = say(panel, type="text", text="%%finetune sentiment\n(((")
    assert not state["readable"]
    assert state["text"].endswith("(((")
    assert say(panel, type="field", path="epochs", typed="3")["wrong"]


def test_variables_made_later_are_offered(panel, namespace):
    namespace["more"] = [{"text": "a", "label": 1}]
    assert "more" in [source for source, _, _ in say(panel, type="look")["offers"]["rows"]]


def test_rows_go_to_the_page_that_asked_and_nowhere_else(panel):
    say(panel, type="preview", path="train")
    (preview,) = [message["preview"] for message in panel.sent if message["type"] == "preview"]
    assert SECRET in preview["cells"][0]
    assert preview["balance"] == [("p", 9, 0.5), ("n", 9, 0.5)]
    others = [message for message in panel.sent if message["type"] != "preview"]
    kept = [
        others,
        panel.get_state(),
        panel.get_state(key=["state", "words", "sections"]),
        panel._repr_mimebundle_(),
        panel.text_handle.shown,
    ]
    assert SECRET not in json.dumps(kept, default=str)


def test_a_look_at_rows_that_are_not_there_says_so(panel):
    assert say(panel, type="preview", path="eval")["wrong"] == ["eval names no rows that could be shown yet."]


def test_a_page_that_is_loaded_anew_gets_the_draft_as_it_is(panel):
    say(panel, type="field", path="epochs", typed="2")
    assert panel.get_state()["state"]["values"]["epochs"] == "2"


def test_the_static_twin_is_written_when_a_field_is_left_and_survives_sanitizers(panel):
    say(panel, type="field", path="text", typed="<b>x</b>")
    assert panel.text_handle.shown == []
    say(panel, type="field", path="text", typed="<b>x</b>", left=True)
    (bundle,) = panel.text_handle.shown
    assert bundle["text/plain"] == panel.draft.text
    assert "&lt;b&gt;x" in bundle["text/html"]
    clean = Cleaner(tags={"details", "summary", "pre"}, attributes={"details": ["open"]}).clean(bundle["text/html"])
    assert unescape(clean) == unescape(bundle["text/html"])
    assert "<b>" not in clean
    assert "needs a running kernel" in panel._repr_mimebundle_()[0]["text/html"]


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """What was asked of the verbs, which start nothing."""
    asked, job = [], FakeJob(tmp_path)

    def prepare(name, fields, **how):
        asked.append((name, {key: each.source for key, each in fields.items()}, how))
        return launch.Launched(job, "started")

    monkeypatch.setattr(verbs, "prepare_finetune", prepare)
    monkeypatch.setattr(verbs, "prepare_dry_run", prepare)
    monkeypatch.setattr(launch, "begin", lambda job, **how: asked.append(("begin", how)))
    return asked, job


def test_start_does_what_the_cell_does_and_shows_the_run_below(panel, namespace, launched):
    asked, _ = launched
    panel.draft.write("%%finetune sentiment --again --on kernel\ntrain = films\n")
    state = say(panel, type="start", left=True)
    assert asked == [("sentiment", {"train": "films"}, {"again": True, "on": "kernel"}), ("begin", {"on": "kernel"})]
    assert isinstance(namespace["sentiment"], Run)
    assert state["run"].startswith("IPY_MODEL_")
    assert state["said"] == ("sentiment.1 has been started.",)
    assert state["busy"] == ""
    assert any(message["state"]["busy"] == "start" for message in panel.sent if message["type"] == "state")
    assert panel.card_handle.shown


def test_a_start_that_fails_says_why_and_keeps_everything(panel, namespace):
    text = panel.draft.text
    state = say(panel, type="start", left=True)
    assert state["wrong"][0] == "The field 'model' is missing."
    assert (state["text"], state["busy"], state["run"]) == (text, "", "")
    assert "sentiment" not in namespace
    say(panel, type="field", path="epochs", typed="1 / 0")
    assert say(panel, type="start", left=True)["wrong"][0].endswith("ZeroDivisionError: division by zero")


def test_an_estimate_is_told_as_it_comes_and_marked_when_the_cell_has_changed(panel, launched):
    _, job = launched
    state = say(panel, type="estimate", left=True)
    assert state["estimate"][0].startswith("Estimating: ")
    job.end(estimate=estimate())
    assert panel.sent[-1]["state"]["estimate"] == [
        "memory: about 500 MB more, 8.00 GB free",
        "time: about 1:20 (1:10 to 1:30)",
        "disk: at most 200 MB, 9.00 GB free",
        "30 steps",
    ]
    assert not panel.sent[-1]["state"]["estimate_old"]
    assert say(panel, type="field", path="epochs", typed="9")["estimate_old"]


def test_an_estimate_that_fails_says_why(panel, launched):
    say(panel, type="estimate", left=True)
    launched[1].end()
    assert "without a result" in panel.sent[-1]["state"]["estimate"][0]


def test_an_estimate_that_does_not_fit_says_what_to_do():
    lines = form_start.lines(estimate(free_memory_bytes=1, interval=None))
    assert lines[1] == "time: about 1:20"
    assert lines[-1].startswith("This does not seem to fit")


def estimate(**changed) -> Estimate:
    facts = DataFacts(labels=["n", "p"], train_rows=8, eval_rows=2, train_label_counts=[4, 4], eval_label_counts=[1, 1])
    known = {
        "name": "sentiment", "model": "m", "task": "text-classification", "device": "cpu", "precision": "fp32", "parameters": 10,
        "trainable_parameters": 10, "memory": {}, "memory_bytes": 5 * 10**8, "free_memory_bytes": 8 * 10**9, "total_steps": 30,
        "steps_per_epoch": 10, "batch_size": 32, "micro_batch_size": 32, "checkpoint_bytes": 1, "model_bytes": 1,
        "disk_bytes": 2 * 10**8, "free_disk_bytes": 9 * 10**9, "data": facts, "token_percentiles": {}, "max_length": 256,
        "step_seconds": [2.0], "seconds": {"train": 80.0}, "interval": Interval(low=70.0, high=90.0, method="t"),
    }  # fmt: skip
    return Estimate.model_validate(known | changed)


def test_a_defect_of_ours_is_shown_and_loses_nothing(panel, monkeypatch):
    monkeypatch.setattr(form.form_offers, "offers", lambda *_: 1 / 0)
    panel._handle_custom_msg({"edit": 2, "type": "field", "path": "epochs", "typed": "2"}, [])
    assert panel.sent[-1] == {"type": "defect", "text": "ZeroDivisionError: division by zero"}
    assert panel.draft.sources()["epochs"] == "2"


def test_only_few_forms_stay_open(home, monkeypatch):
    monkeypatch.setattr(form, "is_plain", lambda: False)
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: Handle())
    for number in range(form.MOST_FORMS + 3):
        form.show({}, f"%%finetune run_{number}\n")
    assert len(form.opened) == form.MOST_FORMS
    assert form.newest().draft.name == f"run_{number}"
    assert form.newest(f"run_{number - 1}").draft.name == f"run_{number - 1}"
    assert form.newest("run_0") is None
    form.close_all()
    assert form.newest() is None


def test_where_nobody_can_fill_it_in_only_what_stays_in_the_file_is_shown(home, monkeypatch):
    shown = []
    monkeypatch.setattr(form, "is_plain", lambda: False)
    monkeypatch.setattr("IPython.display.display", lambda bundle, **_: shown.append(bundle))
    form.show({}, "%%finetune a\nepochs = 3\n", watched=False)
    assert [set(bundle) for bundle in shown] == [{"text/html", "text/plain"}] * 2
    assert shown[1]["text/html"].startswith("<details open>")
    assert "epochs = 3" in shown[1]["text/plain"]
    assert not form.opened


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_word_of_the_page_is_in_both_languages(home, monkeypatch, language):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", language)
    made = FormPanel({}, form_text.new())
    assert set(made.words) == set(WORDS)
    assert all(made.words.values())
    made.close()
