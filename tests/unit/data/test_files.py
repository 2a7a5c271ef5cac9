import csv
import gzip
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fm_notebook.data.files import from_file, looks_like_path
from fm_notebook.errors import DataError

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff"), max_size=12)


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def read(path):
    return from_file(path, field="train", line=2)


def test_csv_keeps_quotes_line_breaks_and_the_words_null_and_na(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"one, ""two""\nthree",null\nNA,true\n,\n')
    assert read(path).to_pydict() == {"text": ['one, "two"\nthree', "NA", ""], "label": ["null", "true", ""]}


def test_csv_types_are_those_of_all_rows_and_not_of_the_first(tmp_path):
    rows = "\n".join(["1"] * 600_000 + ["many"])
    assert read(write(tmp_path / "a.csv", "label\n" + rows))["label"][-1].as_py() == "many"


def test_an_empty_field_among_numbers_is_missing(tmp_path):
    assert read(write(tmp_path / "a.csv", "text,label\na,1\nb,\n"))["label"].to_pylist() == [1, None]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(st.tuples(WORDS.map("t".__add__), WORDS.map("l".__add__)), min_size=1, max_size=5))
def test_csv_of_the_standard_library_is_read_back(tmp_path, rows):
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    assert [(row["text"], row["label"]) for row in read(tmp_path / "a.csv").to_pylist()] == rows


def test_tsv_has_no_quoting(tmp_path):
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"so called\t0\na "b" c\t1\n')
    assert read(path).to_pydict() == {"text": ['"so called', 'a "b" c'], "label": [0, 1]}


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    assert read(write(tmp_path / "a.csv", "text,label\na,0\n", "utf-8-sig")).column_names == ["text", "label"]
    assert read(write(tmp_path / "a.jsonl", '{"text": "a"}', "utf-8-sig")).column_names == ["text"]


def test_json_lines_may_lack_keys_and_hold_any_line_separator_within_text(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a\u2028b", "label": 1}\r\n\n{"text": "2020-01-01"}\n')
    assert read(path).to_pydict() == {"text": ["a\u2028b", "2020-01-01"], "label": [1, None]}


@pytest.mark.parametrize(
    "text",
    ['[{"text": "a", "label": 0}]', '{"text": ["a"], "label": [0]}', '{"text": "a", "label": 0}\n', '{"text":"a","label":0}'],
)
def test_json_may_be_a_list_columns_or_lines(tmp_path, text):
    assert read(write(tmp_path / "a.json", text)).to_pydict() == {"text": ["a"], "label": [0]}


def test_gzipped_files_are_read(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text,label\na,0\n"))
    assert read(tmp_path / "a.csv.gz").to_pydict() == {"text": ["a"], "label": [0]}


def test_parquet_is_read_and_a_folder_named_like_a_key_makes_no_column(tmp_path):
    (tmp_path / "year=2020").mkdir()
    pq.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / "year=2020" / "a.parquet")
    assert read(tmp_path / "year=2020" / "a.parquet").to_pydict() == {"text": ["a"], "label": [0]}


def test_parquet_of_datasets_keeps_the_names_of_classes(tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])})
    table = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features).data.table
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")["label"].combine_chunks().dictionary.to_pylist() == ["pos", "neg"]


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "a.csv", "text,label\na,0\n")
    assert read(type(tmp_path)("~/a.csv")).num_rows == 1


def failure(path):
    with pytest.raises(DataError) as error:
        read(path)
    assert error.value.faults[0].line == 2
    return error.value.faults[0].key, str(error.value)


def test_a_missing_path_gets_a_hint_from_its_folder(tmp_path):
    write(tmp_path / "reviews.csv", "text\na\n")
    key, told = failure(tmp_path / "review.csv")
    assert key == "data.file.absent"
    assert "reviews.csv" in told


def test_a_file_that_is_not_utf8_names_the_encoding_remedy(tmp_path):
    key, told = failure(write(tmp_path / "a.csv", "text,label\ncafé,0\n", "latin-1"))
    assert key == "data.file.encoding"
    assert "encoding=" in told


def test_a_ragged_row_is_named_by_number_and_not_shown(tmp_path):
    key, told = failure(write(tmp_path / "a.csv", "text,label\na,0\nprivate,words,1\n"))
    assert key == "data.file.row"
    assert "row 3" in told
    assert "private" not in told


def test_a_bad_line_of_json_is_named_by_number(tmp_path):
    assert "line 2" in failure(write(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": \n'))[1]
    assert failure(write(tmp_path / "b.jsonl", "[1]\n"))[0] == "data.file.json_line"
    assert failure(write(tmp_path / "c.json", json.dumps({"a": {"0": 1}})))[0] == "data.file.json"


@pytest.mark.parametrize("name", ["a.parquet", "a.csv.gz"])
def test_a_broken_file_is_refused_in_words(tmp_path, name):
    assert failure(write(tmp_path / name, "no such format"))[0] == "data.file.broken"


def test_a_torn_gzip_file_is_refused_in_words(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text,label\na,0\n" * 99)[:-12])
    assert failure(tmp_path / "a.csv.gz")[0] == "data.file.broken"


def test_a_folder_and_an_unknown_ending_are_refused(tmp_path):
    write(tmp_path / "a.csv", "text\na\n")
    key, told = failure(tmp_path)
    assert key == "data.file.folder"
    assert "a.csv" in told
    assert failure(write(tmp_path / "a.xlsx", "x"))[0] == "data.file.format"


def test_what_is_meant_as_a_path_is_told_from_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "here", "x")
    assert all(map(looks_like_path, ["a.csv", "data/a.JSONL.gz", "./a", "../a", "~/a", "/a", "here"]))
    assert not any(map(looks_like_path, ["stanfordnlp/imdb", "imdb", "owner/name[en]:train", "x" * 5000, "a\0b"]))
