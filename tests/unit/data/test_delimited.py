import gzip

import pandas as pd
import pyarrow as pa
import pytest

from fm_notebook.data import delimited, stored
from fm_notebook.data.files import from_file
from fm_notebook.errors import DataError


@pytest.fixture(autouse=True)
def large(monkeypatch, tmp_path):
    """Every file is large, and a block is a few rows."""
    monkeypatch.setattr(stored, "LARGE_BYTES", 1)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 128)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def read(path):
    return from_file(path, field="train", line=2)


def failure(path):
    with pytest.raises(DataError) as error:
        read(path)
    return error.value.faults[0].key, str(error.value)


@pytest.mark.parametrize(
    ("late", "kind", "first", "last"),
    [
        ("7", pa.int64(), 1, 7), ("7.5", pa.float64(), 1.0, 7.5), ("many", pa.string(), "1", "many"), ("", pa.int64(), 1, None),
    ],
)  # fmt: skip
def test_a_column_has_the_type_that_all_its_values_have(tmp_path, late, kind, first, last):
    (tmp_path / "a.csv").write_text("text,label\n" + "some text,1\n" * 100 + f"x,{late}\n")
    table = read(tmp_path / "a.csv")
    assert table.schema.field("label").type == kind
    assert (table["label"][0].as_py(), table["label"][-1].as_py()) == (first, last)
    assert table["label"].num_chunks > 1


def test_a_column_that_is_empty_at_first_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "some text,\n" * 100 + "x,2.5\n")
    assert read(tmp_path / "a.csv")["label"].to_pylist()[-2:] == [None, 2.5]


def test_large_and_small_files_give_the_same(tmp_path, monkeypatch):
    rows = pd.DataFrame({"text": [f'a "quoted"\nline, {i} é' for i in range(60)], "n": range(60), "day": ["2020-01-01"] * 60})
    rows.to_csv(tmp_path / "a.csv", index=False)
    with gzip.open(tmp_path / "a.csv.gz", "wb") as file:
        file.write((tmp_path / "a.csv").read_bytes())
    (tmp_path / "a.txt").write_text("one\n\ntwo\u2028three\r\nfour", newline="")
    names = ["a.csv", "a.csv.gz", "a.txt"]
    parts = [read(tmp_path / name) for name in names]
    monkeypatch.setattr(stored, "LARGE_BYTES", 2**30)
    for name, part in zip(names, parts, strict=True):
        assert read(tmp_path / name).equals(part)
    assert parts[2].to_pydict() == {"text": ["one", "", "two\u2028three", "four"]}


def test_large_parquet_files_are_read_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("fm_notebook.data.files.BATCH_ROWS", 10)
    pd.DataFrame({"text": list("abc") * 10}).to_parquet(tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet")
    assert table["text"].to_pylist() == list("abc") * 10
    assert table["text"].num_chunks == 3


def test_a_ragged_row_is_named_by_number_and_not_shown(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "some text,1\n" * 100 + "private,words,1\n")
    key, told = failure(tmp_path / "a.csv")
    assert key == "data.file.row"
    assert "row 102" in told
    assert "private" not in told


@pytest.mark.parametrize("before", [0, 100])
def test_a_file_that_is_not_utf8_is_told_with_the_place(tmp_path, before):
    head = b"text,label\n" + b"some text,1\n" * before
    (tmp_path / "a.csv").write_bytes(head + b"caf\xe9,1\n" + b"some text,1\n" * 100)
    key, told = failure(tmp_path / "a.csv")
    assert key == "data.file.encoding"
    assert f"byte {len(head) + 3}" in told


def test_a_letter_on_the_border_of_two_blocks_is_no_fault(tmp_path):
    for shift in range(4):
        data = b"a" * (126 + shift) + "é".encode() * 100 + b"\xff"
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(UnicodeDecodeError) as error:
            delimited.raise_not_utf8(lambda: (tmp_path / "a").open("rb"))
        assert error.value.start == len(data) - 1
