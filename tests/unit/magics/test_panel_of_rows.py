"""``%panel inspect RUN DATA``: what is asked for, what it is called, and what is said where nobody watches."""

from types import SimpleNamespace

import pytest

from fm_notebook import verbs
from fm_notebook.panels import inspect
from fm_notebook.panels.inspect.inspector import Inspector
from fm_notebook.session.inspection.inspection import Inspection


@pytest.fixture
def asked(home, write_evaluation, monkeypatch):
    """What inspections were asked for; each finds an evaluation of two rows that is there."""
    found: list[dict] = []
    folder = write_evaluation(home / "run" / "1", ["a", "b"], [0, 1], [[0.9, 0.1], [0.2, 0.8]], ["no", "yes"])
    job = SimpleNamespace(name="sentiment", wait=lambda until: True, progress=SimpleNamespace(evaluation=None))

    def prepare(fields, *, again, on):
        found.append({name: each.value for name, each in fields.items()} | {"again": again, "on": on})
        return SimpleNamespace(how="reused", job=job)

    monkeypatch.setattr(verbs, "prepare_inspection", prepare)
    monkeypatch.setattr(verbs, "finish_inspection", lambda launched: Inspection.of(folder))
    return found


@pytest.fixture
def shown(monkeypatch):
    """The names under which panels were shown."""
    found = []
    monkeypatch.setattr(inspect, "show", lambda inspector, *, variable, watched: found.append(variable))
    return found


def test_the_panel_is_called_panel_where_it_is_not_assigned(shell, run_cell, asked, shown):
    shell.user_ns["rows"] = [{"text": "a", "label": "b"}]
    done = run_cell("%panel inspect sentiment rows --by gender --by region --again")
    assert done.error is None
    assert done.value is None  # else it would be shown twice
    assert shown == ["panel"]
    assert isinstance(shell.user_ns["panel"], Inspector)
    by = ("gender", "region")
    assert asked == [{"model": "sentiment", "data": shell.user_ns["rows"], "by": by, "again": True, "on": "process"}]
    assert "sentiment" in done.shown  # that an equal evaluation is used again
    run_cell("%panel inspect sentiment rows")
    assert shown == ["panel", "panel"]


def test_a_line_that_is_assigned_gives_its_value(shell, run_cell, asked, shown):
    shell.user_ns["rows"] = []
    run_cell("mine = %panel inspect sentiment rows")
    assert shown == ["mine"]
    assert isinstance(shell.user_ns["mine"], Inspector)
    assert "panel" not in shell.user_ns


def test_a_variable_of_the_users_own_is_never_overwritten(shell, run_cell, asked, shown):
    shell.user_ns |= {"rows": [], "panel": 3}
    run_cell("%panel inspect sentiment rows")
    assert shell.user_ns["panel"] == 3
    assert shown == [""]


def test_a_name_that_is_no_data_is_said_before_anything_is_done(run_cell, asked, shown):
    done = run_cell("%panel inspect sentiment tset_rows")
    assert "tset_rows" in str(done.error)
    assert asked == shown == []


def test_with_too_few_words_an_example_is_shown(run_cell, asked, shown):
    assert "%panel inspect" in run_cell("%panel inspect sentiment").shown
    assert asked == shown == []


def test_where_nobody_watches_numbers_and_matrix_are_shown_and_no_row(shell, run_cell, asked, monkeypatch):
    bundles = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **_: bundles.append(bundle))
    shell.user_ns["rows"] = []
    run_cell("%panel inspect sentiment rows")
    (bundle,) = bundles
    assert "accuracy" in bundle["text/html"]
    assert "data:image/png" in bundle["text/html"]
    assert inspect.opened == []
