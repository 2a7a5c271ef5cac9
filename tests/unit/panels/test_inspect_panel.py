"""The inspection panel without a page: what it sends, what it takes, that it never raises, and what stays in a notebook."""

import json
import time
from typing import Any

import numpy as np
import pytest

from fm_notebook.contracts.attributions import Attribution
from fm_notebook.errors import RunError, SpecError
from fm_notebook.panels import inspect
from fm_notebook.panels.inspect import InspectPanel, explained, page
from fm_notebook.panels.inspect.inspector import Inspector
from fm_notebook.session.inspection import neighbours
from fm_notebook.session.inspection.inspection import Inspection
from fm_notebook.session.inspection.slices import Slice, Sort

HOSTILE = "<img src=x onerror=alert(1)>"
N = 130


class Heard(InspectPanel):
    """A panel that keeps what it sends."""

    def __init__(self, *given) -> None:
        self.sent: list[dict[str, Any]] = []
        super().__init__(*given)

    def send(self, content, buffers=None):
        self.sent.append(content)


@pytest.fixture
def inspector(home, write_evaluation) -> Inspector:
    """130 rows; every fifth is predicted wrongly, and the surer the later it stands."""
    truth = [i % 2 for i in range(N)]
    yes = [0.5 + (0.4 * i / N + 0.05) * (1 if (t == 1) != (i % 5 == 0) else -1) for i, t in enumerate(truth)]
    texts = [f"{HOSTILE if i == 7 else 'text'} number {i}" for i in range(N)]
    regions = [["north", "south", None][i % 3] for i in range(N)]
    both = np.stack([1 - np.array(yes), yes], axis=1)
    folder = write_evaluation(home / "run" / "1", texts, truth, both, ["no", "yes"], groups={"region": regions})
    return Inspector(Inspection.of(folder))


@pytest.fixture
def panel(inspector):
    made = Heard(inspector, "panel")
    yield made
    made.close()


def ask(panel: Heard, until: str = "", **content) -> list[dict]:
    """What the panel sends upon a message of a page, up to a message of type `until`."""
    panel.sent.clear()
    panel._handle_custom_msg({"asked": "p-1", **content}, [])
    deadline = time.monotonic() + 10
    while until and not any(each["type"] == until for each in panel.sent) and time.monotonic() < deadline:
        time.sleep(0.01)
    json.dumps(panel.sent, allow_nan=False)
    return list(panel.sent)


def show(panel: Heard, chosen=None, sort=None, number=0, size=25) -> dict:
    order = sort or {"by": "loss", "descending": True}
    (answer,) = ask(panel, type="show", slice=chosen or {}, sort=order, page=number, size=size)
    return answer


def test_a_page_that_asks_for_the_state_gets_one_page_of_rows_and_no_more(panel):
    shown = panel.get_state()["shown"]
    assert (shown["n"], shown["pages"], len(shown["rows"])) == (N, 6, 25)
    assert shown["confusion"] == {"classes": [0, 1], "counts": [[52, 13], [13, 52]], "left_out": 0}
    assert sum(f"number {i}" in json.dumps(panel.get_state()) for i in range(100, N)) <= 25
    assert dict(shown["facts"])["accuracy"] == "0.800 (0.723 – 0.860)"
    json.dumps(shown, allow_nan=False)


def test_a_slice_an_order_and_a_page_are_answered_with_what_they_show(panel, inspector):
    shown = show(panel, {"right": False, "groups": {"region": "north"}}, {"by": "row", "descending": False})["shown"]
    wrong = [i for i in range(N) if i % 5 == 0 and i % 3 == 0]
    assert [row["at"] for row in shown["rows"]] == wrong
    assert not any(row["right"] for row in shown["rows"])
    assert "accuracy" not in dict(shown["facts"])
    last = show(panel, number=99)["shown"]
    assert (last["page"], len(last["rows"])) == (5, 5)
    assert len(show(panel, size=100)["shown"]["rows"]) == 100
    assert show(panel, size=7777)["shown"]["size"] == 25
    assert inspector.view.chosen == Slice()


def test_accuracy_stands_against_the_rest_with_an_interval(panel):
    facts = dict(show(panel, {"groups": {"region": "north"}})["shown"]["facts"])
    assert set(facts) == {"rows", "mean loss", "accuracy", "all other rows", "difference"}
    assert "(" in facts["difference"]


def test_the_matrix_keeps_its_other_cells_when_one_is_chosen(panel):
    shown = show(panel, {"true": "no", "predicted": "yes"})["shown"]
    assert shown["n"] == 13
    assert shown["confusion"]["counts"] == [[52, 13], [13, 52]]
    narrowed = show(panel, {"true": "no", "predicted": "yes", "contains": "number 1"})["shown"]
    assert narrowed["n"] < 13
    assert sum(map(sum, narrowed["confusion"]["counts"])) < N


