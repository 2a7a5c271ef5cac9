"""The contracts of ``[tool.importlinter]``: kept by the tree, and each seen to break when it is broken."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS = {contract["id"]: contract["name"] for contract in SETTINGS["contracts"]}

# What breaks a contract: files added to a copy of the package. Imports inside functions count too.
VIOLATIONS = [
    ("layers", {"contracts/wrong.py": "from fm_notebook.jobs import folder"}),
    ("layers", {"jobs/wrong.py": "def later():\n    import fm_notebook.session.progress"}),
    ("layers", {"helpers/__init__.py": ""}),
    ("kernel", {"magics/wrong.py": "def later():\n    from fm_notebook.engine import loop"}),
    ("kernel", {"panels/wrong.py": "import fm_notebook.engine.loop"}),
    ("kernel", {"session/wrong.py": "import fm_notebook.tasks.wrong", "tasks/wrong.py": "import fm_notebook.engine.loop"}),
    ("torch", {"data/wrong.py": "def later():\n    import torch"}),
    ("torch", {"session/wrong.py": "from transformers import AutoModel"}),
    ("torch", {"magics/wrong.py": "import accelerate.utils"}),
    ("torch", {"metrics/wrong.py": "import peft"}),
    ("plugins", {"tasks/wrong.py": "from fm_notebook.tasks import text_classification"}),
    ("matplotlib", {"panels/wrong.py": "def later():\n    from matplotlib.figure import Figure"}),
    ("jupyter", {"session/wrong.py": "from IPython import get_ipython"}),
    ("jupyter", {"verbs.py": "import ipywidgets"}),
]


def broken_contracts(root: Path) -> tuple[set[str], str]:
    """Names of the contracts that import-linter reports as broken in `root`, and what it printed."""
    linter = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run([linter, "--no-cache", "--no-logo"], cwd=root, capture_output=True, text=True, check=False)
    names = set(re.findall(r"^(.+?) BROKEN\b", found.stdout, re.MULTILINE))
    assert found.returncode == bool(names), found.stdout + found.stderr
    assert re.search(r"^Contracts: \d+ kept", found.stdout, re.MULTILINE), found.stdout + found.stderr
    return names, found.stdout


@pytest.fixture
def copy(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "fm_notebook", tmp_path / "fm_notebook", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_tree_keeps_every_contract():
    broken, report = broken_contracts(ROOT)
    assert not broken, report


def test_every_contract_has_a_violation():
    assert {contract for contract, _ in VIOLATIONS} == set(CONTRACTS)


@pytest.mark.slow
@pytest.mark.parametrize(("contract", "files"), VIOLATIONS, ids=[f"{c}-{'-'.join(f)}" for c, f in VIOLATIONS])
def test_a_violation_breaks_this_contract_and_no_other(copy, contract, files):
    for name, code in files.items():
        path = copy / "fm_notebook" / name
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write("\n" + code + "\n")
    broken, report = broken_contracts(copy)
    assert broken == {CONTRACTS[contract]}, report
