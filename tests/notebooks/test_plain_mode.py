"""Where no panel is shown: a terminal, ``FM_NOTEBOOK_PLAIN=1``, and notebooks that run with nobody watching."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest

pytestmark = pytest.mark.slow
ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
REPORT = re.compile(r"^\[first\] ")


@pytest.fixture
def home(tmp_path, runs_folder):
    """An environment with nobody's settings; IPython's and Jupyter's own are in the test's folder."""
    ours = {name: str(tmp_path / name.lower()) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    return {**os.environ, **ours, "PYTHONWARNINGS": "default", "TERM": "dumb"}


def run(home, tmp_path, *words):
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=tmp_path, env=home, capture_output=True, text=True, timeout=120,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def script(tmp_path, *cells):
    """An IPython script of `cells`, each run as the shell runs what is typed."""
    path = tmp_path / "trial.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    return path


def test_a_terminal_tells_line_by_line_and_ends_with_the_scores(home, tmp_path, finetune):
    path = script(tmp_path, "%load_ext fm_notebook", finetune("first", steps=60, eval_every=20), "first.result.n_eval")
    done = run(home, tmp_path, "IPython", "--colors=NoColor", str(path))
    shown = ANSI.sub("", done.stdout)
    assert done.returncode == 0, shown + done.stderr
    reports = [line for line in shown.splitlines() if REPORT.match(line)]
    assert [line for line in reports if "step 20 evaluated: " in line]
    assert len([line for line in reports if " evaluated: " in line]) == 3
    assert reports[-1].startswith("[first] finished")
    assert "first: finished · 60 steps in" in shown
    assert "<" not in shown
    assert "Traceback" not in done.stderr


def test_a_failing_run_ends_a_terminal_script_with_an_error(home, tmp_path, finetune):
    path = script(tmp_path, "%load_ext fm_notebook", finetune("first", model="/no/such/model"), "print('went on')")
    done = run(home, tmp_path, "IPython", "--colors=NoColor", str(path))
    assert done.returncode != 0
    assert "went on" not in done.stdout
    assert "/no/such/model" in ANSI.sub("", done.stdout + done.stderr)


def test_nbconvert_writes_reports_and_card_and_no_panel(home, tmp_path, finetune):
    path = script(tmp_path, "%load_ext fm_notebook", finetune("first", steps=60, eval_every=20))
    done = run(home, tmp_path, "nbconvert", "--to", "notebook", "--execute", "--inplace", str(path))
    assert done.returncode == 0, done.stderr
    saved = path.read_text(encoding="utf-8")
    outputs = nbformat.reads(saved, as_version=4).cells[1].outputs
    printed = "".join(each.text for each in outputs if each.output_type == "stream")
    assert printed.count(" evaluated: ") == 3
    assert printed.splitlines()[-1].startswith("[first] finished")
    (card,) = [each.data["text/html"] for each in outputs if "data" in each]
    assert "data:image/png;base64," in card
    assert "widget" not in json.dumps(outputs)
    assert nbformat.reads(saved, as_version=4).metadata.get("widgets") is None


def test_a_notebook_whose_run_fails_half_way_fails_nbconvert(home, tmp_path, finetune, reviews):
    bad = tmp_path / "broken"
    bad.mkdir()
    (bad / "config.json").write_text('{"model_type": "bert"}')
    path = script(tmp_path, "%load_ext fm_notebook", finetune("first", model=str(bad)), "print('went on')")
    done = run(home, tmp_path, "nbconvert", "--to", "notebook", "--execute", str(path))
    assert done.returncode != 0
    assert "went on" not in done.stdout


def test_a_kernel_that_is_told_to_be_plain_writes_lines_and_waits(start_kernel, finetune):
    kernel = start_kernel(FM_NOTEBOOK_PLAIN="1")
    kernel.run("%load_ext fm_notebook")
    cell = kernel.run(finetune("first", steps=60, eval_every=20))
    assert cell.text.count(" evaluated: ") == 3
    assert cell.html == ""
    assert kernel.panels == {}
    assert "accuracy" in cell.text.splitlines()[-1] or "first: finished" in cell.text
    again = kernel.run("%runs show first")
    assert "first: finished" in again.text
    quiet = kernel.run(finetune("second", "--quiet", steps=10))
    assert quiet.text == ""


def test_a_run_that_goes_on_is_told_of_to_its_end_when_attached(start_kernel, finetune):
    kernel = start_kernel(FM_NOTEBOOK_PLAIN="1")
    kernel.run("%load_ext fm_notebook")
    waiting = kernel.run(finetune("first", steps=400, eval_every=20, batch_size=16), wait=False)
    kernel.until(lambda: "evaluated" in waiting.text, seconds=90)
    kernel.manager.interrupt_kernel()
    kernel.until(lambda: waiting.done)
    assert "stopped and saved" in waiting.text
    resumed = kernel.run("%runs resume first")
    assert "[first] finished" in resumed.text
    assert "step 400 evaluated" in resumed.text
