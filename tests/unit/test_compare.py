"""Comparisons of real tiny models by a real worker: from the words of a user to the value."""

import shutil

import pandas as pd
import pytest

import fm_notebook
from fm_notebook.errors import DataError, RunError, SpecError
from fm_notebook.session.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("runs_folder")]


@pytest.fixture
def finetune(tiny_bert, reviews):
    def start(name, **fields):
        given = {
            "model": str(tiny_bert),
            "train": str(reviews),
            "max_steps": 4,
            "eval_every": 4,
            "batch_size": 16,
            "device": "cpu",
        }
        return fm_notebook.finetune(name, **{**given, **fields})

    return start


@pytest.fixture
def frame(reviews):
    rows = pd.read_csv(reviews)
    return rows.assign(region=["north", "south"] * 160, age=range(320))


def test_two_runs_are_compared_on_the_held_out_rows_of_the_first(finetune):
    first = finetune("first")
    second = finetune("second", max_steps=40, learning_rate=1e-2, seed=1)
    found = fm_notebook.compare(first, "second")
    assert (found.data.kind, found.data.source, found.n) == ("run", "first.1", first.data.eval_rows)
    assert found.runs[0].trained_rows == 0
    assert found.runs[1].trained_rows > 0  # the second was trained on some of them: said, not hidden
    own = first.result.metrics["accuracy"]
    assert found["second.1"].overall.get("accuracy").first == pytest.approx(own)
    assert found.base.cost.steps == 4
    assert "learning_rate" in {each.field for each in found.settings}
    again = fm_notebook.compare(first, second)
    assert again == found
    assert len(first.evaluations) == len(second.evaluations) == 1  # the equal evaluations were used again


def test_a_copied_run_changes_nothing_in_any_group(finetune, frame, runs_folder):
    run = finetune("first", max_steps=20)
    shutil.copytree(run.folder, runs_folder / "copy.1", ignore=shutil.ignore_patterns("evaluations", "lock"))
    found = fm_notebook.compare("first", "copy", data=frame, by=["region", "mentions:gender"], positive="p")
    parts = [part for run in found.changes for part in (run.overall, *(group for by in run.by for group in by.groups))]
    assert len(parts) > 3
    for change in (change for part in parts for change in part.changes):
        assert (change.difference, change.p_value or 1.0) == (0, 1.0)
    assert all(gap.difference == 0 for by in found.changes[0].by for gap in by.gaps)


def test_what_cannot_be_compared_is_said_and_leaves_nothing_behind(finetune, frame):
    first, second = finetune("first"), finetune("second", seed=1)
    other = finetune("other", train=frame.assign(label=["left", "right"] * 160))
    with pytest.raises(RunError, match=r"'other\.1' and 'first\.1' do not have the same labels"):
        fm_notebook.compare(first, other)
    with pytest.raises(DataError, match="regoin"):
        fm_notebook.compare(first, second, data=frame, by="regoin")
    with pytest.raises(DataError, match="kept without a column"):
        fm_notebook.compare(first, second, by="region")
    with pytest.raises(SpecError, match="maybe"):
        fm_notebook.compare(first, second, data=frame, positive="maybe")
    with pytest.raises(DataError):
        fm_notebook.compare(first, second, data=frame.assign(label=None))
    for run in (first, second, other):
        assert not list((run.folder / "evaluations").glob("*"))


def test_a_model_that_is_no_run_may_be_compared_too(finetune, frame, tiny_bert):
    found = fm_notebook.compare(finetune("first"), str(tiny_bert), data=frame[:64])
    assert found.runs[1].run is None
    assert found.runs[1].untrained_head
    assert found.runs[1].cost is None
    assert found.settings == []


def test_numbers_have_paired_intervals(finetune, frame):
    rows = frame.assign(label=[i % 7 / 2 for i in range(320)])
    found = fm_notebook.compare(finetune("one", train=rows), finetune("two", train=rows, max_steps=12, learning_rate=1e-2))
    changes = found.changes[0].overall.changes
    assert {"rmse", "mae", "r2", "loss"} <= {change.name for change in changes}
    assert all(change.interval is not None and change.p_value is not None for change in changes)
    assert found.changes[0].unpaired == {}
    for change in changes:
        assert change.first == pytest.approx(found.base.get(change.name).value, abs=1e-6)


def test_entities_have_paired_intervals_and_loss_says_why_it_has_none(finetune):
    rows = [
        {"words": ["we", "saw", "good", "film"], "tags": ["O", "O", "B-X", "I-X"]},
        {"words": ["bad", "cast"], "tags": ["B-X", "O"]},
    ]
    fields = {"task": "token-classification", "train": rows * 20, "text": "words", "label": "tags"}
    found = fm_notebook.compare(finetune("one", **fields), finetune("two", **fields, max_steps=12))
    run = found.changes[0]
    assert run.overall.get("entity_f1").interval is not None
    assert run.unpaired == {"loss": "no_rows"}
    for change in run.overall.changes:
        assert change.first == pytest.approx(found.base.get(change.name).value, abs=1e-6)


def test_label_sets_and_masked_tokens_too(finetune, frame):
    rows = frame.assign(label=[["a"], ["a", "b"], [], ["b"]] * 80)
    found = fm_notebook.compare(finetune("one", train=rows), finetune("two", train=rows, max_steps=12))
    for change in found.changes[0].overall.changes:
        assert change.interval is not None
        assert change.first == pytest.approx(found.base.get(change.name).value, abs=1e-6)
    masked = {"task": "fill-mask", "train": frame}
    found = fm_notebook.compare(finetune("three", **masked), finetune("four", **masked, max_steps=12))
    run = found.changes[0]
    assert run.overall.get("masked_perplexity").interval is not None
    assert run.overall.get("loss").first == pytest.approx(found.base.get("loss").value, rel=1e-5)
    assert set(run.unpaired) == {"top1_accuracy", "top5_accuracy"}


def test_a_run_is_data_for_an_evaluation_too(finetune):
    first, second = finetune("first"), finetune("second", seed=1)
    found = fm_notebook.evaluate(second, first)
    assert (found.data.kind, found.n) == ("run", first.data.eval_rows)
    assert isinstance(first, Run)
