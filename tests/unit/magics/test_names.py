"""Words on a magic's line."""

from types import SimpleNamespace

import pytest

from fm_notebook.errors import ArgumentError
from fm_notebook.magics import names

FRAME = [1, 2, 3]


def test_a_variable_and_a_dotted_name_stand_for_their_values():
    assert names.data("frame", {"frame": FRAME}).value is FRAME
    assert names.data("own.frame", {"own": SimpleNamespace(frame=FRAME)}).value is FRAME


@pytest.mark.parametrize("text", ["sample:tweets", "owner/name[config]:split", "frame.csv", "./frame[1].csv"])
def test_a_path_or_a_hub_id_stands_for_itself(text):
    assert names.data(text, {"frame": FRAME}).value == text


@pytest.mark.parametrize("text", ["frame[:2]", "frame.head(2)", "frame.x[0]"])
def test_an_expression_belongs_in_a_cell(text):
    with pytest.raises(ArgumentError, match="an expression, and a magic's line takes names and paths only"):
        names.data(text, {"frame": FRAME})


def test_a_name_that_is_nothing_gets_a_hint():
    with pytest.raises(ArgumentError, match=r"neither a variable nor a file called 'fame'\. Did you mean frame\?"):
        names.data("fame", {"frame": FRAME})


def test_a_variable_of_the_users_is_not_free_even_if_it_is_none():
    assert names.is_free_for_a_run("new", {})
    assert not names.is_free_for_a_run("mine", {"mine": None})
