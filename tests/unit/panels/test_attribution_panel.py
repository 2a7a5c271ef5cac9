"""An attribution as data for the page, as HTML that sanitizers leave, and as text; and the panel's answers to a page."""

from __future__ import annotations

import json
import threading

import pytest

from fm_notebook.contracts.attributions import Attribution, MethodScores, Piece
from fm_notebook.errors import RunError
from fm_notebook.panels import attribution as twins
from fm_notebook.panels import explain as panels
from fm_notebook.panels.explain import ExplainPanel

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def home(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


@pytest.fixture
def found() -> Attribution:
    pieces = [(0, 4, "good"), (5, 8, "<b>"), (9, 10, "[UNK]"), (10, 12, "##ly")]
    scores = [0.5, -0.25, None, 0.0]
    return Attribution(
        model="tiny", run="sentiment.1", text="good <b> 影ly and what is not read", label="p", predicted="p", labels=["n", "p"],
        probabilities=[0.25, 0.75], cut_at=12, tokens=6, unknown_share=0.25, agreement=-0.5, spec={},
        pieces=[Piece(start=a, end=b, token=t, unknown=t == "[UNK]") for a, b, t in pieces],
        methods=[
            MethodScores(method="integrated-gradients", scores=scores, quantity="log-odds", baseline="[MASK]", output=1.1,
                         baseline_output=0.85, steps=32, completeness_error=1e-4),
            MethodScores(method="occlusion", scores=scores[::-1], quantity="probability", baseline="[MASK]", output=0.75,
                         baseline_output=0.75),
        ],
    )  # fmt: skip


def after(found, probabilities, text="bad"):
    best = found.labels[max(range(2), key=probabilities.__getitem__)]
    return found.model_copy(update={"text": text, "probabilities": probabilities, "predicted": best, "methods": []})


def test_the_state_is_plain_json_and_says_what_limits_it(found):
    state = twins.state_of(found)
    assert json.loads(json.dumps(state)) == state
    assert state["title"] == "sentiment.1: why p (75.0 %)"
    assert [each["name"] for each in state["answers"]] == ["p", "n"]
    assert state["methods"][0]["shown"] == ["+0.500", "−0.250", "", "+0.000"]
    assert state["methods"][0]["top"] == 0.5
    cut, unknown = state["notices"]
    assert "read 6 tokens" in cut
    assert "and what is not read" in cut
    assert "25.0 %" in unknown
    assert any("+0.250" in line and "1.0e-04" in line for line in state["facts"])
    assert any("−0.50" in line for line in state["facts"])


def test_a_label_that_is_not_the_models_answer_and_a_large_error_are_told(found):
    off = found["integrated-gradients"].model_copy(update={"completeness_error": 0.2, "steps": 1024})
    changed = found.model_copy(update={"label": "n", "methods": [off]})
    said = twins.notices(changed)
    assert "n is not what the model answers: that is p." in said
    assert any("2.0e-01" in line and "1024 steps" in line for line in said)


def test_the_html_is_escaped_and_its_colours_are_of_the_scores(found):
    html = twins.html(found)
    assert "<b>good" not in html
    assert "&lt;b&gt;" in html
    assert '<span style="background-color: rgba(59, 130, 196, 0.50)">good</span><sub>+0.500</sub>' in html
    assert '<span style="background-color: rgba(207, 116, 32, 0.25)">&lt;b&gt;</span><sub>−0.250</sub>' in html
    assert "<span>影</span>" in html
    assert "and what is not read" in html
    assert "var(" not in html
    assert "<details open" not in html


def test_colours_keep_text_readable_on_white_and_on_black():
    def luminance(rgb):
        parts = [c / 255 for c in rgb]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in (twins.BLUE, twins.ORANGE):
        for ground, ink in ((255, 0x21), (0x11, 0xFF)):
            mixed = luminance([twins.DEEPEST * c + (1 - twins.DEEPEST) * ground for c in colour])
            light, dark = sorted([mixed, luminance([ink] * 3)], reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_as_text_each_piece_has_its_line(found):
    lines = twins.plain(found).splitlines()
    assert lines[0] == "sentiment.1: why p (75.0 %)"
    assert any(line.split() == ["good", "good", "+0.500", "+0.000"] for line in lines)


def test_an_edit_stands_beside_what_was_said_before(found):
    edit = twins.compared(found, after(found, [0.6, 0.4]))
    own = edit["answers"][0]
    assert (own["name"], own["before"], own["after"], own["change"]) == ("p", "75.0 %", "40.0 %", "−35.0 points")
    assert edit["flip"] == "the answer flips: p → n"
    assert twins.compared(found, after(found, [0.3, 0.7]))["flip"] == ""


def test_of_several_labels_every_one_that_comes_or_goes_is_a_flip(found):
    several = found.model_copy(update={"problem": "multi-label"})
    edit = twins.compared(several, after(several, [0.6, 0.9]))
    assert edit["flip"] == "the answer flips: p → n, p"
    assert twins.compared(several, after(several, [0.4, 0.1]))["said"] == "none"
    likely = several.model_copy(update={"label": "n", "probabilities": [0.6, 0.9]})
    assert not any("is not what the model answers" in line for line in twins.notices(likely))


def test_numbers_are_neither_shares_nor_flips(found):
    number = found.model_copy(
        update={"problem": "regression", "labels": ["score"], "label": "score", "predicted": "score", "probabilities": [3.25]}
    )
    assert twins.state_of(number)["title"] == "sentiment.1: what makes the number 3.25"
    edit = twins.compared(number, number.model_copy(update={"probabilities": [2.0]}))
    assert edit["answers"][0]["change"] == "−1.250"
    assert edit["flip"] == ""


@pytest.fixture
def panel(found):
    made = ExplainPanel(found)
    yield made
    made.close()


def asked(panel, **wish):
    panel._on_message(panel, wish, [])
    for thread in threading.enumerate():
        if thread.name == "fm_notebook-explain":
            thread.join()


def test_a_page_edits_and_the_newest_edit_stands_first(panel, found, monkeypatch):
    said = iter([[0.6, 0.4], [0.1, 0.9]])
    changes = []

    def again(attribution, **given):
        changes.append(given)
        return after(attribution, next(said), given["text"])

    monkeypatch.setattr("fm_notebook.session.explaining.explained_again", again)
    asked(panel, type="edit", text="bad", pair=None)
    asked(panel, type="edit", text="fine", pair=None)
    assert [each["text"] for each in panel.state["edits"]] == ["fine", "bad"]
    assert panel.state["busy"] is False
    assert changes[0] == {"text": "bad", "text_pair": None, "methods": (), "label": None}


def test_another_label_is_explained_and_edits_stay(panel, found, monkeypatch):
    monkeypatch.setattr("fm_notebook.session.explaining.explained_again", lambda a, **given: a.model_copy(update=given))
    asked(panel, type="label", label="n")
    assert panel.state["label"] == "n"
    assert panel.attribution.label == "n"


def test_what_goes_wrong_is_said_on_the_page_and_nothing_is_raised(panel, monkeypatch):
    def gone(*_, **__):
        raise RunError("explain.model_gone", model="tiny")

    monkeypatch.setattr("fm_notebook.session.explaining.explained_again", gone)
    asked(panel, type="edit", text="bad", pair=None)
    assert "tiny is not on disk any more" in panel.state["fault"]
    assert panel.state["edits"] == []
    asked(panel, type="edit", text=3, pair=None)
    asked(panel, type="nonsense")


def test_beside_its_panel_the_static_twin_is_folded(found, monkeypatch):
    monkeypatch.setattr("IPython.display.display", lambda *_: None)
    panels.show(found)
    try:
        assert twins.html(found).startswith("<details><summary>")
        data, _ = panels._shown[-1]._repr_mimebundle_()
        assert data["text/html"] == "<p>sentiment.1: why p (75.0 %)</p>"
    finally:
        panels.close_all()
    assert not twins.html(found).startswith("<details>")
