"""Evaluations as tables."""

import numpy as np
import pytest

from fm_notebook.contracts.results import ClassScores, DataRef, Evaluation, Interval, Score
from fm_notebook.panels import evaluation

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def evaluation_of(labels, **more):
    score = Score(name="accuracy", value=0.8, n=20, interval=Interval(low=0.58, high=0.92, method="wilson"))
    classes = [ClassScores(label=label, precision=score, recall=score, f1=score, support=10) for label in labels]
    matrix = [[8 if i == j else 2 for j in range(len(labels))] for i in range(len(labels))]
    data = DataRef(source="test_frame", kind="value")
    return Evaluation(model="bert", data=data, labels=labels, n=20, scores=[score], classes=classes, confusion=matrix, **more)


def test_scores_stand_with_interval_and_n():
    shown = evaluation.html(evaluation_of(["no", "yes"]))
    for words in ("bert on test_frame", "0.800", "0.580 – 0.920", "20", "yes", "Most often confused"):
        assert words in shown


def test_labels_are_never_html():
    shown = evaluation.html(evaluation_of([EVIL, "b"], run=EVIL))
    assert EVIL not in shown
    assert shown.count("<img ") == 1


def test_notices_name_what_makes_scores_doubtful():
    found = evaluation.notices(
        evaluation_of(["a", "b"], trained_rows=5, untrained_head=True, missing_rows=3, truncated_share=0.2, unknown_share=0.4)
    )
    assert len(found) == 5
    assert any("5 of 20 rows" in text for text in found)
    assert evaluation.notices(evaluation_of(["a", "b"])) == []


def test_the_plain_twin_says_the_same():
    text = evaluation.plain(evaluation_of(["no", "yes"], trained_rows=5))
    for words in ("5 of 20 rows", "0.800 (0.580 – 0.920)", "yes", "n = 20"):
        assert words in text


def test_many_classes_stay_small():
    shown = evaluation.html(evaluation_of([f"class {i} " + "x" * 30 for i in range(300)]))
    assert len(shown) < 250_000
    assert "Of 300 classes, the 30 most often confused are shown." in shown


def test_labels_that_no_font_has_are_numbered_and_explained():
    shown = evaluation.html(evaluation_of(["ทดสอบ", "b"]))
    assert "Numbers of the classes in the picture" in shown


def by_group(**more):
    from fm_notebook.metrics.disparities import disparities
    from fm_notebook.metrics.grouping import grouping
    from fm_notebook.metrics.groups import by_group
    from fm_notebook.metrics.predictions import Predictions

    truth = [i % 2 for i in range(80)]
    groups = grouping("g", [EVIL] * 38 + [None] * 4 + ["b"] * 38)
    given = Predictions.of(np.array(truth), np.array([1] * 40 + truth[40:]), ["no", "yes"], **more)
    table = by_group(given, groups)
    return evaluation_of(["no", "yes"], groups=[{"table": table, "disparities": disparities(table, given, groups)}])


def test_groups_are_shown_with_interval_n_and_what_may_not_be_compared():
    found = by_group(positive="yes")
    shown, said = evaluation.html(found), evaluation.plain(found)
    assert EVIL not in shown
    assert "1.000 (0.824 – 1.000)" in said
    assert "1.000<br>0.824 – 1.000" in shown  # so that all columns fit on a page
    for words in ("1 of 3 groups have fewer than 30 rows", "4 rows have no value in g", "least gap"):
        assert words in said
        assert words in shown
    assert "(missing) *" in said
    assert shown.count("<img ") == 2


def test_without_a_positive_label_it_is_said_how_to_name_one():
    assert "--positive" in evaluation.plain(by_group())
