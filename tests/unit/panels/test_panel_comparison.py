"""A comparison as tables, pictures and text."""

import numpy as np
import pytest

from fm_notebook.contracts.comparisons import Compared, Comparison, Cost, GroupingChanges, LearningCurve, RunChanges, Setting
from fm_notebook.contracts.groups import ByGroup
from fm_notebook.contracts.pairs import Change, GroupChanges
from fm_notebook.contracts.scores import Interval, Score
from fm_notebook.contracts.specs import DataRef
from fm_notebook.metrics.disparities import disparities
from fm_notebook.metrics.gap_changes import gap_changes
from fm_notebook.metrics.grouping import grouping
from fm_notebook.metrics.groups import by_group, scores_of
from fm_notebook.metrics.pairs import adjusted_together, changes, changes_by_group
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.panels import comparison as panel

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def compared(names=("a.1", "b.1"), group="w", kind="run", **more):
    rng = np.random.default_rng(0)
    truth, rows = rng.integers(0, 2, 160), grouping("g", rng.choice([group, "m"], 156).tolist() + ["few"] * 4)
    models, runs = [], []
    for at, name in enumerate(names):
        score = 1 / (1 + np.exp(-((2 * truth - 1) * (0.3 + at) + rng.normal(size=160))))
        model = Predictions.of(truth, (score > 0.5).astype(int), ["n", "y"], probabilities=np.c_[1 - score, score], positive="y")
        table = by_group(model, rows)
        cost = Cost(seconds=9, training_seconds=61, steps=4, tokens_per_second=64, peak_memory_bytes=10**9, peak_of="device")
        curve = LearningCurve(metric="accuracy", train=[(1, 0.7), (2, 0.5)], held_out=[(2, 0.6)], scores=[(2, 0.7)])
        scores = scores_of(model, (), min_n=30, min_positives=10).scores
        groups = [ByGroup(table=table, disparities=disparities(table, model, rows))]
        runs.append(Compared(name=name, run=name, scores=scores, groups=groups, cost=cost, curve=curve, trained_rows=5 * at))
        models.append(model)
    found = []
    for name, model, run in zip(names[1:], models[1:], runs[1:], strict=True):
        tables = (runs[0].groups[0].table, run.groups[0].table)
        gaps = gap_changes(models[0], model, rows, tables)
        parts = adjusted_together([changes(models[0], model), *changes_by_group(models[0], model, rows)])
        found.append(RunChanges(name=name, overall=parts[0], by=[GroupingChanges(columns=["g"], groups=parts[1:], gaps=gaps)]))
    return Comparison(
        data=DataRef(source="a.1", kind=kind), task="text-classification", n=160, positive="y", runs=runs, changes=found,
        settings=[Setting(field="epochs", values=[str(at) for at, _ in enumerate(names)])], **more,
    )  # fmt: skip


def test_what_changed_stands_with_interval_p_and_flips():
    found = compared()
    change = found["b.1"].overall.get("accuracy")
    shown, said = panel.html(found), panel.plain(found)
    for words in (
        "b.1 against a.1", "the held-out rows of a.1", "160 rows", panel.signed(change.difference),
        panel.between(change.interval), "mended / broken", f"{found['b.1'].overall.flips.mended} / ", "Holm", "epochs", "1:01",
        "peak memory (device)", "5 of 160 rows have texts that &#x27;b.1&#x27; was trained on", "few *",
        "How far the groups of g lie apart",
    ):  # fmt: skip
        assert words in shown
        if words != "Holm":
            assert words.replace("&#x27;", "'") in said


def test_there_is_a_picture_of_quality_and_gap_and_one_of_the_curves():
    shown = panel.html(compared())
    assert shown.count("<img ") == 2
    assert "better is up and to the left: a.1 0." in shown
    assert "Loss over steps of 2 runs" in shown


def test_nothing_that_a_user_wrote_is_html():
    shown = panel.html(compared(names=(EVIL, "b"), group=EVIL, kind="value"))
    assert EVIL not in shown
    assert shown.count("<img ") == 2


def test_of_several_runs_each_has_its_own_columns():
    header, *rows = panel.changes(compared(names=("a", "b", "c")))
    assert header == ("metric", "a", "b", "Δ b", "adjusted p", "c", "Δ c", "adjusted p")
    assert {len(row) for row in rows} == {8}


def test_signs_are_said_and_what_rounds_to_nothing_has_none():
    assert [panel.signed(value) for value in (0.25, -0.25, 0.0, -0.0001)] == ["+0.250", "−0.250", "0.000", "0.000"]
    assert panel.between(Interval(low=-0.013, high=0.2, method="t")) == "[−0.013, 0.200]"


def test_why_there_is_no_paired_interval_is_said():
    scores = [Score(name="loss", value=2.0, n=9), Score(name="top1_accuracy", value=0.5, n=9)]
    runs = [Compared(name=name, scores=scores) for name in "ab"]
    part = GroupChanges(group=(), n=9, changes=[Change(name="loss", first=2.0, second=1.0, difference=-1.0, n=9)])
    for why, told in (("no_rows", "nothing of it is kept by row: loss"), ("other_tokens", "'b' cuts texts into other tokens")):
        change = RunChanges(name="b", overall=part, unpaired={"loss": why})
        found = Comparison(data=DataRef(source="f", kind="value"), task="fill-mask", n=9, runs=runs, changes=[change])
        assert told in panel.plain(found)
        assert "−1.000" in panel.plain(found)
        assert panel.html(found).count("<img ") == 0


def test_chinese_readers_are_told_in_chinese(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    shown = panel.html(compared())
    for words in ("b.1 与 a.1 的比较", "a.1 的留出数据", "改对 / 改错", "校正后 p"):
        assert words in shown
