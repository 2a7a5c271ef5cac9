"""Errors: one screen, in the reader's language, without a traceback."""

import pickle

import pytest
from IPython.core.interactiveshell import InteractiveShell

from fm_notebook import errors
from fm_notebook.contracts.events import ErrorRecord
from fm_notebook.errors import DataError, Fault, FMError, SpecError, WaitInterrupted, did_you_mean


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def test_an_error_says_what_is_wrong_and_what_to_do():
    first, *rest = str(DataError("data.empty", field="train", source="reviews[:0]")).splitlines()
    assert first == "train: reviews[:0] has no rows."
    assert rest == ["  Check the filter or the file that it comes from."]


def test_an_error_names_the_line_of_the_cell():
    assert str(DataError("data.empty", line=4, field="train", source="x")).startswith("Line 4: train")


def test_all_faults_are_told_at_once():
    faults = [Fault("data.empty", {"field": name, "source": name}, line) for line, name in enumerate(["train", "eval"], 2)]
    lines = [line for line in str(SpecError(faults=faults)).splitlines() if not line.startswith("  ")]
    assert lines == ["Line 2: train: train has no rows.", "Line 3: eval: eval has no rows."]


def test_the_same_error_is_told_in_chinese(monkeypatch):
    error = DataError("data.empty", field="train", source="x")
    english = str(error)
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    assert str(error) != english
    assert "train" in str(error)


def test_ipython_shows_the_screen_and_no_traceback(capsys):
    shell = InteractiveShell.instance()
    try:
        result = shell.run_cell(
            "from fm_notebook.errors import DataError\nraise DataError('data.empty', field='train', source='x')"
        )
    finally:
        InteractiveShell.clear_instance()
    assert isinstance(result.error_in_exec, DataError)
    shown = "".join(capsys.readouterr())
    assert "train: x has no rows." in shown
    assert "Traceback" not in shown


def test_a_waiting_interrupt_ends_run_all_but_is_no_error_of_ours():
    interrupted = WaitInterrupted("sentiment")
    assert isinstance(interrupted, KeyboardInterrupt)
    assert not isinstance(interrupted, FMError)
    assert interrupted._render_traceback_() == [str(interrupted)]
    assert "sentiment" in str(interrupted)


def test_every_class_is_found_by_its_name():
    assert {"FMError", "DataError", "SpecError", "JobFailed"} <= set(errors.KINDS)
    assert all(name == kind.kind == kind.__name__ for name, kind in errors.KINDS.items())


def test_a_fault_survives_the_journal():
    fault = Fault("data.empty", {"field": "train", "source": "<b>"}, 3)
    record = ErrorRecord(kind="DataError", faults=[{"key": fault.key, "values": fault.values, "line": fault.line}])
    read = ErrorRecord.model_validate_json(record.model_dump_json())
    again = errors.KINDS[read.kind](faults=[Fault(**each) for each in read.faults])
    assert str(again) == str(DataError("data.empty", line=3, field="train", source="<b>"))


def test_values_are_data_and_no_format():
    assert "{source} %s" in str(DataError("data.empty", field="train", source="{source} %s"))


@pytest.mark.parametrize(("word", "expected"), [("epoch", "epochs"), ("EPOCHS", "epochs"), ("lable", "label")])
def test_a_slip_gets_a_hint(word, expected):
    assert expected in did_you_mean(word, ["epochs", "label", "text"])


def test_a_word_far_from_all_gets_no_hint():
    assert did_you_mean("zebra", ["epochs", "label"]) == ""


def test_errors_can_be_sent_between_processes():
    assert type(pickle.loads(pickle.dumps(FMError("data.empty")))) is FMError
