"""``%%explain`` as a notebook meets it, without a worker."""

from types import SimpleNamespace

import pytest

from fm_notebook import verbs
from fm_notebook.contracts.attributions import Attribution, Piece
from fm_notebook.errors import ArgumentError, ModelError, SpecError

FOUND = Attribution(
    model="tiny", text="good", label="p", predicted="p", labels=["n", "p"], probabilities=[0.25, 0.75],
    pieces=[Piece(start=0, end=4, token="good")],
)  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    """What the magic asks its verb for; an equal explanation is always there."""
    given = {}

    def prepare(fields, **settings):
        given.update({name: each.value for name, each in fields.items()} | settings)
        return SimpleNamespace(how="reused", job=SimpleNamespace(name="tiny"))

    monkeypatch.setattr(verbs, "prepare_explanation", prepare)
    monkeypatch.setattr(verbs, "finish_explanation", lambda _: FOUND)
    return given


def test_the_body_is_the_text_to_the_letter(run_cell, asked):
    done = run_cell("%%explain sentiment\n\n  # {not} 'code' $x %y \\n 影\n\tsecond line  \n\n")
    assert asked["text"] == "  # {not} 'code' $x %y \\n 影\n\tsecond line  "
    assert asked["model"] == "sentiment"
    assert done.value is FOUND
    assert "explained before for tiny" in done.shown
    assert "tiny: why p (75.0 %)" in done.shown


def test_flags_become_fields(run_cell, asked):
    run_cell(
        '%%explain sentiment --label n --method occlusion --method integrated-gradients --pair "a b" --steps 64 --unit word '
        "--target -1 --baseline pad --again\ngood"
    )
    assert asked["label"] == "n"
    assert asked["methods"] == ("occlusion", "integrated-gradients")
    assert asked["text_pair"] == "a b"
    assert (asked["steps"], asked["target"], asked["unit"], asked["baseline"]) == (64, -1, "word", "pad")
    assert asked["again"] is True


def test_a_target_may_be_a_word_and_labels_may_be_many(run_cell, asked):
    run_cell("%%explain m --task zero-shot-classification --labels tea --labels milk --target film\ngood")
    assert asked["target"] == "film"
    assert asked["labels"] == ("tea", "milk")


@pytest.mark.parametrize(
    "cell", ["%%explain", "%explain", "%%explain sentiment", "%%explain sentiment\n\n", "%explain sentiment"]
)
def test_without_a_text_an_example_is_shown(run_cell, cell):
    done = run_cell(cell)
    assert done.error is None
    assert "%%explain sentiment" in done.shown


def test_help_shows_the_flags_in_its_own_words(run_cell):
    shown = run_cell("%%explain --help").shown
    assert "the label to explain; by default the one that the model answers" in shown
    assert "column of the labels" not in shown


@pytest.mark.parametrize(
    ("cell", "kind", "told"),
    [
        ("%%explain no/such/model --methd occlusion\nx", ArgumentError, "There is no flag --methd. Did you mean --method"),
        ("%%explain a --method occlude\nx", ArgumentError, "Did you mean occlusion?"),
        ("%%explain /no/model\nx", ModelError, "There is no folder '/no/model'."),
        ("%%explain a b\nx", ArgumentError, "Too much on the line: b"),
    ],
)
def test_what_is_wrong_is_said(run_cell, cell, kind, told):
    done = run_cell(cell)
    assert type(done.error) is kind
    assert told in str(done.error)


def test_what_is_no_number_and_a_task_without_pieces_are_refused(run_cell, tiny_bert):
    done = run_cell(f"%%explain {tiny_bert} --steps many\ngood")
    assert type(done.error) is SpecError
    assert "steps = many is not possible" in str(done.error)
    done = run_cell(f"%%explain {tiny_bert} --task fill-mask\ngood")
    assert "fill-mask cannot be explained" in str(done.error)
