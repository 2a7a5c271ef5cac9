"""Probabilities, curves and further numbers of groups on the card: every score with its interval, folded, in both languages."""

import re

import numpy as np
import pytest

from fm_notebook.contracts.groups import ByGroup
from fm_notebook.contracts.results import DataRef, Evaluation, Interval, Score
from fm_notebook.metrics.calibration import calibration
from fm_notebook.metrics.curves import curves
from fm_notebook.metrics.disparities import disparities
from fm_notebook.metrics.grouping import grouping
from fm_notebook.metrics.groups import by_group
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.subgroup_auc import subgroup_aucs
from fm_notebook.metrics.temperature import of_shares
from fm_notebook.metrics.tpr_gaps import tpr_gaps
from fm_notebook.panels import evaluation, trust

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def made(classes=2, sharpness=3.0, positive=None, labels=None, n=400):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, n)
    logits = sharpness * (rng.normal(size=(n, classes)) + np.eye(classes)[truth])
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    names = labels or ["no", "yes", "maybe"][:classes]
    return Predictions.of(truth, shares.argmax(1), names, probabilities=shares, positive=positive)


def evaluation_of(given, groups=()):
    score = Score(name="accuracy", value=0.8, n=20, interval=Interval(low=0.58, high=0.92, method="wilson"))
    return Evaluation(
        model="bert", data=DataRef(source="test", kind="value"), labels=list(given.labels), n=len(given), scores=[score],
        calibration=calibration(given), temperature=of_shares(given), curves=curves(given), groups=list(groups),
    )  # fmt: skip


def grouped(given, names, **more):
    rows = grouping("g", names)
    table = by_group(given, rows, **more)
    found = disparities(table, given, rows)
    members = np.array([[name == each for (each,) in rows.groups] for name in names])
    aucs = subgroup_aucs(given, members, [each or "" for (each,) in rows.groups]) if given.positive is not None else None
    return ByGroup(table=table, disparities=found, subgroup_aucs=aucs, tpr_gaps=tpr_gaps(given, rows))


def test_calibration_and_curves_are_folded_with_interval_and_n():
    shown = trust.html(evaluation_of(made(positive="yes")))
    assert shown.count("<details><summary>") == shown.count("<img ") == 2
    for words in ("Calibration: ECE 0.", "by chance 0.", "the probability of yes; n = 400", "Brier score", "AUC 0."):
        assert words in shown
    rows = re.findall(r"<tr>(<th scope=.row.*?)</tr>", shown)
    without = [row for row in rows if not re.search(r"\d\.\d{3} – \d\.\d{3}", row)]
    assert len(without) == 1  # what chance alone would give is no measurement
    assert "chance" in without[0]


@pytest.mark.parametrize(("sharpness", "says"), [(3.0, "too sure"), (0.2, "not sure enough"), (1.0, "holds 1")])
def test_the_temperature_is_read_out(sharpness, says):
    given = made(sharpness=sharpness)
    shown, said = trust.html(evaluation_of(given)), "\n".join(trust.plain(evaluation_of(given)))
    assert says in shown
    assert says in said


def test_a_temperature_that_means_nothing_is_not_shown():
    sure = np.array([[0.99, 0.01], [0.01, 0.99]])
    found = evaluation_of(Predictions.of([0, 1], [0, 1], ["a", "b"], probabilities=sure))
    assert "No temperature could be fitted" in trust.html(found)
    assert "temperature fitted" not in trust.html(found)


def test_many_labels_have_a_row_of_areas_each():
    said = "\n".join(trust.plain(evaluation_of(made(3))))
    for label in ("no", "yes", "maybe"):
        assert re.search(rf"^  {label} .* 0\.\d{{3}} \(0\.\d{{3}} – 0\.\d{{3}}\)", said, re.MULTILINE)
    assert "the likeliest label" in said


def test_without_probabilities_there_is_nothing():
    bare = evaluation_of(made()).model_copy(update={"calibration": None, "temperature": None, "curves": []})
    assert trust.html(bare) == ""
    assert trust.plain(bare) == []


def test_labels_and_groups_are_never_html():
    given = made(3, labels=[EVIL, "b", "c"])
    shown = evaluation.html(evaluation_of(given, [grouped(given, [EVIL, "y"] * 200)]))
    assert EVIL not in shown


def test_the_worst_group_is_named_only_where_it_is_shown_to_be_worse():
    given = made(positive="yes")
    alike, apart = ["a", "b"] * 200, np.where(given.right | (np.arange(400) % 3 == 0), "good", "bad").tolist()
    assert "Worst group by macro F1: bad, 0." in evaluation.plain(evaluation_of(given, [grouped(given, apart)]))
    said = evaluation.plain(evaluation_of(given, [grouped(given, alike)]))
    assert "By macro F1 no group is shown to be worse (p = 0." in said
    assert "Worst group" not in said


def test_groups_that_are_all_small_ask_for_a_coarser_column():
    given = made(positive="yes")
    shown = evaluation.html(evaluation_of(given, [grouped(given, [f"g{i % 40}" for i in range(400)])]))
    assert "All 40 groups have fewer than 30 rows: none is compared." in shown
    assert "pandas.qcut" in shown


def test_subgroup_aucs_and_gaps_of_many_classes_are_folded_tables():
    binary, many = made(positive="yes"), made(3)
    names = ["a", "b"] * 200
    shown = evaluation.html(evaluation_of(binary, [grouped(binary, names)]))
    for words in ("subgroup AUC", "BPSN AUC", "BNSP AUC", "AEG, positive rows"):
        assert f">{words}<" in shown
    shown, said = (show(evaluation_of(many, [grouped(many, names)])) for show in (evaluation.html, evaluation.plain))
    assert "Bias in Bios" in said
    assert "RMS of the gaps" in shown
    assert "BPSN" not in shown
    assert ">AUC<" not in shown.partition("By g")[2]  # no label is positive: a column of dashes would say nothing


def test_the_card_speaks_chinese(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    given = made(positive="yes")
    shown = evaluation.html(evaluation_of(given, [grouped(given, ["甲", "乙"] * 200)]))
    for words in ("概率可信吗", "平均精确率", "组内与跨组的排序", "未显示哪一组更差"):
        assert words in shown
