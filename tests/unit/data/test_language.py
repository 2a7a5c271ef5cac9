import json

import pandas as pd
import pyarrow as pa
import pytest

from fm_notebook.data.encoding import encode
from fm_notebook.data.prepare import prepare_rows, prepare_training
from fm_notebook.data.reading import Reading
from fm_notebook.data.values import from_value
from fm_notebook.errors import DataError

TALK = [{"role": "user", "content": "你好?"}, {"role": "assistant", "content": "Hi <b>"}]


def run(rows, reading):
    return encode(from_value(rows, field="train"), reading, field="train", lines={"train": 1, "messages": 4})


def failure(messages):
    with pytest.raises(DataError) as error:
        run({"messages": messages}, Reading("chat", messages="messages"))
    fault = error.value.faults[0]
    assert fault.line == 4
    return fault.key, str(error.value)


def test_texts_alone_need_no_label():
    encoded = run({"text": ["a", "", None, "b"]}, Reading("text"))
    assert encoded.table.to_pydict() == {"text": ["a", "b"], "row": [0, 3]}
    assert (encoded.labels, encoded.missing_rows) == ((), 2)


def test_prompts_and_completions_are_needed_both():
    rows = {"question": ["a", "b", "c"], "completion": ["x", None, " "]}
    encoded = run(rows, Reading("generation", prompt="question"))
    assert encoded.kind == "completion"
    assert encoded.table.to_pydict() == {"prompt": ["a"], "completion": ["x"], "row": [0]}
    assert encoded.table.schema.types == [pa.large_string(), pa.large_string(), pa.int64()]


@pytest.mark.parametrize("stored", [lambda talk: talk, json.dumps])
def test_conversations_are_lists_or_json(stored):
    encoded = run([{"messages": stored(TALK)}, {"messages": None}, {"messages": stored([])}], Reading("generation"))
    assert (encoded.kind, encoded.missing_rows) == ("chat", 2)
    assert json.loads(encoded.table["messages"][0].as_py()) == TALK
    assert "你好" in encoded.table["messages"][0].as_py()


def test_other_keys_of_a_message_are_kept_where_they_have_a_value():
    called = {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}
    encoded = run([{"messages": [TALK[0], called]}], Reading("generation"))
    assert json.loads(encoded.table["messages"][0].as_py()) == [TALK[0], {"role": "assistant", "tool_calls": [{"name": "f"}]}]


def test_wrong_messages_are_told_with_their_row():
    good = [TALK]
    assert failure([*good, [{"role": "human", "content": "x"}]])[0] == "data.messages.role"
    key, told = failure([*good, [TALK[0], {"role": "user", "content": None}]])
    assert key == "data.messages.content"
    assert "row 1 " in told
    assert "message 1 " in told
    assert failure([json.dumps(TALK), "hello"])[0] == "data.messages.json"
    assert failure([json.dumps(TALK), json.dumps(["hello"])])[0] == "data.messages.role"
    assert failure([1, 2])[0] == "data.messages.kind"


@pytest.mark.parametrize(
    ("rows", "reading", "column"),
    [
        ([{"text": f"t{i}"} for i in range(10)], Reading("text"), "text"),
        ([{"prompt": f"p{i}", "completion": "c"} for i in range(10)], Reading("generation"), "prompt"),
        ([{"messages": [{"role": "user", "content": f"m{i}"}]} for i in range(10)], Reading("generation"), "messages"),
    ],
)
def test_unlabelled_rows_are_split_counted_and_told_apart(rows, reading, column):
    data = prepare_training(rows, reading=reading, eval_split=0.2, sources={"train": "rows"})
    assert (data.facts.train_rows, data.facts.eval_rows, data.facts.stratified) == (8, 2, False)
    assert (data.facts.labels, data.facts.train_label_counts) == ([], [])
    assert column in data.train.column_names
    other = prepare_training(rows[::-1], reading=reading, eval_split=0.2, sources={"train": "rows"})
    assert other.train_ref.fingerprint != data.train_ref.fingerprint
    twice = prepare_training(rows * 2, reading=reading, sources={"train": "rows"})
    assert twice.facts.shared_texts == 0
    assert twice.facts.duplicate_texts == twice.facts.train_rows // 2
    given = prepare_training(rows, rows[:3], reading=reading, sources={"train": "rows", "eval": "rows"})
    assert given.facts.shared_texts == 3
    assert prepare_rows(rows, reading=reading, source="rows").table.num_rows == 10


def test_one_row_cannot_be_split():
    with pytest.raises(DataError) as error:
        prepare_training(pd.DataFrame({"text": ["a"]}), reading=Reading("text"), sources={"train": "rows"})
    assert error.value.faults[0].key == "data.split"
