"""The items panel without a page: found, sorted, opened by what columns there are; and no item in the widget's state."""

import json
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fm_notebook.contracts.probe_reports import ITEMS, Measurement, ProbeReport
from fm_notebook.contracts.references import DataRef
from fm_notebook.data import stored
from fm_notebook.errors import RunError
from fm_notebook.panels import probe_items
from fm_notebook.panels.probe_items import ItemsPanel, opened, page
from fm_notebook.panels.probe_items.page import View
from fm_notebook.session.inspection.scored_items import ItemOrder, ItemSlice, ScoredItems

HOSTILE = "<img src=x onerror=alert(1)>"


def report(folder, texts, probe="crows-pairs", n=0):
    return ProbeReport(
        model="tiny", probe=probe, data=DataRef(source="", kind="seed"), items=n, scored=n, folder=str(folder),
        measurements=[Measurement(name="stereotype_preference", value=55.0, n=n, neutral=50.0, is_main=True)],
        spec={"items": {"texts": list(texts)}},
    )  # fmt: skip


def piece(text, start, value):
    return {"text": text, "start": start, "end": start + len(text), "value": value}


def pair(i):
    skipped, value = "too_long" if i % 10 == 3 else None, [-0.5, 0.0, 2.0, 1.0, -3.0][i % 5]
    return {
        "id": f"{i}", "axis": ["gender", "age"][i % 2], "first": f"she item {i}", "second": f"{HOSTILE} item {i}",
        "group": "female",
        "value": None if skipped else value, "choice": None if skipped or not value else value > 0, "skipped": skipped,
        "pieces": [piece("she", 0, value + 1), piece("item", 4, 0.0)], "other_pieces": [piece("item", 29, -1.0)],
        "first_score": -10.0, "second_score": -10.0 - value, "first_target_start": 4, "lengths_differ": True,
    }  # fmt: skip


def view_of(folder, rows, texts, probe="crows-pairs"):
    folder.mkdir(exist_ok=True)
    stored.write(pa.Table.from_pylist(rows), folder / ITEMS)
    found = report(folder, texts, probe, len(rows))
    return View(found, ScoredItems.of(found))


@pytest.fixture
def pairs(tmp_path):
    return view_of(tmp_path / "1", [pair(i) for i in range(60)], ("first", "second"))


class Heard(ItemsPanel):
    """A panel that keeps what it sends."""

    def __init__(self, view: View) -> None:
        self.sent: list[dict[str, Any]] = []
        super().__init__(view)

    def send(self, content, buffers=None):
        del buffers
        json.dumps(content, allow_nan=False)
        self.sent.append(content)

    def asked(self, **content):
        """The answer to what a page asks."""
        self.sent.clear()
        self._on_message(self, {"asked": "p-1", **content}, [])
        (answer,) = self.sent
        assert answer["asked"] == "p-1"
        return answer

    def show(self, chosen=None, sort=None, number=0, size=25):
        order = sort or {"by": "item", "descending": False}
        return self.asked(type="show", slice=chosen or {}, sort=order, page=number, size=size)["shown"]


@pytest.fixture
def panel(pairs):
    made = Heard(pairs)
    yield made
    made.close()


def test_the_widgets_state_and_the_saved_output_hold_no_item(panel):
    data, _ = panel._repr_mimebundle_()
    for text in (json.dumps(panel.get_state(), default=str), data["text/html"], data["text/plain"]):
        assert "she item" not in text
        assert HOSTILE not in text
    assert "60" in data["text/html"]


def test_a_page_that_says_hello_gets_the_strongest_items_first(panel):
    shown = panel.asked(type="hello")["shown"]
    assert (shown["n"], shown["pages"], len(shown["rows"])) == (60, 3, 25)
    assert shown["rows"][0]["cells"] == ["5", "she item 4", f"{HOSTILE} item 4", "gender", "other", "−3.000", "3.000"]


def test_conditions_narrow_the_list_and_are_counted_in_the_choices(panel):
    about = panel.about
    assert [each["title"] for each in about["axes"]] == ["gender (30)", "age (30)"]
    assert [(each["value"], each["title"]) for each in about["outcomes"]] == [
        ("other", "other (24)"), ("skipped:too_long", "skipped: longer than the model takes (6)"),
        ("stereotype", "stereotype (18)"),
        ("tie", "tie (12)"),
    ]  # fmt: skip
    assert panel.show({"outcome": "skipped:too_long"})["n"] == 6
    assert panel.show({"axis": "age", "outcome": "tie"})["n"] == 6
    assert [row["at"] for row in panel.show({"contains": "ITEM 5"})["rows"]] == [5, *range(50, 60)]
    assert panel.show({"contains": "no such words"})["rows"] == []


def test_items_without_a_score_come_last_in_either_direction(pairs):
    for descending in (True, False):
        order = ItemOrder(by="value", descending=descending)
        found = pairs.items.values[pairs.items.find(ItemSlice(), order)]
        scored = found[:54]
        assert np.array_equal(scored, np.sort(scored)[::-1] if descending else np.sort(scored))
        assert np.isnan(found[54:]).all()


def test_a_page_beyond_the_last_is_the_last_and_an_unknown_size_the_smallest(panel):
    shown = panel.show({}, number=99, size=7)
    assert (shown["page"], shown["size"], len(shown["rows"])) == (2, 25, 10)


