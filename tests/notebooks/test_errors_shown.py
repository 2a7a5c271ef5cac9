"""Errors as a reader sees them: one screen for ours, the traceback for the user's own."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_all_faults_of_a_cell_are_shown_at_once_with_their_lines(kernel, tiny_bert, reviews):
    cell = kernel.run(f"%%finetune first\nmodel = {str(tiny_bert)!r}\ntrain = {str(reviews)!r}\nepoch = 3\nbatch_size = -1\n")
    assert cell.error[0] == "Line 4: There is no field 'epoch'. Did you mean epochs?"
    assert "Line 5: batch_size" in cell.error[2]
    assert not any("Traceback" in line for line in cell.error)
    assert len(cell.error) < 10


def test_a_taken_name_is_refused_and_the_variable_kept(kernel, finetune):
    kernel.run("first = [1, 2]")
    cell = kernel.run(finetune("first"))
    assert "first" in cell.error[0]
    assert "list" in cell.error[0]
    assert not any("Traceback" in line for line in cell.error)
    assert kernel.value("first") == "[1, 2]"


def test_an_error_in_the_users_own_expression_keeps_its_traceback(kernel, finetune):
    cell = kernel.run("%%finetune first\n\nlearning_rate = 1 / zero\n")
    shown = "\n".join(cell.error)
    assert "Traceback" in shown
    assert "learning_rate = 1 / zero" in shown
    assert "NameError: name 'zero' is not defined" in shown
    assert "In line 3 of the cell, the value of 'learning_rate'." in shown
    assert "fm_notebook/magics" not in shown


def test_what_a_worker_refuses_fails_the_cell_in_words(current, finetune, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text('{"model_type": "bert"}')
    cell = current.run(finetune("first", model=str(tmp_path / "broken")))
    assert cell.error
    assert not any("Traceback" in line for line in cell.error)
    assert current.run("%runs").error == []


def test_an_empty_cell_teaches_and_help_names_every_field(current):
    assert "%%finetune sentiment" in current.run("%%finetune").text
    told = current.run("%%finetune --help").text
    assert "learning_rate = 5e-05" in told
    assert "--[no-]wait" in told
