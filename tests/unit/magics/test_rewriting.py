"""A field of a cell's text is changed, and nothing else."""

import ast

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fm_notebook.errors import SpecError
from fm_notebook.magics import body
from fm_notebook.magics.rewriting import sources, with_field

CELL = """\
# what it is for
model  = "bert-base-cased"          # hub id
train  = reviews[
    reviews.year < 2024             # not the last one
]; text = 'review'

lora = {"rank": 8, "targets": ("query",)}  # small
epochs = (3)   # enough
# the end"""

PATHS = [(name,) for name in ("model", "train", "epochs", "lora", "text")] + [("lora", "rank"), ("lora", "alpha")]
VALUES = st.sampled_from(
    ["3", "2e-5", '"a = # b"', "'单 🙂'", "(3)", "f(1)[0]", "{'rank': 8}", '{"rank": (8), "alpha": 2.0,}', "{}", "1, 2",
     "({'rank': 1})", "frame[\n    frame.x == 1  # why\n]", '"""two\nlines"""', "None", "lambda: 0", "{**a}",
     "{\n 'rank': 8, # r\n 'alpha': 1 # a\n}", "x if y else z", "{'rank' 'x': 1}", "{1: 2}", "a == b"]
)  # fmt: skip
COMMENTS = st.sampled_from(["", "  # a comment = 3; 'x'", "#", " # 注 \t"])
NAMES = st.sampled_from(["model", "train", "epochs", "text", "lora", "lora.rank", "lora.alpha", "freeze", "(seed)"])


@st.composite
def texts(draw):
    lines, seen = [], set()
    for _ in range(draw(st.integers(0, 7))):
        kind = draw(st.sampled_from(["set", "set", "set", "blank", "comment", "two"]))
        if kind in {"blank", "comment"}:
            lines.append("" if kind == "blank" else "# " + draw(st.text("ab=#'\"{ 单", max_size=9)))
            continue
        parts = []
        for _ in range(2 if kind == "two" else 1):
            name = draw(NAMES)
            if name not in seen:
                seen.add(name)
                parts.append(f"{name}{draw(st.sampled_from([' = ', '=', ' =  ']))}{draw(VALUES)}")
        if parts:
            lines.append("; ".join(parts) + draw(st.sampled_from(["", ";", " ; "])) + draw(COMMENTS))
    return "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n", "\n  \n"]))


def comments(text: str) -> list[str]:
    import io
    import tokenize

    words = tokenize.generate_tokens(io.StringIO(text).readline)
    return sorted(word.string for word in words if word.type == tokenize.COMMENT)


def meaning(text: str) -> dict:
    return {path: ast.dump(ast.parse(f"({source}\n)", mode="eval")) for path, source in sources(text).items()}


def is_clear(text: str) -> bool:
    """Whether no group is given twice, as a dict and by dotted names: which of the two is meant is for the fault to say."""
    paths = [body.target(statement) for statement in ast.parse(text).body]
    return len({path[0] for path in paths if path}) == len([path for path in paths if path])


def is_accepted(text: str) -> bool:
    """Whether a cell may say this; fields given twice are refused."""
    try:
        body.parse(text)
    except SpecError:
        return False
    return True


@given(texts())
@example("model = 3; lora = {'rank': 8}\nlora.rank = 3")
def test_a_text_that_goes_through_the_form_is_the_same_text(text):
    assume(is_accepted(text))
    for path, source in sources(text).items():
        assert with_field(text, path, source) == text


@given(texts(), st.sampled_from(PATHS), VALUES)
@example("lora = 3; train = frame[\n    0\n]", ("lora", "rank"), "3")
def test_a_value_that_is_set_is_found_again_and_all_others_are_as_before(text, path, value):
    assume(is_clear(text))
    try:
        changed = with_field(text, path, value)
    except SpecError:
        assert "\n" in value
        return
    after, before = meaning(changed), meaning(text)
    assert after[path] == ast.dump(ast.parse(f"({value}\n)", mode="eval"))
    kin = {each for each in {*after, *before} if each[: len(path)] == path or each == path[: len(each)]}
    assert {k: v for k, v in after.items() if k not in kin} == {k: v for k, v in before.items() if k not in kin}
    assert list(dict.fromkeys(each[0] for each in after if each in before)) == list(
        dict.fromkeys(each[0] for each in before if each in after)
    )


