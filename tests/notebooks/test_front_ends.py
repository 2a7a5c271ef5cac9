"""Front ends that cannot be run here, spoken for at the level of the protocol: VS Code and Google Colab.

What is emulated, and what is not, is told in docs/front-ends.md. VS Code sends every message of a widget to the main shell,
where it waits for the cell, and keeps no state of widgets. Colab does that too, has ipykernel 6.29 and ipywidgets 7.7, and
shows nothing that a thread sends: here such messages are dropped on their way out of the kernel.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fm_notebook.session.run import Run

pytestmark = pytest.mark.slow
CACHE = Path(__file__).parents[2] / ".cache"
OLD_KERNEL, OLD_WIDGETS = CACHE / "ipykernel-6.29", CACHE / "ipywidgets-7.7"
OUTPUT = "from . import _widgets\ncalls = []\nenable_custom_widget_manager = lambda: calls.append(1)\n"
COLAB = """
import threading
from jupyter_client.session import Session
from google.colab import output

_send = Session.send
dropped = []

def send(self, stream, msg_or_type, *args, **kwargs):
    kind = msg_or_type if isinstance(msg_or_type, str) else msg_or_type["header"]["msg_type"]
    shown = kind.startswith("comm_") or kind.endswith("display_data")
    if shown and threading.current_thread() is not threading.main_thread():
        dropped.append(kind)
        return None
    return _send(self, stream, msg_or_type, *args, **kwargs)

Session.send = send
"""


@pytest.fixture
def vscode(start_kernel):
    """A kernel as VS Code has it: of today, without subshells on the front end's side."""
    kernel = start_kernel(VSCODE_PID="1", VSCODE_CWD="/")
    assert kernel.run("%load_ext fm_notebook").error == []
    return kernel


@pytest.fixture
def colab(start_kernel, tmp_path):
    """A kernel as Colab has it: ipykernel 6.29, ipywidgets 7.7, `google.colab` loaded, threads that are not heard."""
    if not (OLD_KERNEL / "ipykernel").is_dir() or not (OLD_WIDGETS / "ipywidgets").is_dir():
        pytest.skip("ipykernel 6.29 and ipywidgets 7.7 are not installed in .cache: make notebooks does it")
    package = tmp_path / "site" / "google" / "colab" / "output"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text(
        "from . import _widgets\ncalls = []\nenable_custom_widget_manager = lambda: calls.append(1)\n"
    )
    (package / "_widgets.py").write_text("_installed_url = None\n")
    kernel = start_kernel(PYTHONPATH=":".join(map(str, (tmp_path / "site", OLD_KERNEL, OLD_WIDGETS))))
    assert kernel.run(COLAB).error == []
    assert kernel.value("__import__('ipywidgets').__version__") == "'7.7.1'"
    assert kernel.value("__import__('ipykernel').__version__").startswith("'6.29")
    assert kernel.run("%load_ext fm_notebook").error == []
    return kernel


def test_colab_waits_and_the_panel_lives_meanwhile(colab, finetune):
    cell = colab.run(finetune("first", steps=400, eval_every=20, batch_size=16), wait=False)
    seen = set()
    colab.until(lambda: cell.outputs and colab.panels, what="the panel")
    colab.until(lambda: seen.add(colab.state(cell.panel)["step"]) or cell.done, seconds=120, what="the end")
    assert cell.error == []
    assert len(seen - {0}) >= 4  # points came while the cell was busy
    assert colab.state(cell.panel)["state"] == "finished"
    assert "Held-out, best step" in cell.html
    assert "400 steps in" in cell.html
    assert "Interrupt this cell once to stop and save" in cell.text
    assert colab.value("dropped") == "[]"
    assert colab.value("output.calls") == "[1]"


def test_a_panel_under_ipywidgets_7_has_its_text_for_pages_without_a_kernel(colab, finetune):
    cell = colab.run(finetune("first", steps=5))
    (shown,) = [data for data in cell._data() if "application/vnd.jupyter.widget-view+json" in data]
    assert "The card below stays in the file." in shown["text/html"]
    assert "The card below stays in the file." in shown["text/plain"]


