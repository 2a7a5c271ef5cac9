import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fm_notebook.data import stored
from fm_notebook.data.prepare import prepare_training
from fm_notebook.data.reading import Reading
from fm_notebook.data.stored import chosen_rows, gathered, load, write


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Everything is large, and lies in a folder of the test's own."""
    monkeypatch.setattr(stored, "LARGE_BYTES", 1)
    monkeypatch.setattr(stored, "BATCH_ROWS", 16)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fm_notebook"


def frame(n=100):
    return pd.DataFrame({"text": [f"text {i % 90}" for i in range(n)], "label": ["neg", "pos"] * (n // 2)})


@pytest.mark.parametrize(
    ("rows", "reading"),
    [
        (frame(), Reading()),
        (frame().assign(label=[["a"], ["b", "a"]] * 50), Reading("auto")),
        (frame().assign(label=np.arange(100) / 7), Reading("auto")),
        (frame().assign(label=[[{"start": 0, "end": 4, "label": "X"}]] * 100), Reading("tags")),
        (frame(), Reading("text")),
    ],
)
def test_large_tables_give_what_small_ones_do_and_leave_nothing_behind(rows, reading, monkeypatch, tmp_path):
    whole = prepare_training(rows, reading=reading, sources={"train": "rows"})
    monkeypatch.setattr(stored, "LARGE_BYTES", 1)
    monkeypatch.setattr(stored, "BATCH_ROWS", 16)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    parts = prepare_training(rows, reading=reading, sources={"train": "rows"})
    assert parts.train.column(0).num_chunks > 1
    assert (parts.train, parts.eval, parts.facts, parts.train_ref) == (whole.train, whole.eval, whole.facts, whole.train_ref)
    assert list((tmp_path / "fm_notebook").iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(small, monkeypatch):
    def batches():
        yield pa.record_batch({"x": [1]})
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        gathered(pa.schema({"x": pa.int64()}), batches(), large=True)
    assert list(small.iterdir()) == []


def test_rows_on_disk_are_the_owners_alone(small, monkeypatch):
    modes = []
    original = stored.load
    monkeypatch.setattr(stored, "load", lambda path: modes.append(path.stat().st_mode & 0o777) or original(path))
    gathered(pa.schema({"x": pa.int64()}), [pa.record_batch({"x": [1]})], large=True)
    assert modes == [0o600]


def test_chosen_rows_keep_their_order(small):
    table = pa.table({"x": range(50)})
    assert chosen_rows(table, np.arange(50) % 3 == 0)["x"].to_pylist() == list(range(0, 50, 3))
    assert chosen_rows(table, np.zeros(50, bool)).num_rows == 0


def test_batches_are_written_one_by_one(tmp_path):
    def batches():
        for i in range(3):
            yield pa.record_batch({"x": [i]})

    write(pa.RecordBatchReader.from_batches(pa.schema({"x": pa.int64()}), batches()), tmp_path / "a.arrow")
    assert load(tmp_path / "a.arrow")["x"].to_pylist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["a.arrow"]