@given(texts(), st.sampled_from(PATHS))
def test_a_field_that_is_taken_away_leaves_the_others_and_their_comments(text, path):
    changed = with_field(text, path, None)
    after, before = meaning(changed), meaning(text)
    assert not [each for each in after if each[: len(path)] == path]
    gone = [source for each, source in sources(text).items() if each[: len(path)] == path]
    kept = {each for each in before if each[: len(path)] != path and each != path[: len(each)]}
    assert {each: after[each] for each in kept} == {each: before[each] for each in kept}
    if is_clear(text) and not any("#" in source for source in gone):
        assert comments(changed) == comments(text)
    if path not in before and not gone:
        assert changed == text


@pytest.mark.parametrize(
    ("path", "source", "old", "new"),
    [
        ("epochs", "1", "epochs = (3)   # enough", "epochs = 1   # enough"),
        ("epochs", None, "epochs = (3)   # enough", "# enough"),
        ("model", '"x"', '"bert-base-cased" ', '"x" '),
        ("text", None, "]; text = 'review'", "]"),
        ("train", None, CELL[CELL.index("train") : CELL.index("text")], ""),
        ("lora.rank", "16", '"rank": 8', '"rank": 16'),
        ("lora.rank", None, '"rank": 8, ', ""),
        ("lora.targets", None, ', "targets": ("query",)', ""),
        ("lora.alpha", "2.0", '("query",)}', '("query",), "alpha": 2.0}'),
        ("lora.targets", "'a', 'b'", '("query",)', "('a', 'b')"),
        ("lora", None, CELL[CELL.index("lora") : CELL.index("# small")], ""),
        ("seed", "7", "# the end", "# the end\nseed = 7"),
    ],
)
def test_the_rest_stays_letter_by_letter(path, source, old, new):
    assert CELL.count(old) == 1
    assert with_field(CELL, tuple(path.split(".")), source) == CELL.replace(old, new)


@pytest.mark.parametrize(
    ("before", "path", "source", "after"),
    [
        ("", "epochs", "3", "epochs = 3\n"),
        ("epochs = 3\n\n", "seed", "1", "epochs = 3\nseed = 1\n\n"),
        ("lora.rank = 8  # r\nseed = 1", "lora.alpha", "2.0", "lora.rank = 8  # r\nlora.alpha = 2.0\nseed = 1"),
        ("lora = None\n", "lora.rank", "8", "lora.rank = 8\n"),
        ("lora = mine\n", "lora.rank", "8", "lora = mine\nlora.rank = 8\n"),
        ("lora.rank = 8\nlora.alpha = 2.0\n", "lora", "{}", "lora = {}\n"),
        ("lora.rank = 8\nseed = 1\nlora.alpha = 2.0\n", "lora", None, "seed = 1\n"),
        ("lora = {}\n", "lora.rank", "8", 'lora = {"rank": 8}\n'),
        ("a = 1; b = 2; c = 3 # d\n", "b", None, "a = 1; c = 3 # d\n"),
        ("a = 1; b = 2\n", "a", None, "b = 2\n"),
        ("a = 1;\n", "a", None, ""),
        ("a = 1\n", "b", "3 # x", "a = 1\nb = (3 # x\n)\n"),
        ('a = "é单"; b = 2\n', "b", "3", 'a = "é单"; b = 3\n'),
        ("(a) = 1\n", "a", "2", "(a) = 2\n"),
        ("print(1)\na = 1\n", "a", "2", "print(1)\na = 2\n"),
        ("a = \\\n  1\n", "a", "2", "a = \\\n  2\n"),
    ],
)
def test_a_field_is_put_where_a_reader_looks_for_it(before, path, source, after):
    assert with_field(before, tuple(path.split(".")), source) == after


@pytest.mark.parametrize("source", ["", "2e-", "a = 3", "3; b = 4", "3\nb = 4", "*a", "(1", "print 3", "\ud800"])
def test_what_is_no_expression_is_refused(source):
    with pytest.raises(SpecError):
        with_field("a = 1\n", ("a",), source)


def test_a_text_that_is_no_python_is_refused_and_named():
    with pytest.raises(SpecError) as caught:
        with_field("a = 1\nb = (\n", ("a",), "2")
    assert "not Python" in str(caught.value)