def test_one_interrupt_in_colab_stops_and_saves_and_the_panel_says_so(colab, finetune):
    cell = colab.run(finetune("first"), wait=False)
    colab.until(lambda: cell.outputs and colab.panels and colab.state(cell.panel)["step"] > 5, seconds=90, what="steps")
    colab.manager.interrupt_kernel()
    colab.until(lambda: cell.done, what="the waiting cell's end")
    assert cell.error == []
    assert colab.state(cell.panel)["state"] == "stopped"
    assert "stopped and saved" in cell.html


def test_a_run_attached_in_colab_is_followed_until_an_interrupt_which_ends_the_waiting_alone(colab, finetune):
    first = colab.run(finetune("first", steps=3000), wait=False)
    colab.until(lambda: first.outputs and colab.state(first.panel)["step"] > 5, seconds=90, what="steps")
    colab.manager.interrupt_kernel()
    colab.until(lambda: Run.open("first").state == "stopped", what="stopped")
    cell = colab.run("%runs resume first", wait=False)
    colab.until(lambda: cell.outputs and colab.state(cell.panel)["state"] == "running", what="running again")
    reached = colab.state(cell.panel)["step"]
    colab.until(lambda: colab.state(cell.panel)["step"] > reached, what="live points")
    colab.manager.interrupt_kernel()
    colab.until(lambda: cell.done, what="the end of the waiting")
    assert "No longer waiting" in cell.error[0]
    assert Run.open("first").state == "running"

    awaited = colab.run("await first", wait=False)
    reached = colab.state(cell.panel)["step"]
    colab.until(lambda: colab.state(cell.panel)["step"] > reached + 5, what="points while a cell awaits the run")
    Run.open("first").stop()
    colab.until(lambda: awaited.done, what="the end")
    assert awaited.error == []


def test_vscode_gets_live_panels_whose_buttons_are_answered_when_no_cell_runs(vscode, finetune):
    cell = vscode.run(finetune("first"))
    assert cell.error == []
    vscode.click(cell.panel, "pause")
    vscode.until(lambda: vscode.state(cell.panel)["state"] == "paused", what="paused")
    vscode.click(cell.panel, "resume")
    vscode.until(lambda: vscode.state(cell.panel)["state"] == "running", what="running")
    busy = vscode.run("import time\nfor _ in range(60): time.sleep(0.1)", wait=False)
    vscode.click(cell.panel, "stop")
    before = vscode.state(cell.panel)["step"]
    vscode.until(lambda: vscode.state(cell.panel)["step"] > before, what="steps beside the busy cell")
    assert not busy.done
    assert vscode.state(cell.panel)["state"] == "running"  # the click waits for the cell
    vscode.until(lambda: busy.done)
    vscode.until(lambda: vscode.state(cell.panel)["state"] == "stopped", what="stopped")
    vscode.until(lambda: "stopped and saved" in cell.html, what="the card")


def test_a_cell_that_waits_in_vscode_says_how_to_end_it(vscode, finetune):
    cell = vscode.run(finetune("first", "--wait"), wait=False)
    vscode.until(lambda: "Interrupt this cell once to stop and save" in cell.text, what="the hint")
    vscode.until(lambda: cell.outputs and vscode.state(cell.panel)["step"] > 5, seconds=90, what="steps")
    vscode.manager.interrupt_kernel()
    vscode.until(lambda: cell.done, what="the end")
    assert Run.open("first").state == "stopped"


def test_no_hint_where_buttons_are_answered(current, finetune):
    assert "Interrupt this cell" not in current.run(finetune("first", "--wait", steps=5)).text


def test_nothing_of_ours_needs_a_payload(vscode, finetune):
    for code in (finetune("first", steps=5), "%runs", "%runs show first"):
        cell = vscode.run(code)
        assert cell.reply.get("payload", []) == []
