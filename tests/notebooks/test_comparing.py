"""``%compare`` in a kernel: the value, the card that stays, an interrupt, and a kernel that holds no model."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_what_changed_is_shown_and_is_a_value(kernel, finetune, reviews):
    kernel.run(finetune("first", "--wait", steps=2))
    kernel.run(finetune("second", "--wait", steps=40, learning_rate=1e-2))
    kernel.run(f"import pandas as pd\nrows = pd.read_csv({str(reviews)!r}).assign(region=['north', 'south'] * 160)")
    shown = kernel.run("%compare first second --data rows --by region --positive p")
    assert shown.error == []
    assert "second.1 against first.1" in shown.html
    assert "on rows" in shown.html
    assert "How far the groups of region lie apart" in shown.html
    assert shown.html.count("<img ") == 2
    held = kernel.run("found = %compare first second --quiet")
    assert held.error == []
    assert held.html == ""
    assert kernel.value("found.data.kind, found['second.1'].overall.get('accuracy').n") == "('run', 32)"
    cell = kernel.run("%%compare\nruns = [first, second]\ndata = rows[:80]\nby = ['region']")
    assert "80 rows" in cell.html
    assert "reused" in kernel.run("%compare first second --data rows --by region --positive p").text
    assert kernel.value("'torch' in __import__('sys').modules") == "False"


def test_an_interrupt_ends_the_waiting_and_not_the_evaluations(current, finetune, reviews, tmp_path):
    header, *lines = reviews.read_text().splitlines(keepends=True)
    (tmp_path / "many.csv").write_text(header + "".join(lines * 20))
    current.run(finetune("first", "--wait", steps=2))
    current.run(finetune("second", "--wait", steps=3))
    waiting = current.run("%compare first second --data many.csv", wait=False)
    current.until(lambda: "Evaluating 'first.1'" in str(waiting.outputs), what="the waiting")
    current.manager.interrupt_kernel()
    current.until(lambda: waiting.done)
    assert "No longer waiting for" in waiting.error[0]
    assert current.run("%compare first second --data many.csv").error == []
    assert current.value("len(first.evaluations), len(second.evaluations)") == "(1, 1)"


def test_what_is_wrong_is_one_screen(current, finetune):
    current.run(finetune("first", "--wait", steps=2))
    for line, told in (
        ("%compare first", "A comparison needs two runs or models; there is 'first' alone."),
        ("%compare first first.1", "'first.1' stands there twice."),
        ("%compare first fist", "Did you mean first?"),
    ):
        assert any(told in shown for shown in current.run(line).error), line
