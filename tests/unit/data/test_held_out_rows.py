"""The rows that a run held out, as they lie in its folder."""

import pyarrow as pa
import pytest

from fm_notebook.data.prepare import held_out_rows
from fm_notebook.data.stored import write
from fm_notebook.errors import DataError


@pytest.fixture
def stored(tmp_path):
    rows = {"text": pa.array(["he won", "she won", "it won"], pa.large_string()), "label": pa.array([0, 1, 1], pa.int32())}
    table = pa.table({**rows, "row": [4, 9, 2], "by.region": ["n", "s", "n"]})
    write(table, tmp_path / "eval.arrow")
    return tmp_path / "eval.arrow"


def of(stored, *names):
    return held_out_rows(stored, ["no", "yes"], "single-label", source="a.1", names=names)


def test_they_are_the_canonical_rows_with_their_labels(stored):
    found = of(stored)
    assert (found.ref.kind, found.ref.source, found.ref.rows) == ("run", "a.1", 3)
    assert found.table.column_names == ["text", "label", "row"]
    assert (found.labels, found.label_counts, found.missing_rows) == (("no", "yes"), [1, 2], 0)


def test_groups_are_those_that_were_kept_or_are_made_of_the_texts(stored):
    found = of(stored, "region", "mentions:gender")
    assert found.table["by.region"].to_pylist() == ["n", "s", "n"]
    assert len(set(found.table["by.mentions:gender"].to_pylist())) > 1
    assert found.ref.fingerprint != of(stored).ref.fingerprint


def test_a_group_that_was_not_kept_asks_for_the_rows(stored):
    with pytest.raises(DataError, match="kept without a column") as raised:
        of(stored, "age")
    assert "--data" in str(raised.value)