def test_a_row_that_is_opened_tells_all_of_it(panel):
    (answer,) = ask(panel, type="open", at=7)
    opened = answer["opened"]
    assert opened["texts"] == [f"{HOSTILE} number 7"]
    assert (opened["true"], opened["predicted"], opened["right"]) == ("yes", "yes", True)
    assert [each["label"] for each in opened["chances"]] == ["yes", "no"]
    assert dict(opened["facts"])["region"] == "south"
    assert panel.get_state()["shown"]["opened"]["at"] == 7  # a page that is loaded anew
    assert ask(panel, type="open", at=None)[0]["opened"] is None
    assert ask(panel, type="open", at=N)[0]["opened"] is None


def test_the_selection_is_a_frame_in_the_order_of_the_table(panel, inspector):
    show(panel, {}, {"by": "row", "descending": True})
    ask(panel, type="select", at=[3, 120, 5, 9999], on=True)
    ask(panel, type="select", at=[5], on=False)
    assert inspector.selection.index.tolist() == [120, 3]
    assert inspector.selection["p(yes)"].tolist() == inspector.inspection.probabilities[[120, 3], 1].tolist()
    ask(panel, type="clear")
    show(panel, {"right": False})
    assert len(inspector.selection) == 26


def test_a_note_is_written_beside_the_run_and_shown(panel, inspector, home):
    shown = ask(panel, type="note", at=4, text="odd")[0]["shown"]
    assert not any(row["noted"] for row in shown["rows"] if row["at"] != 4)
    assert [row["at"] for row in show(panel, {"noted": True})["shown"]["rows"]] == [4]
    assert (home / "run" / "row_notes.jsonl").is_file()


