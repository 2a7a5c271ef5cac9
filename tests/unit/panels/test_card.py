"""The card that stays in the file."""

import html.parser
import re

import pytest
from bleach import Cleaner
from bleach.css_sanitizer import CSSSanitizer

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts, Interval, RunResult
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.panels import card
from fm_notebook.session.progress import Progress

EVIL = "<img src=x onerror=alert(1)>"
GITHUB_TAGS = {"p", "b", "br", "ul", "li", "img", "details", "summary", "table", "caption", "thead", "tbody", "tr", "th", "td"}
GITHUB_ATTRIBUTES = {"*": ["align", "open", "scope"], "img": ["src", "alt", "width"]}


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def spec_of(text):
    return FinetuneSpec(train=DataRef(source=text, kind="value"), model=ModelRef(source=text, kind="folder", location="/m"))


def facts_of(labels):
    counts = [7] * len(labels)
    return DataFacts(
        labels=labels, train_rows=14, eval_rows=4, train_label_counts=counts, eval_label_counts=counts, missing_rows=2
    )


def finished(name="sentiment", steps=300, provenance=None):
    progress = Progress(name, "/runs/x")
    progress.apply(
        ev.Started(time=1.0, total_steps=steps, metric="accuracy", device="cpu", precision="fp32", provenance=provenance or {})
    )
    for step in range(1, steps + 1):
        progress.apply(
            ev.StepEnded(time=1.0 + step, step=step, epoch=1.0, loss=1 / step, learning_rate=1e-5, grad_norm=1.0, examples=8,
                         tokens=80, seconds=1.0, memory_bytes=10**9)
        )  # fmt: skip
        if step % 10 == 0:
            scores = {"accuracy": 0.75, "loss": 0.5}
            progress.apply(
                ev.EvalEnded(time=1.0 + step, step=step, epoch=1.0, metrics=scores, n=800, seconds=1.0, best=step == 20)
            )
    result = RunResult(
        metrics={"accuracy": 0.75, "loss": 0.5},
        intervals={"accuracy": Interval(low=0.719, high=0.779, method="wilson")},
        best_step=20, steps=steps, metric="accuracy", n_eval=800,
        seconds={"train": 150.0}, examples_per_second=8.0, tokens_per_second=80.0, peak_memory_bytes=1_200_000_000,
    )  # fmt: skip
    progress.apply(ev.Ended(time=1.0 + steps, state="finished", step=steps, result=result))
    return progress


