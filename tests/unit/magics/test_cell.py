"""A whole cell is taken apart and put together again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.errors import SpecError
from fm_notebook.magics import cell
from fm_notebook.magics.finetune import FLAGS


@given(st.text("\n \t%finetune_a1=#-", max_size=60))
def test_the_parts_are_the_text(text):
    whole = "\n%%finetune" + (" " + text if text[:1].strip() else text)
    assert cell.read(whole).text == whole


@pytest.mark.parametrize(
    ("text", "name", "body", "first_line"),
    [
        ("%%finetune a\nb = 1\n", "a", "b = 1\n", 2),
        ("\n\n  %%fm_finetune --again a\nb = 1", "a", "b = 1", 4),
        ("%%finetune", "", "", 2),
        ("%%finetune --on torchrun:2 'a'\r\nb = 1\r\n", "a", "b = 1\n", 2),
    ],
)
def test_name_flags_and_body_are_found(text, name, body, first_line):
    found = cell.read(text)
    assert ("".join(found.asked(FLAGS).words), found.body, found.first_line) == (name, body, first_line)


@pytest.mark.parametrize(
    ("line", "old", "after"),
    [
        ("%%finetune a --again", "a", "%%finetune b --again"),
        ("%%finetune --on kernel a", "a", "%%finetune --on kernel b"),
        ("%%finetune --again", "", "%%finetune b --again"),
        ("%%finetune", "", "%%finetune b"),
        ("%%finetune 'a'", "a", "%%finetune b"),
    ],
)
def test_a_new_name_takes_the_place_of_the_old(line, old, after):
    assert cell.read(line + "\nx = 1").with_name(old, "b").text == after + "\nx = 1"


def test_a_body_begins_a_line_of_its_own():
    assert cell.read("%%finetune a").with_body("b = 1\n").text == "%%finetune a\nb = 1\n"


@pytest.mark.parametrize("text", ["", "b = 1", "%finetune a", "%%finetuned a", "# note\n%%finetune a"])
def test_what_is_no_such_cell_is_refused(text):
    with pytest.raises(SpecError):
        cell.read(text)
