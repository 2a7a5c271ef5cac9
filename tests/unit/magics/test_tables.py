"""Columns without reading rows."""

import gzip
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest

from fm_notebook.data import files, samples
from fm_notebook.magics import known, tables

FRAME = pd.DataFrame({"评论": ["好", "坏"], "label": [0, 1], "kind": pd.Categorical(["a", "b"])})


class Split:
    """An object whose property must not be called."""

    def __init__(self):
        self.train = FRAME

    @property
    def test(self):
        raise AssertionError("completing called the user's code")


def test_columns_of_rows_in_memory_are_told_with_their_kind():
    assert tables.of_value(FRAME) == {"评论": True, "label": False, "kind": True}
    assert tables.of_value(pa.table({"a": ["x"], "b": [1]})) == {"a": True, "b": False}
    assert tables.of_value([{"a": "x", "b": 1}]) == {"a": True, "b": False}
    assert tables.of_value({"a": ["x"], "b": [1]}) == {"a": True, "b": False}
    datasets = pytest.importorskip("datasets")
    assert tables.of_value(datasets.Dataset.from_dict({"a": ["x"], "b": [1]})) == {"a": True, "b": False}


@pytest.mark.parametrize("value", [None, 3, [], [1], {}, object(), "no such file.csv", "\0", [object()]])
def test_what_has_no_columns_has_none(value):
    assert tables.of_value(value) == {}


@pytest.mark.parametrize(
    "source",
    [
        "frame",
        "frame[frame.label > 0]",
        "frame.head(10)",
        "frame[frame.label > 0].sample(3)",
        "splits.train",
        'both["train"]',
        "split.train",
    ],
)
def test_choosing_rows_leaves_the_columns(source):
    namespace = {
        "frame": FRAME,
        "splits": SimpleNamespace(train=FRAME),
        "both": {"train": FRAME, "eval": FRAME},
        "split": Split(),
    }
    assert list(tables.of_source(source, namespace)) == ["评论", "label", "kind"]


def test_choosing_columns_leaves_these_only():
    assert tables.of_source('frame[["label", "评论"]].head()', {"frame": FRAME}) == {"评论": True, "label": False}


@pytest.mark.parametrize("source", ["split.test", "make()", "nobody", "frame +", "lambda: frame", ""])
def test_nothing_is_called_to_find_columns(source):
    assert tables.of_source(source, {"split": Split(), "frame": FRAME}) == {}


def test_the_head_of_a_file_names_its_columns(tmp_path):
    (tmp_path / "a.csv").write_text('\ufeff评论,"a, b",n\nnice,x,3\n', encoding="utf-8")
    (tmp_path / "a.tsv").write_text("text\tlabel\nx\t1\n")
    (tmp_path / "a.jsonl").write_text('{"text": "x", "n": 1}\n')
    (tmp_path / "a.conll").write_text("x O\n")
    with gzip.open(tmp_path / "b.csv.gz", "wt") as file:
        file.write("text,n\nx,1\n")
    (tmp_path / "torn.csv.gz").write_bytes(b"\x1f\x8b\x08\x00torn")
    columns = {path.name: tables.of_value(path) for path in tmp_path.iterdir()}
    assert columns == {
        "a.csv": {"评论": True, "a, b": True, "n": False}, "a.tsv": {"text": True, "label": False},
        "a.jsonl": {"text": True, "n": False}, "a.conll": {"words": False, "tags": False},
        "b.csv.gz": {"text": True, "n": False}, "torn.csv.gz": {},
    }  # fmt: skip


def test_a_file_that_changed_is_read_anew(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("one,two\n")
    assert list(tables.of_value(str(path))) == ["one", "two"]
    path.write_text("one,two,three\n")
    assert list(tables.of_value(str(path))) == ["one", "two", "three"]


def test_what_is_told_of_files_and_samples_is_what_they_hold():
    assert {f"{ending}{gz}" for ending in known.DATA_ENDINGS for gz in ("", ".gz")} - {".parquet.gz"} == set(files.SUFFIXES)
    assert set(samples.COLUMNS) == set(samples.SAMPLES)
    assert samples.read_sample("tweets").column_names == list(samples.COLUMNS["tweets"])


def test_paths_are_data_files_and_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("data.csv", "data.parquet", "data.py", ".hidden.csv", "logs.csv.gz"):
        Path(name).touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/inner.csv").touch()
    assert known.paths("", known.DATA_ENDINGS) == ["data.csv", "data.parquet", "data/", "logs.csv.gz"]
    assert known.paths("data/in", known.DATA_ENDINGS) == ["data/inner.csv"]
    assert known.paths("") == ["data/"]
    assert known.paths("no/such/", known.DATA_ENDINGS) == []