def test_an_opened_pair_has_the_contributions_of_both_texts_and_their_sums(panel):
    found = panel.asked(type="open", at=2)["opened"]
    assert found["badges"] == ["stereotype", "gender"]
    assert [each["title"] for each in found["texts"]] == ["first text (female)", "second text"]
    assert found["texts"][0]["badges"] == ["log-likelihood −10.000", "likeliest"]
    coloured = found["coloured"]
    assert coloured["methods"][0]["scores"] == [3.0, 0.0, -1.0]
    assert [each["second"] for each in coloured["pieces"]] == [False, False, True]
    assert [(each["name"], each["shown"]) for each in coloured["answers"]] == [
        ("first text (female)", "+3.000"), ("second text", "−1.000"), ("both (Δ)", "+2.000"),
    ]  # fmt: skip
    assert found["facts"] == [["token counts differ", "yes"]] or found["facts"] == [("token counts differ", "yes")]
    assert panel.asked(type="open", at=1000)["opened"] is None


def test_a_wrong_wish_is_answered_in_words_and_raises_nothing(panel):
    answer = panel.asked(type="show", slice={"axis": 3}, sort={"by": "item", "descending": True}, page=0, size=25)
    assert answer["type"] == "fault"
    assert answer["text"]


def test_questions_show_which_answer_was_given_which_is_right_and_whom_the_stereotype_is_of(tmp_path):
    row = {
        "id": "q", "axis": "age", "context": "Two people.", "question": "Who?", "ans0": "The old one", "ans1": "The young one",
        "ans2": "Unknown", "unknown": 2, "target": 0, "label": 2, "value": 0.7, "choice": True, "skipped": None, "answer": 0,
        "polarity": "neg",
    }  # fmt: skip
    view = view_of(tmp_path / "1", [row], ("context", "question", "ans0", "ans1", "ans2"), "bbq")
    view.open(0)
    found = page.details(view)
    badges = {each["title"]: each["badges"] for each in found["texts"]}
    assert badges["answer 1"] == ["the model's answer", "the stereotype's target"]
    assert badges["answer 3"] == ["right answer", "“unknown”"]
    assert found["facts"] == [("polarity", "neg")]
    assert found["coloured"] is None
    assert [head["title"] for head in page.about(view)["heads"][1:3]] == ["context", "question"]


def test_a_swapped_identity_shows_both_probabilities_and_calls_a_flip_a_flip(tmp_path):
    row = {
        "id": "a", "axis": "gender", "first": "She", "second": "He", "first_group": "female", "second_group": "male",
        "value": 0.25,
        "choice": True, "skipped": None, "score": 0.75, "predicted": "toxic", "target_class": "toxic", "gap": 0.25,
    }  # fmt: skip
    view = view_of(tmp_path / "1", [row], ("first", "second"), "identity-swap")
    view.open(0)
    found = page.details(view)
    assert [each["badges"] for each in found["texts"]] == [["P(toxic) = 0.750"], ["P(toxic) = 0.500"]]
    assert found["badges"][0] == "class changes"
    assert ("gap", "0.250") in found["facts"]


def test_items_that_do_not_choose_are_scored_or_skipped_and_long_lists_are_cut(tmp_path):
    rows = [
        {
            "id": "x",
            "axis": "a",
            "text": "one",
            "value": 0.5,
            "skipped": None,
            "completions": ["bad"] * 300,
            "lexicon": "w" * 9999,
        }
    ]
    view = view_of(tmp_path / "1", rows, ("text",), "honest")
    view.open(0)
    assert page.about(view)["outcomes"][0]["value"] == "scored"
    assert "hurt" in page.about(view)["hint"]
    ((name, value),) = page.details(view)["facts"]
    assert name == "completions"
    assert len(value) == opened.LONGEST_FACT


def test_one_text_with_contributions_is_told_by_its_score_alone(tmp_path):
    rows = [{"id": "x", "axis": "a", "text": "one", "value": 0.5, "skipped": None, "pieces": [piece("one", 0, 0.5)]}]
    view = view_of(tmp_path / "1", rows, ("text",), "holistic-likelihood")
    view.open(0)
    coloured = page.details(view)["coloured"]
    assert coloured["text_pair"] is None
    assert [each["shown"] for each in coloured["answers"]] == ["+0.500"]
    assert coloured["words"]["for"] == "raises the score"


def test_deleted_items_are_told_with_what_to_do(tmp_path):
    with pytest.raises(RunError) as caught:
        ScoredItems.of(report(tmp_path / "gone", ("first",)))
    assert "--again" in str(caught.value)


def test_ten_thousand_items_are_found_quickly(tmp_path):
    view = view_of(tmp_path / "1", [pair(i) for i in range(10_000)], ("first", "second"))
    page.shown(view)
    began = time.perf_counter()
    view.look(ItemSlice(axis="age", contains="item 77"), ItemOrder(by="value"), 0, 100)
    shown = page.shown(view)
    assert time.perf_counter() - began < 1
    assert shown["n"] == sum("item 77" in f"item {i}" for i in range(1, 10_000, 2))


def test_where_nobody_watches_only_the_twin_is_displayed(pairs, monkeypatch, capsys):
    probe_items.show(pairs.report, watched=False)
    assert "she item" not in capsys.readouterr().out
    assert probe_items._opened == []
