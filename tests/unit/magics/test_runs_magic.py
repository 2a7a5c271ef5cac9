"""``%runs diff``, ``curves`` and ``code``."""

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.errors import ArgumentError, RunError
from fm_notebook.jobs.folder import Identity
from fm_notebook.jobs.journal import JournalWriter
from fm_notebook.session import store
from fm_notebook.session.run import Run


@pytest.fixture
def make_run(home):
    """A run of two steps."""

    def make(name: str, **fields):
        folder = store.create_run(name)
        facts = DataFacts(labels=["n", "p"], train_rows=8, eval_rows=2, train_label_counts=[4, 4], eval_label_counts=[1, 1])
        model = ModelRef(source="m", kind="folder", location="/m")
        spec = FinetuneSpec(model=model, train=DataRef(source="rows", kind="value"), **fields)
        folder.write(spec=spec, identity=Identity(name=name, created=1.0), facts=facts)
        writer = JournalWriter(folder.events)
        writer.append(ev.Started(total_steps=2))
        for step in (1, 2):
            writer.append(ev.StepEnded(step=step, epoch=1.0, loss=0.5, learning_rate=1e-3, grad_norm=1.0, examples=1, tokens=1,
                                       seconds=1.0, memory_bytes=1))  # fmt: skip
        writer.append(ev.Ended(state="stopped"))
        writer.close()

    return make


def test_a_difference_is_the_value_of_the_cell(run_cell, make_run, shell):
    make_run("a")
    make_run("b", seed=4)
    found = run_cell("%runs diff a b").value
    assert "seed   0    4" in repr(found)
    shell.user_ns["mine"] = Run.open("b")
    assert run_cell("%runs diff a mine").value == found


def test_curves_are_a_table_and_name_the_frame_with_every_step(run_cell, make_run):
    make_run("a")
    shown = repr(run_cell("%runs curves a").value)
    assert "2     0.5" in shown
    assert "a.history" in shown


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("%runs diff a", "%runs diff needs the name of a run"),
        ("%runs curves", "%runs curves needs the name of a run"),
        ("%runs curves a b", "Too much on the line: b"),
        ("%runs code", "%runs code needs the name of a run"),
    ],
)
def test_too_few_and_too_many_words_are_refused(run_cell, make_run, cell, told):
    make_run("a")
    error = run_cell(cell).error
    assert isinstance(error, ArgumentError)
    assert told in str(error)


def test_a_script_is_printed_or_written_into_a_new_file(run_cell, make_run, monkeypatch, tmp_path):
    make_run("a")
    monkeypatch.setattr(Run, "code", lambda run: f"print('{run.name}: {{}}')\n")
    assert run_cell("%runs code a").shown.startswith("print('a.1: {}')\n")
    path = tmp_path / "again.py"
    assert str(path) in run_cell(f"%runs code a {path}").shown
    assert path.read_text() == "print('a.1: {}')\n"
    path.write_text("mine")
    error = run_cell(f"%runs code a {path}").error
    assert isinstance(error, RunError)
    assert "nothing is overwritten" in str(error)
    assert path.read_text() == "mine"
