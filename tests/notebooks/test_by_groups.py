"""`%evaluate` by expressions of the notebook: the cell form, what it shows, and what it says of values that do not fit."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_expressions_of_the_cell_are_groups_and_faults_name_their_line(current, finetune, reviews):
    current.run(finetune("first", "--wait", steps=20, eval_every=20, learning_rate=1e-2))
    current.run(f"import pandas as pd\nframe = pd.read_csv({str(reviews)!r})\nframe['year'] = 2000 + frame.index % 7")
    cell = current.run(
        "%%evaluate first frame\nby.recent = frame.year > 2003\nby.length = frame.text.str.len() // 40\npositive = 'p'"
    )
    assert cell.error == []
    for words in ("By recent", "By length", "Calibration: ECE", "ROC and precision", "subgroup AUC"):
        assert words in cell.html
    by_length = current.run("%evaluate first frame --by length --positive n")
    assert "characters" in by_length.html
    wrong = current.run("%%evaluate first frame\nby = {'young': frame.year[:5].tolist()}")
    assert "Line 2: young has 5 rows where 320 are expected." in "\n".join(wrong.error)
    assert "By length" not in "\n".join(wrong.error)


def test_a_part_of_a_frame_takes_its_own_rows_of_a_group(current, finetune, reviews):
    current.run(finetune("first", "--wait", steps=20, eval_every=20))
    current.run(f"import pandas as pd\nframe = pd.read_csv({str(reviews)!r})\nframe['odd'] = frame.index % 2")
    current.run("part = frame[frame.index >= 100]")
    cell = current.run("%%evaluate first part\nby = frame.odd * 10 + 7")
    assert cell.error == []
    table = (
        "_.groups[0].table" if current.value("type(_).__name__") == "'Evaluation'" else "first.evaluations[-1].groups[0].table"
    )
    assert current.value(f"[(g.name, g.n) for g in {table}.groups]") == "[('7', 110), ('17', 110)]"
