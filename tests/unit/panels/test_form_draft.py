"""The text of a form's cell, the fields that are typed into, and what is told of both."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.errors import FMError
from fm_notebook.magics import body, cell
from fm_notebook.panels.form.draft import Draft
from fm_notebook.session.binding import bind_finetune

HEAD = "%%finetune sentiment --again\n"


@pytest.fixture
def model(home):
    """A folder that is a model, as far as the kernel looks."""
    folder = home / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["BertModel"], "model_type": "bert"}')
    return str(folder)


@pytest.fixture
def films():
    return pd.DataFrame({"review": [f"{'good' if i % 2 else 'bad'} film {i}" for i in range(40)], "mood": ["n", "p"] * 20})


@pytest.fixture
def namespace(films):
    return {"films": films, "rate": 1e-3, "taken": [1]}


@pytest.fixture
def draft(model):
    return Draft(HEAD + f"# the model\nmodel = {model!r}\ntrain = films  # all of them\ntext = 'review'\nlabel = 'mood'\n")


def told(draft, namespace, **how):
    return {each.field: "\n".join(each.lines) for each in draft.check(namespace, **how).faults}


def test_a_sound_cell_has_no_faults_and_all_its_values(draft, namespace):
    checked = draft.check(namespace)
    assert checked.faults == ()
    assert checked.name == "sentiment"
    assert checked.written["text"] == '"review"'
    assert checked.written["train"] == "films"


def test_what_is_typed_changes_its_own_place_in_the_text(draft, namespace):
    before = draft.text
    draft.fill("text", "mood", namespace)
    assert draft.text == before.replace("'review'", '"mood"')
    draft.fill("text", "", namespace)
    assert draft.text == before.replace("text = 'review'\n", "")
    draft.fill("learning_rate", "rate", namespace)
    assert draft.text.endswith("label = 'mood'\nlearning_rate = rate\n")
    draft.rename("fairer")
    assert draft.text.startswith("%%finetune fairer --again\n# the model\n")


@pytest.mark.parametrize(
    ("path", "typed", "source"),
    [
        ("text", "review", '"review"'),
        ("text", "films", '"films"'),
        ("text", "'it is'", "'it is'"),
        ("model", "bert-base-cased", '"bert-base-cased"'),
        ("model", "owner/name@main", '"owner/name@main"'),
        ("model", "rate", "rate"),
        ("train", "sample:tweets", '"sample:tweets"'),
        ("train", "films[films.mood == 'p']", "films[films.mood == 'p']"),
        ("train", "reviews.csv", '"reviews.csv"'),
        ("train", "flims", "flims"),
        ("eval", "None", "None"),
        ("device", '"cpu"', '"cpu"'),
        ("epochs", " 2 ", "2"),
        ("metric", "accuracy", '"accuracy"'),
    ],
)
def test_words_are_put_in_quotes_where_they_are_no_python_of_this_notebook(draft, namespace, path, typed, source):
    draft.fill(path, typed, namespace)
    assert draft.sources()[path] == source


def test_what_is_no_python_yet_is_kept_beside_the_text_and_said(draft, namespace):
    before = draft.text
    draft.fill("learning_rate", "2e-", namespace)
    assert draft.text == before
    assert draft.check(namespace).written["learning_rate"] == "2e-"
    assert told(draft, namespace)["learning_rate"].startswith("learning_rate: `2e-` is not Python.")
    draft.fill("learning_rate", "2e-5", namespace)
    assert not draft.check(namespace).faults


@pytest.mark.parametrize("text", ["", "epochs = 3", "%%finetunes x\n", HEAD + "epochs = (\n", "%%finetune\n\ud800"])
def test_a_text_that_cannot_be_read_is_kept_and_told(namespace, text):
    draft = Draft(text)
    checked = draft.check(namespace)
    assert not checked.readable
    assert checked.faults
    with pytest.raises(FMError):
        draft.fill("epochs", "3", namespace)
    assert draft.text == text


BAD = {
    "learning_rate": ("learning_rate = -1\n", "Line 7: learning_rate = -1 is not possible."),
    "epohcs": ("epohcs = 3\n", "Line 7: There is no field 'epohcs'. Did you mean epochs?"),
    "lr_schedule": ("lr_schedule = 'lineer'\n", "Line 7: lr_schedule = 'lineer' is not possible. Did you mean linear?"),
    "lora.rank": ("lora.rank = 0\n", "Line 7: lora.rank = 0 is not possible."),
    "freeze": ("freeze = 'backbone'\nlora = {}\n", ""),
    "task": (
        "task = 'text-clasification'\n",
        "Line 7: There is no task 'text-clasification'. Did you mean text-classification, ",
    ),
    "eval": ("eval = 3\n", "Line 7: eval: a value of type 'int' cannot be read as rows."),
    "text_pair": ("text_pair = 'reviw'\n", "Line 7: text_pair: train has no column 'reviw'. Did you mean review?"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told_in_the_very_words_of_the_cell(draft, namespace, name):
    lines, first = BAD[name]
    draft.write(draft.text + lines)
    whole = cell.read(draft.text)
    with pytest.raises(FMError) as raised:
        bind_finetune(body.evaluate(body.parse(whole.body, first_line=whole.first_line), namespace))
    assert [line for each in draft.check(namespace).faults for line in each.lines] == str(raised.value).splitlines()
    assert str(raised.value).startswith(first)


@pytest.mark.parametrize(
    ("line", "field", "words"),
    [
        ("epochs = nobody", "epochs", "Line 7: epochs: NameError: name 'nobody' is not defined"),
        ("epochs = 1\nepochs = 2", "epochs", "Line 8: The field 'epochs' is set twice."),
        ("print(1)", "", "Line 7: `print(1)` does not set a field."),
        ("lora = rate\nlora.rank = 2", "lora", "Line 8: "),
    ],
)
def test_a_fault_is_told_at_its_field(draft, namespace, line, field, words):
    draft.write(draft.text + line + "\n")
    assert told(draft, namespace)[field].startswith(words)


@pytest.mark.parametrize(
    ("name", "words"), [("taken", "'taken' is a variable of yours"), ("my-run", "'my-run' cannot be"), ("", "''")]
)
def test_a_name_that_no_run_can_have_is_told(draft, namespace, name, words):
    draft.rename(name)
    assert words in told(draft, namespace)["name"]


def test_a_flag_that_asks_for_a_trial_is_refused(draft, namespace):
    draft.write(draft.text.replace("--again", "--dry-run"))
    assert told(draft, namespace)["name"].startswith("Line 1: --dry-run only tries the run")


def test_a_call_is_made_when_the_field_is_left_once_and_not_while_it_is_typed(draft, namespace):
    calls = []
    namespace["half"] = lambda: calls.append(1) or namespace["films"].head(20)
    draft.fill("train", "half()", namespace)
    for _ in range(3):
        assert not draft.check(namespace).faults
    assert calls == []
    assert not draft.check(namespace, left=True).faults
    assert not draft.check(namespace, left=True).faults
    assert calls == [1]
    draft.fill("epochs", "3", namespace)
    draft.check(namespace, left=True)
    assert calls == [1]
    draft.fields(namespace)
    assert calls == [1, 1]


def test_calls_of_a_cell_that_was_there_before_are_not_made_by_leaving_other_fields(draft, namespace):
    draft = Draft(draft.text + "learning_rate = loaded()\n")
    namespace["loaded"] = lambda: 1 / 0
    draft.fill("epochs", "3", namespace)
    assert not draft.check(namespace, left=True).faults
    draft.fill("learning_rate", "loaded() * 2", namespace)
    assert "ZeroDivisionError" in told(draft, namespace, left=True)["learning_rate"]


def test_what_a_call_raises_is_told_when_the_field_is_left(draft, namespace):
    draft.fill("epochs", "int('x')", namespace)
    assert not draft.check(namespace).faults
    assert "ValueError: invalid literal" in told(draft, namespace, left=True)["epochs"]


def test_columns_of_rows_that_are_not_computed_yet_are_known(draft, namespace):
    draft.fill("train", "films[films.mood == 'p']", namespace)
    draft.fill("label", "mod", namespace)
    assert "train has no column 'mod'. Did you mean mood?" in told(draft, namespace)["label"]


def test_starting_evaluates_everything_and_gives_what_the_cell_gives(draft, namespace, films):
    draft.fill("learning_rate", "rate * 2", namespace)
    name, asked, fields = draft.fields(namespace)
    assert (name, asked.on) == ("sentiment", {"again"})
    assert fields["learning_rate"].value == 2e-3
    assert fields["train"].value is films
    assert fields["train"].line == 4


def test_checking_costs_no_walk_over_the_rows(draft, namespace, monkeypatch):
    class Counted(list):
        def __iter__(self):
            raise AssertionError("walked")

    namespace["films"] = Counted([{"review": "a", "mood": "p"}] * 100_000)
    assert not draft.check(namespace).faults
    draft.fill("text", "reviw", namespace)
    assert "no column 'reviw'" in told(draft, namespace)["text"]


@given(st.text("ab =#'\"\n.,()[]{}1-%\\;单", max_size=40), st.sampled_from(["epochs", "lora.rank", "train", "text"]))
def test_no_text_and_nothing_typed_is_ever_lost_or_raises(text, typed_into):
    draft = Draft("%%finetune a\n" + text)
    kept = draft.text
    if draft.check({}).readable:
        draft.fill(typed_into, text, {})
        shown = draft.check({}).written.get(typed_into, "")
        assert draft.text != kept or shown == text or not text.strip() or draft.sources().get(typed_into) is not None
    assert Draft("%%finetune a\n" + text).text == kept