@pytest.mark.parametrize(
    "content",
    [
        {"type": "show", "slice": {"true": "maybe"}, "sort": {"by": "loss"}, "page": 0, "size": 25},
        {"type": "show", "slice": {"nonsense": 1}, "sort": {"by": "loss"}, "page": 0, "size": 25},
        {"type": "show", "slice": {}, "sort": {"by": "age"}, "page": 0, "size": 25},
        {"type": "freeze", "what": "all"},
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(panel, inspector, content):
    before = inspector.view
    (answer,) = ask(panel, **content)
    assert answer["type"] == "fault"
    assert answer["asked"] == "p-1"
    assert inspector.view == before


@pytest.mark.parametrize("content", [{}, {"type": "open", "at": "x"}, {"type": "what"}, {"type": "select", "at": 3, "on": True}])
def test_a_message_of_another_form_is_passed_over(panel, content):
    assert ask(panel, **content) == []


def test_python_moves_the_page(panel, inspector):
    panel.sent.clear()
    inspector.look(Sort(by="row", descending=False), contains="NUMBER 12")
    (news,) = panel.sent
    assert [row["at"] for row in news["shown"]["rows"]] == [12, *range(120, 130)]
    with pytest.raises(SpecError, match="Did you mean contains"):
        inspector.look(contain="x")


class Finished:
    """A job that is over at once."""

    name = "tiny"

    class progress:  # noqa: N801
        over, behind, items = True, "", None

    def watch(self, listener):
        listener(self)
        return lambda: None


def test_similar_rows_come_when_the_embeddings_are_there(panel, inspector, monkeypatch):
    unit = np.tile(np.array([[1.0, 0.0]], np.float16), (N, 1))
    unit[60:] = [0.0, 1.0]
    begun = []
    monkeypatch.setattr(neighbours, "prepare", lambda folder: type("L", (), {"how": "started", "job": Finished()}))
    monkeypatch.setattr("fm_notebook.session.launch.begin", begun.append)
    monkeypatch.setattr(neighbours, "of_job", lambda job: unit)
    monkeypatch.setattr(neighbours, "vectors", lambda folder: unit)
    sent = ask(panel, until="shown", type="near", at=5)
    assert [each["type"] for each in sent] == ["said", "shown"]
    assert len(begun) == 1
    shown = sent[-1]["shown"]
    assert (shown["n"], shown["rows"][0]["at"], shown["near"]) == (50, 5, "105")
    assert all(row["at"] < 60 for row in shown["rows"])


def test_a_job_that_failed_is_told_of(panel, monkeypatch):
    def fail(job):
        raise RunError("run.no_result", name="tiny", state="failed")

    monkeypatch.setattr(neighbours, "prepare", lambda folder: type("L", (), {"how": "attached", "job": Finished()}))
    monkeypatch.setattr(neighbours, "of_job", fail)
    assert ask(panel, until="fault", type="near", at=5)[-1]["type"] == "fault"


def attribution(text: str, label: str = "yes") -> Attribution:
    return Attribution(
        model="tiny", text=text, label=label, predicted="yes", labels=["no", "yes"], probabilities=[0.3, 0.7],
        pieces=[], spec={},
    )  # fmt: skip


def last_explained(panel: Heard) -> dict:
    return [each for each in panel.sent if each["type"] == "explained"][-1]["explained"]


def until_done(panel: Heard) -> dict:
    deadline = time.monotonic() + 10
    while last_explained(panel)["busy"] and time.monotonic() < deadline:
        time.sleep(0.01)
    return last_explained(panel)


def test_an_explanation_is_asked_for_once_and_edits_are_kept_until_another_row_is_asked_for(panel, inspector, monkeypatch):
    asked = []
    monkeypatch.setattr(explained, "_explained", lambda rows, place: asked.append(place) or attribution(rows.text_at(place)[0]))
    monkeypatch.setattr(explained.attribution, "edited", lambda found, text, pair: {"text": text})
    ask(panel, type="explain", at=3)
    assert until_done(panel)["data"]["text"] == "text number 3"
    ask(panel, type="explain", at=3, edited="other words", pair=None)
    assert until_done(panel)["data"]["edits"] == [{"text": "other words"}]
    assert panel.get_state()["explained"]["data"]["edits"] == [{"text": "other words"}]
    ask(panel, type="explain", at=4)
    assert until_done(panel)["data"]["edits"] == []
    assert asked == [3, 4]


def test_an_explanation_that_fails_says_why(panel, monkeypatch):
    def fail(rows, place):
        raise RunError("run.no_result", name="tiny", state="failed")

    monkeypatch.setattr(explained, "_explained", fail)
    ask(panel, type="explain", at=3)
    found = until_done(panel)
    assert found["data"] is None
    assert "tiny" in found["fault"]


def test_a_row_is_explained_as_it_was_evaluated(inspector, monkeypatch):
    from fm_notebook.session import explaining

    begun = []
    monkeypatch.setattr(explaining, "launched", lambda name, bound: begun.append(bound) or type("L", (), {"how": "reused"}))
    monkeypatch.setattr(explaining, "finish_explanation", lambda launched: "found")
    assert explained._explained(inspector.inspection, 7) == "found"
    spec = begun[0].spec
    assert (spec.text, spec.text_pair, spec.label) == (f"{HOSTILE} number 7", None, None)
    assert spec.model == inspector.inspection.folder.spec.model
    assert begun[0].facts.labels == ["no", "yes"]


def test_the_static_twin_holds_no_text_of_the_data_and_a_frozen_table_does_escaped(inspector):
    inspector.look(Sort(by="row", descending=False), contains=HOSTILE)
    assert "number 7" not in inspector._repr_html_()
    assert HOSTILE not in inspector._repr_html_()
    assert "&lt;img src=x" in inspector._repr_html_()  # what was searched for is named
    assert "data:image/png" in inspector._repr_html_()
    table = inspector.freeze("table")
    assert "&lt;img src=x onerror=alert(1)&gt; number 7" in table.html
    assert HOSTILE not in table.html
    assert "number 7" in repr(table)
    for what in ("slice", "confusion"):
        assert "number 7" not in inspector.freeze(what).html + inspector.freeze(what).text
    with pytest.raises(SpecError, match="Did you mean table"):
        inspector.freeze("tabel")


def test_what_is_frozen_is_written_below_one_card_after_the_other(panel):
    class Handle:
        def update(self, bundle, raw):
            self.bundle = bundle

    panel.cards_handle = Handle()
    ask(panel, type="freeze", what="slice")
    assert ask(panel, type="freeze", what="table")[0]["type"] == "said"
    assert panel.cards_handle.bundle["text/html"].count("<hr>") == 1
    assert "number" in panel.cards_handle.bundle["text/plain"]


def test_every_condition_is_named_in_words(inspector, monkeypatch):
    unit = np.tile(np.array([[1.0, 0.0]], np.float16), (N, 1))
    monkeypatch.setattr(neighbours, "vectors", lambda folder: unit)
    inspector.look(true="yes", predicted="no", right=False, contains="number", groups={"region": None}, shortest=2, longest=90,
                   suspects=True, noted=True, near=3)  # fmt: skip
    told = inspector.freeze("slice").text.splitlines()[0]
    for part in ("true yes", "predicted no", "wrong", "contains “number”", "region = (missing)", "at least 2", "at most 90",
                 "Likely label errors", "With a note", "nearest to row 103"):  # fmt: skip
        assert part in told


def test_many_classes_are_cut_to_those_confused_most(home, write_evaluation):
    draw = np.random.default_rng(0)
    labels = [f"class {i}" for i in range(150)]
    chances = draw.dirichlet(np.ones(150), 500)
    folder = write_evaluation(home / "run" / "2", ["x"] * 500, draw.integers(0, 150, 500).tolist(), chances, labels)
    shown = page.shown(Inspector(Inspection.of(folder)))
    assert len(shown["confusion"]["classes"]) == 30
    assert shown["confusion"]["left_out"] == 120


def test_panels_are_closed_where_there_are_too_many(inspector, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *given, **more: shown.append(given))
    monkeypatch.setattr(inspect, "is_plain", lambda: False)
    for _ in range(inspect.MOST_PANELS + 1):
        inspect.show(inspector)
    assert len(inspect.opened) == inspect.MOST_PANELS
    inspect.close_all()
    assert inspect.opened == []
    assert inspector.on_change == []


def test_where_nobody_watches_the_twin_alone_is_shown(inspector, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **more: shown.append(bundle))
    monkeypatch.setattr(inspect, "is_plain", lambda: False)
    inspect.show(inspector, watched=False)
    assert [set(each) for each in shown] == [{"text/html", "text/plain"}]
    assert inspect.opened == []
