"""The magics as a notebook meets them, without a worker."""

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.errors import ArgumentError, FMError, RunError, SpecError
from fm_notebook.jobs.journal import JournalWriter
from fm_notebook.magics import load, unload
from fm_notebook.session import store
from fm_notebook.session.run import Run

NAMES = ("finetune", "evaluate", "compare", "explain", "runs", "panel")
OURS = {*NAMES, *(f"fm_{name}" for name in NAMES)}


def registered(shell) -> set[str]:
    magics = shell.magics_manager.magics
    return {name for name in OURS if name in magics["line"] or name in magics["cell"]}


@pytest.fixture
def make_run(home):
    """A run folder with the given journal."""
    from fm_notebook.contracts.results import DataFacts
    from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
    from fm_notebook.jobs.folder import Identity

    def make(name: str, *events):
        folder = store.create_run(name)
        facts = DataFacts(labels=["n", "p"], train_rows=8, eval_rows=2, train_label_counts=[4, 4], eval_label_counts=[1, 1])
        spec = FinetuneSpec(model=ModelRef(source="m", kind="folder", location="/m"), train=DataRef(source="rows", kind="value"))
        folder.write(spec=spec, identity=Identity(name=name, created=1.0), facts=facts)
        writer = JournalWriter(folder.events)
        for event in events:
            writer.append(event)
        writer.close()
        return folder

    return make


def test_names_and_prefixed_aliases_are_registered_and_taken_away(bare_shell):
    load(bare_shell)
    assert registered(bare_shell) == OURS
    unload(bare_shell)
    assert registered(bare_shell) == set()
    load(bare_shell)
    assert registered(bare_shell) == OURS


def test_loading_twice_and_unloading_twice_are_harmless(bare_shell):
    load(bare_shell)
    hooks = len(bare_shell.input_transformers_cleanup), len(bare_shell.Completer.custom_matchers)
    load(bare_shell)
    assert (len(bare_shell.input_transformers_cleanup), len(bare_shell.Completer.custom_matchers)) == hooks
    unload(bare_shell)
    unload(bare_shell)
    assert len(bare_shell.input_transformers_cleanup) == hooks[0] - 1
    assert len(bare_shell.Completer.custom_matchers) == hooks[1] - 1


def test_a_name_that_is_taken_stays_and_the_alias_is_named(bare_shell, capsys):
    bare_shell.register_magic_function(lambda line: "mine", magic_kind="line", magic_name="runs")
    try:
        load(bare_shell)
        assert "Taken already, so not replaced: runs. Use %fm_runs instead." in capsys.readouterr().out
        assert bare_shell.run_line_magic("runs", "") == "mine"
        assert "fm_runs" in bare_shell.magics_manager.magics["line"]
        unload(bare_shell)
        assert bare_shell.run_line_magic("runs", "") == "mine"
    finally:
        bare_shell.magics_manager.magics["line"].pop("runs", None)


def test_loading_names_the_jobs_that_are_alive(bare_shell, make_run, capsys, monkeypatch):
    from fm_notebook.jobs.locks import Lock

    make_run("done", ev.Ended(state="finished"))
    make_run("gone", ev.Started(total_steps=3))
    lock = Lock(make_run("alive", ev.Started(total_steps=3)).lock)
    assert lock.acquire()
    load(bare_shell)
    assert capsys.readouterr().out == "Still alive: alive.1 (running). Watch: %runs attach alive.1 · end: %runs stop alive.1\n"
    lock.release()


def test_help_is_shown_on_an_empty_body(run_cell):
    for cell in ("%%finetune --help", "%%finetune name --help\n", "%finetune -h", "\n%%fm_finetune --help\n\n"):
        done = run_cell(cell)
        assert done.error is None
        assert "%%finetune NAME [--flags]" in done.shown
        assert "learning_rate = 5e-05" in done.shown
        assert "--again" in done.shown
    assert "%evaluate RUN DATA" in run_cell("%evaluate --help").shown
    assert "%compare RUN RUN…" in run_cell("%compare --help").shown
    assert "%runs [list|show" in run_cell("%runs --help").shown


def test_a_magic_called_with_nothing_shows_an_example(run_cell):
    for cell in ("%%finetune", "%finetune", "%%finetune name\n\n", "%evaluate", "%%evaluate", "%compare", "%%compare"):
        done = run_cell(cell)
        assert done.error is None
        assert cell.lstrip("%").split()[0].split("\n")[0] in done.shown


