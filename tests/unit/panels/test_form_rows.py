"""The look at rows: few of them, quickly, and the balance of their labels."""

import pandas as pd
import pyarrow as pa
import pytest

from fm_notebook.errors import FMError
from fm_notebook.panels.form import rows as form_rows
from fm_notebook.panels.form.rows import SHOWN_LABELS, SHOWN_ROWS, preview
from fm_notebook.session.given import Assigned

ROWS = [{"text": f"film {i}", "label": "pn"[i % 3 == 0]} for i in range(90)]


def dataset():
    import datasets

    return datasets.Dataset.from_list(ROWS)


@pytest.mark.parametrize("make", [lambda: ROWS, lambda: pd.DataFrame(ROWS), dataset, lambda: pa.Table.from_pylist(ROWS)])
def test_the_first_rows_and_the_balance_of_all_are_shown_of_every_kind_of_rows(make):
    found = preview(Assigned(make(), "films", 2), "train", "label")
    assert found.rows == 90
    assert found.columns == ["text", "label"]
    assert found.cells == [[row["text"], row["label"]] for row in ROWS[:SHOWN_ROWS]]
    assert found.balance == [("p", 60, pytest.approx(2 / 3)), ("n", 30, pytest.approx(1 / 3))]
    assert found.others == 0


def test_a_file_is_read_for_the_look(tmp_path):
    file = tmp_path / "films.csv"
    file.write_text("text,label\n" + "a film,1\n" * 7)
    found = preview(Assigned(str(file), repr(str(file))), "train", "label")
    assert (found.rows, found.balance) == (7, [("1", 7, 1.0)])


def test_long_values_are_cut_and_many_labels_are_counted():
    rows = [{"text": "x" * 1000, "label": f"kind {i}"} for i in range(50)]
    found = preview(Assigned(rows), "train", "label")
    assert all(len(cell) <= 160 for row in found.cells for cell in row)
    assert len(found.balance) == SHOWN_LABELS
    assert found.others == 50 - SHOWN_LABELS


def test_lists_of_labels_are_counted_by_label_and_missing_ones_are_not():
    rows = [{"text": "a", "label": ["x", "y"]}, {"text": "b", "label": ["x"]}, {"text": "c", "label": None}]
    assert preview(Assigned(rows), "train", "label").balance == [("x", 2, pytest.approx(2 / 3)), ("y", 1, pytest.approx(1 / 3))]


def test_rows_without_that_column_have_no_balance():
    assert preview(Assigned(pd.DataFrame({"a": [1]})), "train", "label").balance == []


def test_what_is_no_rows_is_told_as_under_the_cell():
    with pytest.raises(FMError) as caught:
        preview(Assigned(5, "5", 3), "train", "label")
    assert str(caught.value).startswith("Line 3: train: a value of type 'int' cannot be read as rows.")


@pytest.mark.parametrize("make", [lambda: ROWS * 9, lambda: pd.DataFrame(ROWS * 9), lambda: pa.Table.from_pylist(ROWS * 9)])
def test_a_look_takes_the_head_of_rows_and_never_all(make):
    table = form_rows._head(Assigned(make()), "train")
    assert table is not None
    assert table.num_rows == form_rows.HEAD < 9 * len(ROWS)


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
