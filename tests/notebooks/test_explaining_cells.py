"""``%%explain`` in a kernel: a panel where somebody watches, its static twin in what is saved."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow
TEXT = "good film, 电影 <i>was</i> dull"


@pytest.fixture
def execute(tmp_path, runs_folder, monkeypatch):
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))

    def run(*cells: str) -> nbformat.NotebookNode:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        path = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, timeout=120, kernel_name="python3", store_widget_state=False, resources=path).execute()
        return notebook

    return run


def test_a_saved_notebook_holds_the_coloured_text_and_the_value(execute, finetune):
    again = "import fm_notebook\nprint(fm_notebook.explain('tiny', found.text, methods=('occlusion',)).methods[0].method)"
    saved = execute(
        "%load_ext fm_notebook", finetune("tiny", steps=20), f"%%explain tiny\n{TEXT}",
        "found = _\nprint(*found.to_pandas()['piece'])", again, "import sys\nprint('torch' in sys.modules)",
    )  # fmt: skip
    html = "".join(output.data.get("text/html", "") for output in saved.cells[2].outputs if "data" in output)
    assert "background-color: rgba(" in html
    assert "&lt;" in html
    assert "<i>" not in html
    assert "<details open" not in html
    assert "widgets" not in saved.metadata
    assert saved.cells[3].outputs[-1].text == "good film , 电 影 < i > was < / i > dull\n"
    assert saved.cells[4].outputs[-1].text.endswith("occlusion\n")
    assert saved.cells[5].outputs[-1].text == "False\n"
