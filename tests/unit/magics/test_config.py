"""``%config FMNotebook``, flags that are set, and help on every magic."""

import pytest

from fm_notebook.magics import arguments
from fm_notebook.magics import settings as magic_settings
from fm_notebook.magics.arguments import AGAIN, ON, ON_SEVERAL, QUIET, WAIT, Flag
from fm_notebook.session import settings


@pytest.fixture(autouse=True)
def nothing_is_left(home):
    yield
    settings.forget()


def test_a_field_is_set_and_listed_and_taken_back(run_cell):
    assert run_cell("%config FMNotebook.learning_rate = 1e-4").error is None
    assert run_cell("%config FMNotebook.learning_rate").value == 1e-4
    listed = run_cell("%config FMNotebook").shown
    assert "learning_rate" in listed
    assert "%config" in listed
    run_cell("%config FMNotebook.learning_rate = ...")
    assert run_cell("%config FMNotebook.learning_rate").value == 5e-5
    assert "Nothing is set" in run_cell("%config FMNotebook").shown


def test_a_value_may_be_the_users_variable(run_cell):
    run_cell("rate = 3e-4")
    run_cell("%config FMNotebook.learning_rate = rate")
    assert settings.value("learning_rate") == 3e-4


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("epochs = 'a'", "epochs = 'a' is not possible."),
        ("epoch = 3", "There is no field 'epoch'. Did you mean epochs?"),
        ("trust_remote_code = True", "can be given in a cell or a call only"),
    ],
)
def test_a_wrong_setting_is_refused_in_words_and_changes_nothing(run_cell, caplog, statement, told):
    run_cell(f"%config FMNotebook.{statement}")
    assert told in caplog.text
    assert len(settings.current()) == 0


def test_all_settings_are_known_to_config(shell):
    ours = next(each for each in shell.configurables if type(each).__name__ == "FMNotebook")
    assert set(type(ours).class_traits(config=True)) == set(settings.names())


def test_ipythons_own_configuration_file_sets_too_and_its_faults_are_warnings(bare_shell, capsys):
    from fm_notebook.magics import load, unload

    bare_shell.config.FMNotebook.seed = 7
    bare_shell.config.FMNotebook.epoch = 3
    try:
        load(bare_shell)
        assert settings.value("seed") == 7
        assert "Warning: ipython_config: There is no field 'epoch'" in capsys.readouterr().out
        bare_shell.run_line_magic("config", "FMNotebook.seed = 8")
        unload(bare_shell)
        assert settings.value("seed") == 0
        load(bare_shell)
        assert settings.value("seed") == 7
    finally:
        bare_shell.config.pop("FMNotebook")


def filled(text, flags):
    return magic_settings.fill(arguments.parse(text, flags, most_words=1), flags)


def test_flags_that_are_set_hold_where_the_line_says_nothing():
    flags = (WAIT, AGAIN, ON_SEVERAL, QUIET)
    for name, value in {"wait": True, "quiet": True, "on": "torchrun:2"}.items():
        settings.configure(name, value)
    assert filled("a", flags).on == {"wait", "quiet"}
    assert filled("a", flags).values == {"on": "torchrun:2"}
    assert filled("a --no-wait --on kernel", flags).on == {"quiet"}
    assert filled("a --on kernel", flags).values == {"on": "kernel"}
    assert filled("a", (ON, QUIET)).values == {}  # one process evaluates
    assert filled("a --dry-run", (*flags, Flag("dry-run"))).values == {}
    settings.configure("on", "kernel")
    assert filled("a", (ON, QUIET)).values == {"on": "kernel"}
    assert filled("a", (AGAIN,)).on == frozenset()


def test_a_flag_cannot_be_both_on_and_off():
    with pytest.raises(arguments.ArgumentError, match="--wait"):
        arguments.parse("--wait --no-wait", (WAIT,), most_words=0)


def test_help_and_question_marks_work_on_every_magic(run_cell):
    from fm_notebook.magics import NAMES

    for name in NAMES:
        for text in (f"%{name} --help", f"%{name} -h", f"%%{name} --help", f"%%{name} --help\n\n", f"%fm_{name} --help"):
            done = run_cell(text)
            assert done.error is None
            assert "--help" in done.shown, text
        for text in (f"%{name}?", f"%%{name}?", f"?%{name}", f"%%{name}?\n", f"%%{name}?\nepochs = 3"):
            done = run_cell(text)
            assert done.error is None, text
            assert "--help" in done.shown, text
