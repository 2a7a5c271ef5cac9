"""The line of a magic, split like a shell line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.errors import ArgumentError
from fm_notebook.magics.arguments import AGAIN, ON, QUIET, WAIT, Flag, parse

FLAGS = (WAIT, AGAIN, QUIET, ON, Flag("text", "COLUMN"))


@pytest.fixture(autouse=True)
def _english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def test_words_switches_and_values_are_told_apart():
    line = parse("sentiment --wait rows.csv --text review --on=kernel", FLAGS, most_words=2)
    assert line.words == ("sentiment", "rows.csv")
    assert line.on == {"wait"}
    assert line.values == {"text": "review", "on": "kernel"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("  ", ()),
        ("a;", ("a",)),
        ("'my file.csv'", ("my file.csv",)),
        ('"it\'s"', ("it's",)),
        (r"C:\data\new.csv", (r"C:\data\new.csv",)),
        (r'"C:\my data\new.csv"', (r"C:\my data\new.csv",)),
        ("a#b", ("a#b",)),
        ("情感 数据.csv", ("情感", "数据.csv")),
        ("-", ("-",)),
        ("sample:tweets", ("sample:tweets",)),
        ("a''b", ("ab",)),
    ],
)
def test_words_are_split_like_a_shell_line_with_windows_paths(text, words):
    assert parse(text, FLAGS, most_words=2).words == words


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("--wiat", "There is no flag --wiat. Did you mean --wait, --quiet?"),
        ("-x", "There is no flag -x."),
        ("--wait a --wait", "The flag --wait is given twice."),
        ("--text a --text b", "The flag --text is given twice."),
        ("--text", "The flag --text needs a value."),
        ("--text --wait", "The flag --text needs a value."),
        ("--wait=yes", "The flag --wait takes no value."),
        ("--on kernal", "--on kernal is not possible. Did you mean kernel?"),
        ("--on=", "--on  is not possible."),
        ("a b c d", "Too much on the line: c d"),
        ("a 'b", "The line cannot be split into words: No closing quotation."),
    ],
)
def test_what_is_wrong_on_the_line_is_said_in_words(monkeypatch, text, told):
    with pytest.raises(ArgumentError) as caught:
        parse(text, FLAGS, most_words=2)
    assert str(caught.value).splitlines()[0] == told
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    assert any("\u4e00" <= letter <= "\u9fff" for letter in str(caught.value))


def test_help_is_known_everywhere():
    assert "help" in parse("-h", (), most_words=0).on
    assert "help" in parse("x --help", (), most_words=1).on


@given(st.text(max_size=40))
def test_any_line_is_split_or_refused_in_words(text):
    try:
        line = parse(text, FLAGS, most_words=3)
    except ArgumentError as error:
        str(error)  # can be told
    else:
        assert len(line.words) <= 3


def test_a_flag_that_may_stand_several_times_keeps_all_its_values_in_order():
    by = Flag("by", "COLUMN", many=True)
    found = parse("run data --by gender --by=region*gender", [by], most_words=2)
    assert found.lists == {"by": ("gender", "region*gender")}
    assert found.values == {}
    with pytest.raises(ArgumentError, match="--by"):
        parse("run data --by", [by], most_words=2)
