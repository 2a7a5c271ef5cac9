"""Where the cursor is, in bodies that are half written."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.magics import place


@pytest.mark.parametrize(
    ("body", "kind", "path", "head", "quote"),
    [
        ("", "field", (), "", ""),
        ("ep", "field", (), "ep", ""),
        ("epochs = 3\nlora.ra", "field", (), "lora.ra", ""),
        ("epochs = 3; la", "field", (), "la", ""),
        ("train = [\n  {'text': 'x # ;'},\n]\nte", "field", (), "te", ""),
        ("x = '''a\nb = \"'''\nte", "field", (), "te", ""),
        ('lora = {"rank": 8\nepochs = 3\nba', "field", (), "ba", ""),
        ('text = "', "value", ("text",), "", '"'),
        ("text = '评", "value", ("text",), "评", "'"),
        ("text = \"it's ", "value", ("text",), "it's ", '"'),
        ("text = 'it\\'s", "value", ("text",), "it\\'s", "'"),
        ("lora.dora =", "value", ("lora", "dora"), "", ""),
        ("precision = bf", "value", ("precision",), "bf", ""),
        ('lora = {"ra', "key", ("lora",), "ra", '"'),
        ("lora = {\n  'rank': 8,  # low\n  '", "key", ("lora",), "", "'"),
        ('lora = {"rank": 8, "dora": ', "value", ("lora", "dora"), "", ""),
        ('mitigation = {"augment": {"ax', "key", ("mitigation", "augment"), "ax", '"'),
        ('trackers = ["a", "te', "item", ("trackers",), "te", '"'),
    ],
)
def test_the_cursor_is_placed(body, kind, path, head, quote):
    assert place.at_end(body) == place.Place(kind, path, head, quote)


@pytest.mark.parametrize(
    "body",
    [
        'train = reviews["te', "train = f(", "train = [f('a', '", "# co", "epochs = 3 # ep", 'freeze = "backbone"',
        'model = "a" + "', "x = '''a\n", "epochs == 3", "import o", "epochs = 3 ", "a, b = ", "1a",
    ],
)  # fmt: skip
def test_where_a_value_is_the_users_own_nothing_is_placed(body):
    assert place.at_end(body) is None


def test_the_text_of_each_value_is_found():
    body = "train = reviews[\n  reviews.year < 2024]  # rows\ntext = 'x'; label = \"y\"\nlora.rank = 8\neval =\nimport os\n"
    found = {"train": "reviews[\n  reviews.year < 2024]", "text": "'x'", "label": '"y"', "lora.rank": "8", "eval": ""}
    assert place.fields(body) == found


_VALUES = st.recursive(
    st.text(max_size=8) | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.sampled_from(["train", "text", "情感", "lora"]), _VALUES), max_size=5))
def test_statements_are_split_as_python_splits_them(pairs):
    body = "".join(f"{name} = {value!r}\n" for name, value in pairs)
    expected = {node.targets[0].id: ast.dump(node.value) for node in ast.parse(body).body}
    assert {name: ast.dump(ast.parse(text, mode="eval").body) for name, text in place.fields(body).items()} == expected


@given(st.text(alphabet="ab=.,:;\"'#\\\n\t ()[]{}", max_size=60))
def test_no_text_is_too_strange_to_be_looked_at(body):
    found = place.at_end(body)
    place.fields(body)
    assert found is None or body.endswith(found.head)
