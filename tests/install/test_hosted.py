"""Binder's image and Colab's first cell, held against what this repository says of itself; neither is run here."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY = PROJECT["project"]["urls"]["Documentation"].partition("#")[0]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
READMES = ("README.md", "README.zh-CN.md")
EXTRAS = re.compile(r"\[([a-z,]+)\]")


def installs() -> list[list[str]]:
    """The words of each ``pip install`` of Binder's build."""
    lines = (ROOT / "binder" / "postBuild").read_text(encoding="utf-8").splitlines()
    return [
        words for words in (shlex.split(line, comments=True) for line in lines) if words[:4] == ["python", "-m", "pip", "install"]
    ]


def test_binder_builds_with_a_python_that_the_package_takes():
    version = (ROOT / "binder" / "runtime.txt").read_text(encoding="utf-8").strip().removeprefix("python-")
    least = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert tuple(map(int, version.split("."))) >= tuple(map(int, least.split(".")))


def test_binders_build_is_a_script_that_stops_at_its_first_fault():
    script = ROOT / "binder" / "postBuild"
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", script], check=True)


def test_all_that_binder_installs_is_pinned_and_the_package_comes_last():
    steps = installs()
    pins = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    for step in steps[1:]:  # the first makes pip new
        assert (ROOT / step[step.index("--constraint") + 1]).is_file()
    assert "torch" in steps[1]
    assert "torch" in pins
    package = next(word for word in steps[-1] if word.startswith("."))
    assert set(EXTRAS.findall(package)[0].split(",")) <= set(PROJECT["project"]["optional-dependencies"])


@pytest.mark.parametrize("name", READMES)
def test_badges_lead_to_notebooks_that_are_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    owner = REPOSITORY.removeprefix("https://github.com/")
    colab = re.findall(rf"colab\.research\.google\.com/github/{owner}/blob/main/([^)\s]+)", text)
    binder = re.findall(rf"mybinder\.org/v2/gh/{owner}/main\?labpath=([^)\s]+)", text)
    assert colab
    assert binder
    assert all((ROOT / unquote(path)).is_file() for path in colab + binder)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_installs_itself_on_colab_and_nowhere_else(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert f"/blob/main/notebooks/{path.name}" in "".join(cells[0]["source"])
    first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    before, _, within = first.partition('if "google.colab" in sys.modules:')
    assert before.strip() == "import sys"
    steps = within.splitlines()[1:]
    assert steps
    assert all(line.startswith("    %pip install ") for line in steps)
    assert f"git+{REPOSITORY}" in steps[-1]
    assert set(EXTRAS.findall(steps[-1])[0].split(",")) <= set(PROJECT["project"]["optional-dependencies"])
