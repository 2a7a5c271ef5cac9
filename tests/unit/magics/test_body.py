"""Cell text ⇄ fields."""

import ast
import traceback
import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.errors import FMError, SpecError
from fm_notebook.magics import body


@pytest.fixture(autouse=True)
def _english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def fields(text: str, **names) -> dict:
    return {name: each.value for name, each in body.evaluate(body.parse(text), names).items()}


def faults(text: str, **names) -> list[str]:
    with pytest.raises(SpecError) as caught:
        fields(text, **names)
    return [fault.lines()[0] for fault in caught.value.faults]


def test_each_line_sets_a_field_to_a_python_value():
    assert fields("a = 2e-5\nb = 'x'; c = rows[1:]\n", rows=[1, 2]) == {"a": 2e-5, "b": "x", "c": [2]}


def test_source_and_line_are_kept():
    (line,) = body.parse("\n\n  \n# why\ntrain = reviews[\n  1:]\n", first_line=3)
    assert (line.path, line.source, line.number) == (("train",), "reviews[\n  1:]", 7)


@pytest.mark.parametrize("blank", range(4))
def test_lines_are_counted_from_the_cell_whatever_blank_lines_there_are(blank):
    assert faults("\n" * blank + "a = 1\nprint(1)\n") == [f"Line {blank + 3}: `print(1)` does not set a field."]


@pytest.mark.parametrize(
    "statement",
    [
        "print(1)",
        "a += 1",
        "a: int = 1",
        "a: int",
        "a, b = 1, 2",
        "(a, b) = 1, 2",
        "a = b = 1",
        "a[0] = 1",
        "a().b = 1",
        "[a] = [1]",
        "import os",
        "def f(): pass",
        "for a in b: pass",
        "del a",
        "pass",
        "(a := 1)",
        "a",
        "if a: b = 1",
        "*a, = 1,",
        "async def f(): pass",
        "return 1",
        "global a",
        "assert a",
    ],
)
def test_any_other_statement_is_an_error_that_names_its_line(statement):
    assert faults(f"\nx = 1\n{statement}\n") == [f"Line 4: `{statement}` does not set a field."]


def test_all_such_statements_are_named_at_once_and_nothing_is_evaluated():
    told = faults("a = boom()\nprint(1); b = 2\na = 3\n", boom=lambda: pytest.fail("evaluated"))
    assert told == ["Line 3: `print(1)` does not set a field.", "Line 4: The field 'a' is set twice."]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = (1", "Line 2: The cell's body is not Python: '(' was never closed."),
        ("a = 1\n b = 2", "Line 3: The cell's body is not Python: unexpected indent."),
        ("a = !ls", "Line 2: The cell's body is not Python: invalid syntax."),
        ("a = 1\nb = await x", "Line 3: The cell's body is not Python: 'await' outside function."),
        ("a = (yield)", "Line 2: The cell's body is not Python: 'yield' outside function."),
        ("a = " + "(" * 300 + ")" * 300, "Line 2: The cell's body is not Python: too many nested parentheses."),
        ("a = " + "1+" * 1900 + "1", "Line 2: The cell's body is not Python: RecursionError."),
        ("a = " + "-" * 5000 + "1", "The cell's body is not Python: RecursionError."),
    ],
)
def test_what_is_no_python_is_told_with_its_line(text, reason):
    assert faults(text) == [reason]


@pytest.mark.parametrize("text", ["a = '\ud800'", "a\0 = 1", "\ud800", "a = '\udfff'\nprint(1)", "a = " + "9" * 5000])
def test_texts_that_no_file_could_hold_are_an_error_of_ours(text):
    assert "The cell's body is not Python: " in faults(text)[0]


def test_the_errors_are_told_in_chinese(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    for text in ("print(1)", "a = (1", "a = 1\na = 2", "a = 1\na.b = 2"):
        (told,) = faults(text)
        assert any("\u4e00" <= letter <= "\u9fff" for letter in told)


def test_dotted_targets_reach_nested_fields():
    assert fields("lora.rank = 8\nlora.x.y = 1\nlora.x.z = 2") == {"lora": {"rank": 8, "x": {"y": 1, "z": 2}}}
    given = {"rank": 4}
    assert fields("lora = given\nlora.rank = 8", given=given) == {"lora": {"rank": 8}}
    assert given == {"rank": 4}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = 1\na.b = 2", "Line 3: 'a.b' reaches into 'a', which is no dict."),
        ("a.b = 1\na.b.c = 2", "Line 3: 'a.b.c' reaches into 'a.b', which is no dict."),
        ("a.b = 1\na.b = 2", "Line 3: The field 'a.b' is set twice."),
        ("a.b = 1\na = {}", "Line 3: The field 'a' is set twice."),
    ],
)
def test_a_field_and_its_parts_do_not_contradict_each_other(text, told):
    assert faults(text) == [told]


def test_a_walrus_sets_nothing_in_the_notebook():
    names = {}
    assert body.evaluate(body.parse("a = (b := 3) + b"), names)["a"].value == 6
    assert names == {}


