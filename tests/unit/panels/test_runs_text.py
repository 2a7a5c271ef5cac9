"""The runs in plain text and in the saved notebook: table, difference, curves, and the cell that a run stands for."""

import html.parser
from pathlib import Path
from typing import Any

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.adapters import LoraSpec
from fm_notebook.contracts.results import Interval
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.magics import body
from fm_notebook.panels.runs.cell import cell_text
from fm_notebook.panels.runs.compared import CurveTable, SpecDiff
from fm_notebook.panels.runs.table import MOST_ROWS, RunsTable, width
from fm_notebook.session.index import Entry, Summary
from fm_notebook.session.progress import Progress, State

SPEC = FinetuneSpec(
    model=ModelRef(source="bert-base-cased", kind="hub", location="bert-base-cased"),
    train=DataRef(source="reviews[reviews.year < 2024]", kind="value"),
)
BAD = "</table><script>x</script>"


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def entry(name: str = "a.1", state: State = "finished", **fields: Any) -> Entry:
    told: dict[str, Any] = {"created": 86400.0, "task": "text-classification", "model": "bert", "data": "ab" * 32} | fields
    return Entry(Path("/runs") / name, Summary(name=name, told=state, **told), state)


SCORED = {"metric": "accuracy", "value": 0.8123, "n": 50, "interval": Interval(low=0.7, high=0.9, method="wilson")}


class Tags(html.parser.HTMLParser):
    """Names of the elements, and whether they are closed as they were opened."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.names, self.attributes = [], set(), set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_table_is_the_same_in_text_and_in_html_that_every_sanitizer_keeps():
    table = RunsTable((entry(**SCORED), entry("b.12", "died", step=5, total_steps=20, model=BAD)))
    text, page = repr(table), table._repr_html_()
    assert text.splitlines()[1].startswith("a.1   finished    accuracy 0.812  0.700 – 0.900, n = 50  bert")
    assert "died, 5/20" in text
    tags = Tags(page)
    assert tags.names == {"table", "caption", "b", "thead", "tbody", "tr", "th", "td"}
    assert tags.attributes == {"scope", "align", "style"}
    assert "accuracy 0.812" in page
    assert "died, 5/20" in page


def test_a_score_is_not_shown_without_its_n():
    assert "n = 50" in repr(RunsTable((entry(**SCORED),)))
    assert "accuracy" not in repr(RunsTable((entry(metric="accuracy"),)))


def test_columns_stand_below_each_other_in_chinese_too(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    head, one, other = repr(RunsTable((entry(**SCORED), entry("b.12", "died")))).splitlines()
    places = [width(line.split("bert")[0]) for line in (one, other)]
    assert places == [width(head.split("模型")[0])] * 2


def test_a_long_table_keeps_its_newest_rows_and_says_how_many_are_left_out():
    table = RunsTable(tuple(entry(f"a.{number}") for number in range(1, MOST_ROWS + 6)))
    assert len(table) == MOST_ROWS + 5
    for shown in (repr(table), table._repr_html_()):
        assert "5 older runs are not shown" in shown
        assert "a.6" in shown
        assert "a.5 " not in shown
    assert len(table._repr_html_()) < 150_000


def test_no_runs_are_told_in_words():
    assert "No runs yet" in repr(RunsTable(()))
    assert "No runs yet" in RunsTable(())._repr_html_()


def test_a_difference_has_a_dash_where_a_field_is_not_set():
    diff = SpecDiff.of(("a.1", "b.1"), (SPEC, SPEC.model_copy(update={"max_steps": 5, "text": BAD})))
    assert repr(diff).splitlines() == [
        "What a.1 and b.1 were asked differently",
        "field      a.1   b.1",
        f"text       text  {BAD}",
        "max_steps  –     5",
    ]
    assert "script" not in Tags(diff._repr_html_()).names
    same = SpecDiff.of(("a.1", "b.1"), (SPEC, SPEC))
    assert repr(same) == "a.1 and b.1 were asked the same."
    assert repr(same) in same._repr_html_()


def progress(*, evaluations=True) -> Progress:
    made = Progress("a", "/runs/a.1")
    made.apply(ev.Started(total_steps=100, metric="accuracy"))
    for step in range(1, 101):
        made.apply(ev.StepEnded(step=step, epoch=1.0, loss=1 / step, learning_rate=1e-3, grad_norm=1.0, examples=1, tokens=1,
                                seconds=1.0, memory_bytes=1))  # fmt: skip
        if evaluations and step % 50 == 0:
            made.apply(
                ev.EvalEnded(step=step, epoch=1.0, metrics={"accuracy": step / 200, "loss": 0.5}, n=9, seconds=1.0, best=True)
            )
    return made


def test_curves_are_a_row_an_evaluation_with_the_training_loss_at_that_step():
    table = CurveTable.of(progress(), "a.1")
    assert table.rows == [["50", "0.02", "0.500", "0.250"], ["100", "0.01", "0.500", "0.500"]]
    assert repr(table).endswith("Every step, as a data frame: a.history")
    Tags(table._repr_html_())


def test_curves_without_evaluations_are_twenty_even_steps():
    table = CurveTable.of(progress(evaluations=False), "a.1")
    assert [row[0] for row in table.rows] == [str(step) for step in range(5, 101, 5)]
    assert table.rows[1] == ["10", "0.1", "", ""]


def test_a_run_without_a_step_has_no_curve():
    assert repr(CurveTable.of(Progress("a", "/runs/a.1"), "a.1")) == "a.1 has no step yet."


SPECS = {
    "rows and model by name": SPEC,
    "a file and a folder": SPEC.model_copy(
        update={
            "train": DataRef(source="it's.csv", kind="file"),
            "eval": DataRef(source="sample:tweets", kind="sample"),
            "model": ModelRef(source="C:\\models\\m", kind="folder", location="/m"),
        }
    ),
    "a live model": SPEC.model_copy(update={"model": ModelRef(source="nets[0]", kind="value", location="")}),
    "numbers and words": SPEC.model_copy(update={"learning_rate": 1e-4, "max_steps": 7, "text": "a b", "packing": "off"}),
    "a group": SPEC.model_copy(update={"lora": LoraSpec(rank=4, targets=("query",))}),
    "an empty group": SPEC.model_copy(update={"lora": LoraSpec()}),
    "weights by label": SPEC.model_copy(update={"class_weight": {"it's": 2.0}}),
    "what came from a base": SPEC.model_copy(update={"base": "earlier", "seed": 3}),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_cell_of_a_run_sets_its_very_fields(spec):
    head, text = cell_text("again", spec).split("\n", 1)
    assert head == "%%finetune again"
    given = {}
    for line in body.parse(text):
        value = getattr(spec, line.path[0])
        if isinstance(value, DataRef | ModelRef):
            assert (line.source if value.kind == "value" else eval(line.source)) == value.source
            given[line.path[0]] = value
        else:
            given[line.path[0]] = eval(line.source)
    assert FinetuneSpec(**given) == spec.model_copy(update={"base": None})