@pytest.mark.parametrize(
    ("cell", "kind", "told"),
    [
        ("%%finetune a --wiat\nepochs = 3", ArgumentError, "There is no flag --wiat. Did you mean --wait, --quiet?"),
        ("%%finetune a b\nepochs = 3", ArgumentError, "Too much on the line: b"),
        ("%%finetune my-run\nepochs = 3", ArgumentError, "'my-run' cannot be the name of a run."),
        ("%%finetune 2\nepochs = 3", ArgumentError, "'2' cannot be the name of a run."),
        ("\n\n%%finetune a\n\nprint(1)", SpecError, "Line 5: `print(1)` does not set a field."),
        (
            "%%finetune a\nepoch = 3\nmodel = '/no'\ntrain = 'no.csv'",
            SpecError,
            "Line 2: There is no field 'epoch'. Did you mean epochs?",
        ),
        ("%evaluate nothing_here", None, ""),
        ("%evaluate /no/model rows", ArgumentError, "There is neither a variable nor a file called 'rows'."),
        ("%evaluate a 'x.csv' --text", ArgumentError, "The flag --text needs a value."),
        ("%%evaluate a\ndata = 'x.csv'\nmodel = 'b'", SpecError, "Line 3: 'model' is given on the magic's line and in the body."),
        ("%compare a", ArgumentError, "A comparison needs two runs or models; there is 'a' alone."),
        ("%compare a b --dta x", ArgumentError, "There is no flag --dta. Did you mean --data?"),
        ("%compare a b --data rows", ArgumentError, "There is neither a variable nor a file called 'rows'."),
        ("%compare nobody b", ArgumentError, "'nobody' is no run, so that it has no held-out rows to compare on."),
        ("%%compare a b\nruns = ['c']", SpecError, "Line 2: 'runs' is given on the magic's line and in the body."),
        ("%%compare\nruns = ['a', 'a']\ndata = 'x.csv'", ArgumentError, "'a' stands there twice."),
        ("%runs shwo a", ArgumentError, "%runs cannot 'shwo'. Did you mean show?"),
        ("%runs stop", ArgumentError, "%runs stop needs the name of a run."),
        ("%runs stop nobody", RunError, "There is no run 'nobody'."),
        ("%runs list a b", ArgumentError, "Too much on the line: a b"),
        ("%runs export a", ArgumentError, "%runs export needs the name of a run."),
    ],
)
def test_what_is_wrong_is_one_screen_in_both_languages(run_cell, monkeypatch, cell, kind, told):
    done = run_cell(cell)
    if kind is None:
        assert done.error is None
        return
    assert type(done.error) is kind
    assert str(done.error).splitlines()[0] == told
    assert "Traceback" not in done.shown
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    chinese = str(run_cell(cell).error)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese.splitlines()[0])


def test_a_variable_that_is_no_run_is_never_overwritten(run_cell, shell, monkeypatch):
    shell.user_ns["sentiment"] = [1, 2]
    done = run_cell("%%finetune sentiment\nepochs = boom")
    assert isinstance(done.error, RunError)
    assert str(done.error).splitlines()[0] == "'sentiment' is a variable of yours (a list); it is not overwritten."
    assert shell.user_ns["sentiment"] == [1, 2]
    assert isinstance(run_cell("%runs show sentiment").error, RunError)
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    assert "not overwritten" not in str(done.error)


def test_an_exception_in_the_users_expression_keeps_its_type_and_note(run_cell):
    done = run_cell("%%finetune a\n\nepochs = 1 / 0\n")
    assert type(done.error) is ZeroDivisionError
    assert done.error.__notes__ == ["In line 3 of the cell, the value of 'epochs'."]
    assert "Traceback" in done.shown


def test_a_wrong_cell_leaves_no_folder_and_binds_no_name(run_cell, shell, home):
    assert isinstance(run_cell("%%finetune a\nepoch = 1").error, FMError)
    assert "a" not in shell.user_ns
    assert not (home / "runs").exists()


def test_runs_are_listed_shown_and_deleted_when_confirmed(run_cell, make_run):
    assert "No runs yet" in repr(run_cell("%runs").value)
    folder = make_run("a", ev.Ended(state="finished"))
    assert "a.1" in repr(run_cell("%runs").value)
    assert run_cell("%runs delete a").shown.startswith("This removes 'a.1', its model and its data")
    assert folder.path.exists()
    assert run_cell("%runs delete a --yes").shown.startswith("'a.1' and its data are removed.")
    assert not folder.path.exists()


def test_a_living_run_is_not_deleted(run_cell, make_run):
    from fm_notebook.jobs.locks import Lock

    folder = make_run("a", ev.Started(total_steps=3))
    lock = Lock(folder.lock)
    assert lock.acquire()
    done = run_cell("%runs delete a --yes")
    lock.release()
    assert str(done.error).splitlines()[0] == "'a.1' is still alive and is not deleted."
    assert folder.path.exists()


def test_a_finished_run_cannot_be_resumed(run_cell, make_run):
    make_run("a", ev.Ended(state="finished"))
    done = run_cell("%runs resume a")
    assert str(done.error).splitlines()[0] == "'a.1' cannot be resumed: it is finished."


def test_free_without_workers_says_so(run_cell, home):
    from fm_notebook.jobs.queue import Queue

    assert Queue("cpu").waiting() == []
    assert run_cell("%runs free").shown == "cpu: no worker holds a model.\n"


def test_attach_binds_the_name_but_overwrites_no_other_variable(run_cell, shell, make_run):
    make_run("a", ev.Ended(state="finished"))
    assert run_cell("%runs attach a").error is None
    assert isinstance(shell.user_ns["a"], Run)
    shell.user_ns["a"] = "mine"
    assert run_cell("%runs attach a.1").error is None
    assert shell.user_ns["a"] == "mine"


def completions(shell, text: str) -> set[str]:
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        return {each.text for each in shell.Completer.completions(text, len(text))}


@pytest.mark.filterwarnings("ignore::Warning")
def test_the_completer_of_the_shell_knows_fields_and_flags(shell):
    assert "learning_rate = " in completions(shell, "%%finetune a\nlear")
    assert any(text.endswith("wait") for text in completions(shell, "%%fm_finetune a --wa"))
    assert not any("learning_rate" in text for text in completions(shell, "%%timeit\nlear"))