def test_a_value_may_use_names_inside_a_comprehension():
    assert fields("a = [x * k for x in xs]", xs=[1, 2], k=3) == {"a": [3, 6]}


@pytest.mark.parametrize(
    ("expression", "kind"),
    [("1 / 0", ZeroDivisionError), ("nope", NameError), ("{}['k']", KeyError), ("frame.colum", AttributeError)],
)
def test_a_users_own_exception_keeps_type_and_traceback_with_our_note(expression, kind):
    with pytest.raises(kind) as caught:
        fields(f"\nepochs = 1\ntrain = {expression}\n", frame=object())
    assert not isinstance(caught.value, FMError)
    assert caught.value.__notes__ == ["In line 4 of the cell, the value of 'train'."]
    assert f"train = {expression}" in "".join(traceback.format_exception(caught.value))


def test_an_error_of_ours_in_an_expression_stays_ours():
    def refuse():
        raise SpecError("body.twice", field="x")

    with pytest.raises(SpecError, match="set twice"):
        fields("a = refuse()", refuse=refuse)


LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3) | st.tuples(inner),
    max_leaves=5,
)
NAMES = st.text("abcdefgh_épochs", min_size=1, max_size=8).filter(
    lambda name: name.isidentifier() and ast.parse(name) is not None
)


@given(st.dictionaries(st.sampled_from(list(FinetuneSpec.model_fields)), LITERALS, max_size=6))
def test_fields_become_cell_text_and_back(values):
    text = body.render(values)
    assert fields(text) == values
    assert [line.number for line in body.parse(text)] == list(range(2, 2 + len(values)))


SPECS = st.fixed_dictionaries(
    {},
    optional={
        "epochs": st.floats(0.01, 100),
        "max_steps": st.none() | st.integers(1, 10**6),
        "learning_rate": st.floats(1e-9, 1),
        "batch_size": st.integers(1, 4096),
        "text": st.text(min_size=1),
        "label": st.text(min_size=1),
        "seed": st.integers(0, 2**32 - 1),
        "class_weight": st.none() | st.just("balanced") | st.dictionaries(st.text(), st.floats(0.1, 9), max_size=3),
        "lr_schedule": st.sampled_from(["linear", "cosine", "constant"]),
        "warmup_steps": st.floats(0, 1e4),
        "max_grad_norm": st.none(),
        "device": st.sampled_from(["auto", "cpu", "cuda:3"]),
        "trust_remote_code": st.booleans(),
    },
)
WHOLE = {"model": ModelRef(source="m", kind="hub", location="m"), "train": DataRef(source="t", kind="value")}


@given(SPECS)
def test_a_spec_survives_the_cell_text_of_its_literal_fields(values):
    spec = FinetuneSpec.model_validate({**values, **WHOLE})
    again = fields(body.render({name: getattr(spec, name) for name in values}))
    assert FinetuneSpec.model_validate({**again, **WHOLE}) == spec


TARGETS = st.sampled_from(
    ["epochs", "a", "lora.rank", "lora", "é", "a.b.c", "seed", "text", "a[0]", "a, b", "a = b", "f()", "*a", "(a)"]
)
VALUES = LITERALS.map(repr) | st.sampled_from(
    ["", "(", "0x", "1_0", "1e999", "-1", "+", "'\\ud800'", '"""', "f'{1}'", "...", "{1: 2}", "9" * 5000]
)
JOINTS = st.sampled_from([" = ", "=", ": int = ", " += ", " := ", " == ", ""])
LINES = (
    st.tuples(TARGETS, JOINTS, VALUES).map("".join)
    | st.text(max_size=12)
    | st.sampled_from(["", "#", "\t", "  x = 1", "\\", ";", "\x0c"])
)
CELLS = st.lists(LINES, max_size=5).flatmap(
    lambda lines: st.sampled_from(["\n", "\r\n", "\r", ";", "\n\n"]).map(lambda end: end.join(lines))
)


def _is_literal(line: body.Line) -> bool:
    try:
        ast.literal_eval(line.expression)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


@given(st.one_of(CELLS, st.text(max_size=40)))
@example("a = '\ud800'")
@example("\x0c\r\ra = 1\r")
@example("a\\\n= 1")
@example("'" * 3)
def test_any_cell_of_literals_ends_in_our_error_or_in_fields(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's own about odd literals
        try:
            lines = body.parse(text)
        except FMError as error:
            str(error)  # can be told
            return
        assert all(line.number >= 2 and line.source for line in lines)
        if not all(map(_is_literal, lines)):
            return
        try:
            given_fields = body.evaluate(lines, {})
        except FMError as error:
            str(error)
            return
    values = {name: each.value for name, each in given_fields.items()}
    assert set(values) == {line.path[0] for line in lines}
    try:
        FinetuneSpec.model_validate({**WHOLE, **values})
    except ValidationError as error:
        from fm_notebook.contracts import fields as words

        told = words.faults(error, FinetuneSpec, {}, {})
        assert all(fault.lines() for fault in told)