class Parsed(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def test_the_final_card_tells_the_result():
    text = "|".join(Parsed(card.html(finished(), spec_of("tweets"), facts_of(["no", "yes"]))).words)
    # Wilson's 95 % interval of 600 in 800, by hand: (0.75 + 0.0024 ± 0.0300) / 1.0048
    for words in (
        "sentiment",
        "finished",
        "accuracy|0.750|0.719 – 0.779|800",
        "2:30",
        "1.20 GB",
        "tweets",
        "cpu, fp32",
        "yes|7 (50.0 %)",
    ):
        assert words in text


def test_text_from_outside_is_never_html():
    progress = finished(name=EVIL, steps=10, provenance={EVIL: EVIL, "model": {EVIL: [EVIL]}})
    progress.notes.append(ev.Noted(key=EVIL, values={EVIL: EVIL}))
    shown = card.html(progress, spec_of(EVIL), facts_of([EVIL, "b"]))
    images = [attributes for tag, attributes in Parsed(shown).tags if tag == "img"]
    assert len(images) == 1
    assert images[0]["src"].startswith("data:image/png;base64,")
    assert EVIL not in shown


def test_an_error_is_shown_as_text():
    progress = finished(steps=10)
    progress.apply(ev.Ended(state="failed", error=ev.ErrorRecord(kind="bug", detail=f"Traceback\nValueError: {EVIL}")))
    shown = card.html(progress)
    assert f"ValueError: {EVIL}" in "".join(Parsed(shown).words)
    assert EVIL not in shown


def in_state(state):
    progress = finished()
    if state == "running":
        progress.state, progress.result = "running", None
    if state == "failed":
        error = ev.ErrorRecord(kind="bug", detail="Traceback\nValueError: no")
        progress.apply(ev.Ended(state="failed", error=error))
    progress.notes.append(ev.Noted(key="truncated", level="warning", values={"n": 3, "share": 0.1, "limit": 48}))
    return progress


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("state", ["running", "failed", "finished"])
def test_sanitizers_leave_the_card_whole(state, language, monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", language)
    shown = card.html(in_state(state), spec_of("tweets"), facts_of(["no", "yes"]))
    lab = Cleaner(
        tags=GITHUB_TAGS, attributes=GITHUB_ATTRIBUTES | {"*": ["align", "open", "scope", "style"]}, protocols=["data"],
        css_sanitizer=CSSSanitizer(allowed_css_properties=["text-align"]),
    )  # fmt: skip
    github = Cleaner(tags=GITHUB_TAGS, attributes=GITHUB_ATTRIBUTES, protocols=["data"])
    plain = [(tag, {k: v for k, v in attributes.items() if k != "style"}) for tag, attributes in Parsed(shown).tags]
    cleaned = Parsed(github.clean(shown))
    assert cleaned.tags == plain
    assert "".join(cleaned.words) == "".join(Parsed(shown).words)
    assert [tag for tag, _ in Parsed(lab.clean(shown)).tags] == [tag for tag, _ in plain]
    assert not re.search(r"var\(|<svg|<script|<style|class=|id=", shown)


def test_the_card_stays_small_whatever_was_trained():
    progress = finished(steps=100_000, provenance={f"package{i}": "9" * 5000 for i in range(60)})
    shown = card.html(progress, spec_of("x" * 100_000), facts_of(["label " * 1000] * 5000))
    assert len(shown.encode()) < 150_000


def test_the_picture_says_what_it_shows():
    shown = card.html(finished(), None, None)
    (picture,) = [attributes for tag, attributes in Parsed(shown).tags if tag == "img"]
    assert picture["alt"].endswith("Best held-out accuracy 0.750 at step 20.")


def test_a_running_card_is_folded_and_says_its_state():
    progress = finished(steps=40)
    progress.state, progress.result = "running", None
    tags = Parsed(card.html(progress)).tags
    assert tags[0] == ("details", {})


def test_the_plain_twin_has_the_scores():
    text = card.plain(finished(), spec_of("tweets"), facts_of(["no", "yes"]))
    assert "accuracy" in text
    assert "0.719 – 0.779" in text
    assert "<" not in text


class FakeJob:
    def __init__(self, progress, folder):
        self.name, self.progress, self.folder = progress.name, progress, folder


def test_a_plain_environment_gets_the_plain_twin_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FM_NOTEBOOK_PLAIN", "1")
    progress = finished(steps=40)
    shown = card.Card(FakeJob(progress, tmp_path))
    shown.show()
    shown.update()
    progress.state = "running"
    shown.show()
    printed = capsys.readouterr().out
    assert printed.startswith("sentiment: finished")
    assert printed.count("0.719 – 0.779") == 1
    assert printed.splitlines()[-1].startswith("[sentiment] running")


def test_evaluations_in_a_row_write_the_card_once_in_five_seconds(tmp_path, monkeypatch):
    progress = finished(steps=40)
    progress.state = "running"
    clock = [100.0]
    monkeypatch.setattr(card.time, "monotonic", lambda: clock[0])
    written = []
    handle = type("Handle", (), {"update": lambda self, bundle, raw: written.append(bundle)})()
    shown = card.Card(FakeJob(progress, tmp_path))
    shown._handles = [handle]
    monkeypatch.setattr(card, "is_plain", lambda: False)
    for seconds in (0.0, 1.0, 2.0, 6.0):
        clock[0] = 100.0 + seconds
        progress.held_out.append(progress.held_out[-1])
        shown.update()
    assert len(written) == 2
    progress.state = "finished"
    shown.update()
    shown.update()
    assert len(written) == 3


def test_a_card_that_cannot_be_written_is_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(card, "is_plain", lambda: False)
    monkeypatch.setattr(card, "html", lambda *_: 1 / 0)
    shown = card.Card(FakeJob(finished(steps=10), tmp_path))
    shown.show()
    shown.update()


def test_settings_of_one_task_are_shown_where_they_were_chosen():
    plain, chosen = spec_of("x"), spec_of("x").model_copy(update={"freeze": "backbone", "whole_words": True})
    assert "whole_words" not in card.html(finished(), plain)
    assert "backbone" in card.html(finished(), chosen)
    assert "whole_words" in card.html(finished(), chosen)


def test_several_labels_a_text_are_shares_of_the_texts_and_numbers_have_no_balance():
    facts = facts_of(["a", "b", "c"])  # 7 of 14 rows hold each
    assert "7 (33.3 %)" in card.html(finished(), spec_of("x"), facts)
    assert "7 (50.0 %)" in card.html(finished(), spec_of("x").model_copy(update={"problem": "multi-label"}), facts)
    assert "7 (" not in card.html(finished(), spec_of("x").model_copy(update={"problem": "regression"}), facts)
