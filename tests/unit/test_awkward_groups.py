"""Evaluation of a real run by groups that are awkward: what is odd about the rows is shown or said, and no row vanishes."""

import numpy as np
import pandas as pd
import pytest

import fm_notebook
from fm_notebook.errors import DataError, FMError
from fm_notebook.panels import evaluation as panel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def frame(reviews):
    rows = pd.read_csv(reviews)
    return rows.assign(region=(["north", "south", None, "north"] * len(rows))[: len(rows)], person=range(len(rows)))


@pytest.fixture
def run(tiny_bert, frame, runs_folder):
    settings = {"max_steps": 30, "batch_size": 8, "learning_rate": 1e-2, "max_length": 32, "eval_every": 30}
    return fm_notebook.finetune("first", model=str(tiny_bert), train=frame, **settings).wait()


def test_every_row_is_in_a_group_or_counted_as_left_out(run, frame):
    odd = frame.assign(label=frame.label.mask(frame.index < 10), text=frame.text.mask(frame.index == 11))
    by = ["region", "length", {"first": frame.index < 40, "one": [f"g{i % 45}" for i in range(len(frame))]}, "region*first"]
    found = fm_notebook.evaluate(run, odd, by=by, positive="p")
    assert (found.n, found.missing_rows) == (len(frame) - 11, 11)
    assert [each.table.columns for each in found.groups] == [["region"], ["length"], ["first"], ["one"], ["region", "first"]]
    assert all(sum(group.n for group in each.table.groups) == found.n for each in found.groups)
    region, length, _, one, crossing = found.groups
    assert region.table[None].n == (frame.region.isna() & odd.label.notna() & odd.text.notna()).sum()
    assert not any((None,) in (pair.first, pair.second) for pair in region.disparities.pairs)
    assert {group.name.rpartition(" ")[2] for group in length.table.groups} == {"characters"}
    assert (one.table.n_small, one.disparities.gaps) == (45, [])
    assert crossing.table.missing_rows == region.table[None].n
    assert found.calibration.n == found.temperature.n == found.n
    assert {curve.kind for curve in found.curves} == {"roc", "precision-recall"}
    for shown in (panel.html(found), panel.plain(found)):
        for words in ("11 rows were left out", "rows have no value in region", "All 45 groups have fewer than 30 rows"):
            assert words in shown


def test_what_cannot_be_told_apart_costs_no_evaluation(run, frame):
    refused = {
        "320 different values": {"by": "person"},
        "pandas.qcut": {"by": {"share": np.linspace(0, 1, len(frame))}},
        "19 rows where 320": {"by": {"some": frame.region[:19].to_numpy()}},
        "positive = 'good'": {"positive": "good"},
    }
    for says, fields in refused.items():
        with pytest.raises(FMError, match=says):
            fm_notebook.evaluate(run, frame, **fields)
    with pytest.raises(DataError, match="other"):
        fm_notebook.evaluate(run, frame.assign(label=frame.label.mask(frame.index == 3, "other")), by="region")
    with pytest.raises(DataError):
        fm_notebook.evaluate(run, frame.iloc[:0], by="region")
    assert run.evaluations == []
