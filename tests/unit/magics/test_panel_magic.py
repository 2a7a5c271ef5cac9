"""``%panel``: what it shows, and what it says instead."""

from types import SimpleNamespace

import pytest

from fm_notebook.errors import ArgumentError, RunError
from fm_notebook.panels import form


@pytest.fixture
def shown(monkeypatch):
    """The texts of the forms that were opened."""
    found = []
    monkeypatch.setattr(form, "show", lambda namespace, text, **_: found.append(text))
    yield found
    form.opened.clear()


@pytest.fixture
def open_form():
    from fm_notebook.panels.form.draft import Draft

    def open_(text, *, started=False):
        form.opened.append(SimpleNamespace(draft=Draft(text), started=started, comm=object(), close=lambda: None))

    yield open_
    form.opened.clear()


def test_a_form_begins_empty_or_with_a_name(run_cell, shown):
    run_cell("%panel finetune")
    run_cell("%panel finetune fairer")
    assert shown == ["%%finetune my_run\n", "%%finetune fairer\n"]


def test_a_form_goes_on_with_the_cell_of_the_one_before_until_that_was_started(run_cell, shown, open_form):
    open_form("%%finetune a\nepochs = 3\n")
    open_form("%%finetune b\nepochs = (\n")
    run_cell("%panel finetune")
    run_cell("%panel finetune a")
    assert shown == ["%%finetune b\nepochs = (\n", "%%finetune a\nepochs = 3\n"]
    open_form("%%finetune c\n", started=True)
    run_cell("%panel finetune")
    assert shown[-1] == "%%finetune my_run\n"


def test_a_form_of_a_run_has_that_runs_cell(run_cell, shown, make_run):
    make_run("old")
    run_cell("%panel finetune old")
    assert shown == ["%%finetune old\nmodel = '/m'\ntrain = rows\nepochs = 2.0\n"]


def test_apply_replaces_the_cell_that_ran_and_shows_the_text_to_all_others(run_cell, shell, open_form, monkeypatch):
    asked = []
    monkeypatch.setattr(shell, "set_next_input", lambda text, replace: asked.append((text, replace)))
    open_form("%%finetune a\nepochs = 3\n")
    done = run_cell("%panel finetune --apply")
    assert asked == [("%%finetune a\nepochs = 3\n", True)]
    assert "Where the front end can, this cell is replaced" in done.shown
    assert "epochs = 3" in done.shown


@pytest.mark.parametrize(
    ("cell", "kind", "told"),
    [
        ("%panel fintune", ArgumentError, "There is no panel 'fintune'. Did you mean finetune?"),
        ("%panel inspet", ArgumentError, "There is no panel 'inspet'. Did you mean inspect?"),
        ("%panel inspect run rows --apply", ArgumentError, "Too much on the line: --apply"),
        ("%panel inspect run rows more", ArgumentError, "Too much on the line: more"),
        ("%panel runs --by gender", ArgumentError, "Too much on the line: --by"),
        ("%panel finetune my-run", ArgumentError, "'my-run' cannot be the name of a run."),
        ("%panel finetune a b", ArgumentError, "Too much on the line: b"),
        ("%panel runs a", ArgumentError, "Too much on the line: a"),
        ("%panel finetune --apply", RunError, "There is no form open whose cell could be put here."),
        ("%panel finetune --aply", ArgumentError, "There is no flag --aply. Did you mean --apply, --by?"),
    ],
)
def test_what_is_wrong_is_said_and_what_there_is_is_named(run_cell, cell, kind, told):
    done = run_cell(cell)
    assert type(done.error) is kind
    assert str(done.error).splitlines()[0] == told


def test_help_and_an_example_are_shown(run_cell):
    assert "--apply" in run_cell("%panel --help").shown
    assert "%panel runs" in run_cell("%panel").shown


@pytest.fixture
def make_run(home):
    """A run folder without a journal."""
    from fm_notebook.contracts.results import DataFacts
    from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
    from fm_notebook.jobs.folder import Identity
    from fm_notebook.session import store

    def make(name: str):
        folder = store.create_run(name)
        facts = DataFacts(labels=["n", "p"], train_rows=8, eval_rows=2, train_label_counts=[4, 4], eval_label_counts=[1, 1])
        model = ModelRef(source="/m", kind="folder", location="/m")
        spec = FinetuneSpec(model=model, train=DataRef(source="rows", kind="value"), epochs=2.0)
        folder.write(spec=spec, identity=Identity(name=name, created=1.0), facts=facts)

    return make
