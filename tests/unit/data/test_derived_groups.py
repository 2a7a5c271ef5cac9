"""Groups that are told by the texts come along as columns do; a column of that name goes before."""

import pandas as pd
import pyarrow as pa
import pytest

from fm_notebook.data import stored
from fm_notebook.data.derived_groups import DERIVED, is_derived
from fm_notebook.data.encoding import encode
from fm_notebook.data.grouped import columns_of, kept
from fm_notebook.data.reading import Reading
from fm_notebook.errors import DataError

FRAME = pd.DataFrame(
    {
        "text": ["he sang", " ", "她唱歌", "其他", "a man"], "second": ["x", "x", "his", "x", "she"],
        "label": ["n", "p", "p", "n", None], "region": list("nsnsn"),
    }
)  # fmt: skip


def by(*names, frame=FRAME, lines=None, **roles):
    table = encode(pa.Table.from_pandas(frame), Reading(groups=columns_of(names), **roles), field="data", lines=lines).table
    return {name: table[name].to_pylist() for name in table.column_names if name.startswith("by.")}


def test_whom_a_text_names_is_a_group_of_its_row():
    assert by("mentions:gender") == {"by.mentions:gender": ["male", "female", "unmentioned"]}


def test_both_texts_of_a_pair_count():
    assert by("mentions:gender", text_pair="second") == {"by.mentions:gender": ["male", "female+male", "unmentioned"]}


def test_it_is_crossed_with_a_column():
    assert by("region*mentions:gender", "region") == {
        "by.region": ["n", "n", "s"], "by.mentions:gender": ["male", "female", "unmentioned"],
    }  # fmt: skip


def test_a_column_of_that_name_goes_before():
    frame = FRAME.assign(**{"mentions:gender": list("abcde")})
    assert by("mentions:gender", frame=frame) == {"by.mentions:gender": ["a", "c", "d"]}


def test_groups_come_along_in_batches_too(monkeypatch):
    monkeypatch.setattr(stored, "BATCH_ROWS", 2)
    frame = pd.concat([FRAME] * 4, ignore_index=True)
    assert by("mentions:gender", frame=frame) == {"by.mentions:gender": ["male", "female", "unmentioned"] * 4}


@pytest.mark.parametrize(
    ("name", "hint"), [("mentions:gendr", "gender"), ("mention:gender", "mentions:gender"), ("regoin", "region")]
)
def test_what_is_not_there_gets_a_hint_and_the_line(name, hint):
    with pytest.raises(DataError, match=f"Did you mean {hint}") as caught:
        by(name, lines={"by": 7})
    assert caught.value.faults[0].line == 7


@pytest.mark.parametrize(
    "texts", [{"text": [["she"], ["he"]]}, {"text": [{"content": "she"}, {"content": "he"}]}, {"messages": ["she", "he"]}]
)
def test_what_is_no_text_names_nobody_until_it_is_refused(texts):
    found = kept(pa.table({"x": [1, 2]}), ["mentions:gender"], "data", texts=pa.table(texts))
    assert found["by.mentions:gender"].to_pylist() == ["unmentioned"] * 2


def test_only_what_stands_in_the_table_is_derived():
    assert [is_derived(name) for name in ("mentions:gender", "mentions", "gender", "x:mentions")] == [True, True, False, False]
    assert "mentions" in DERIVED
