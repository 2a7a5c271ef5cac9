"""Texts in, a table for the worker out."""

import json

import pandas as pd
import pyarrow as pa
import pytest

from fm_notebook.contracts.specs import ModelRef, PredictSpec
from fm_notebook.errors import DataError, SpecError
from fm_notebook.session.predictions import _frame, _table, checked, predict

SPEC = PredictSpec(model=ModelRef(source="m", kind="folder", location="/m"))


@pytest.mark.parametrize(
    ("texts", "columns"),
    [
        ("one", {"text": ["one"]}),
        (["one", ""], {"text": ["one", ""]}),
        (("ab", "cd"), {"text": ["ab", "cd"]}),
        ([("a", "b"), ["c", "d"]], {"text": ["a", "c"], "text_pair": ["b", "d"]}),
        (pd.Series(["x", "y"], index=[7, 3]), {"text": ["x", "y"]}),
        ((text for text in "ab"), {"text": ["a", "b"]}),
    ],
)
def test_texts_and_pairs_become_rows_in_their_order(texts, columns):
    table = _table(texts).to_pydict()
    assert table.pop("row") == list(range(len(columns["text"])))
    assert table == columns


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        ([None], "NoneType"),
        (["a", 0], "int"),
        ([float("nan")], "float"),
        ([("a", None)], "NoneType"),
        (["a", ("b", "c")], "tuple"),
        (5, "int"),
        (None, "NoneType"),
        (b"bytes", "bytes"),
        ({"text": "x"}, "dict"),
        (pd.DataFrame({"text": ["x"]}), "DataFrame"),
        ([["a", "b", "c"]], "list"),
    ],
)
def test_what_is_no_text_is_refused_by_its_type(home, monkeypatch, texts, kind):
    with pytest.raises(DataError) as caught:
        _table(texts)
    assert str(caught.value).splitlines()[0] == f"predict was given a {kind} among the texts."
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    assert kind in str(caught.value)
    assert "among the texts" not in str(caught.value)


def test_no_texts_need_no_worker(home):
    frame = predict("a", SPEC, [], ["n", "p"])
    assert list(frame.columns) == ["label", "n", "p"]
    assert len(frame) == 0


def test_conversations_become_rows_of_messages():
    talk = [{"role": "user", "content": "你好"}]
    table = _table([talk, talk])
    assert table.column_names == ["messages", "row"]
    assert json.loads(table["messages"][1].as_py()) == talk


def test_a_wrong_option_is_told_by_its_field():
    model = {"source": "m", "kind": "folder", "location": "/m"}
    with pytest.raises(SpecError, match="max_new_tokens = 0 is not possible"):
        checked({"model": model, "max_new_tokens": 0})
    with pytest.raises(SpecError, match="There is no field 'max_tokens'"):
        checked({"model": model, "max_tokens": 3})


def test_what_is_found_in_a_text_is_a_list_of_dicts(tmp_path):
    found = {"entities": [[{"type": "PER", "start": 0}], []], "row": [1, 0]}
    path = tmp_path / "predictions.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, (table := pa.table(found)).schema) as writer:
        writer.write_table(table)
    frame = _frame(path)
    assert frame["entities"].tolist() == [[], [{"type": "PER", "start": 0}]]
    assert type(frame["entities"][1]) is list
