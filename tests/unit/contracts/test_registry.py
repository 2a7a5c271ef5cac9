"""Plug-ins are found without being imported, and loaded on first use."""

import importlib.metadata
import subprocess
import sys

import pytest

from fm_notebook.contracts.registry import Registry
from fm_notebook.errors import FMError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A package ``toys`` with the plug-ins ``round-ball`` and ``loud-drum``; importing any of them is recorded."""
    package = tmp_path / "toys"
    package.mkdir()
    (package / "__init__.py").write_text("imported = []")
    for name in ("round_ball", "loud_drum", "_private"):
        (package / f"{name}.py").write_text(f"import toys\ntoys.imported.append('{name}')\ntask = 'the {name}'")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "toys"]:
        del sys.modules[name]


@pytest.fixture
def registry(folder):
    return Registry("task", "toys")


def test_modules_are_listed_by_name_and_not_imported(registry):
    assert list(registry) == ["loud-drum", "round-ball"]
    assert len(registry) == 2
    assert "round-ball" in registry
    assert "ball" not in registry
    assert not [name for name in sys.modules if name.startswith("toys.")]


def test_a_plug_in_is_imported_once_when_first_asked_for(registry):
    assert registry["round-ball"] == "the round_ball"
    assert registry["round-ball"] is registry["round-ball"]
    assert sys.modules["toys"].imported == ["round_ball"]


def test_an_unknown_name_gets_a_hint(registry, monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    with pytest.raises(FMError, match=r"Did you mean round-ball\?"):
        registry["rond-ball"]


def test_a_file_is_registered_by_hand(registry, folder):
    path = folder / "my_toy.py"
    path.write_text("task = 'mine'")
    assert registry.register(path) == "my-toy"
    assert registry["my-toy"] == "mine"
    assert "my-toy" in list(registry)


def test_a_file_registered_again_is_read_again(registry, folder):
    path = folder / "my_toy.py"
    for said in ("first", "the second"):
        path.write_text(f"task = {said!r}")
        registry.register(path)
        assert registry["my-toy"] == said


def test_a_file_takes_the_place_of_a_built_in_plug_in(registry, folder):
    path = folder / "round_ball.py"
    path.write_text("task = 'mine'")
    assert registry["round-ball"] == "the round_ball"
    registry.register(path)
    assert registry["round-ball"] == "mine"


def test_a_file_that_is_not_there_is_refused(registry, folder):
    with pytest.raises(OSError, match="absent"):
        registry.register(folder / "absent.py")


def test_installed_packages_add_plug_ins_by_entry_point(registry, monkeypatch):
    point = importlib.metadata.EntryPoint("from-elsewhere", "toys.round_ball:task", "fm_notebook.tasks")
    asked = []
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: asked.append(group) or [point])
    assert "from-elsewhere" in list(registry)
    assert registry["from-elsewhere"] == "the round_ball"
    assert set(asked) == {"fm_notebook.tasks"}


def test_the_real_tasks_are_listed_without_torch():
    code = "import sys; from fm_notebook.tasks import tasks; print(*tasks, 'torch' in sys.modules)"
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert listed[-1] == "False"
    assert "text-classification" in listed
