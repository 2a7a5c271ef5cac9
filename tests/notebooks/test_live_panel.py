"""The panel while its job runs: points arrive, buttons are obeyed, whatever the kernel is busy with."""

from __future__ import annotations

import time

import pytest

from fm_notebook.contracts.events import CheckpointSaved, Started, StepEnded, Stopping
from fm_notebook.jobs import journal
from fm_notebook.session.run import Run

pytestmark = pytest.mark.slow
BUSY = "import time\nfor _ in range(20): time.sleep(0.1)"


def test_the_cell_returns_while_training_goes_on_and_other_cells_run(kernel, finetune):
    cell = kernel.run(finetune("first"))
    assert cell.error == []
    assert kernel.value("first.state") == "'running'"
    busy = kernel.run(BUSY, wait=False)
    before = kernel.state(cell.panel)["step"]
    kernel.until(lambda: kernel.state(cell.panel)["step"] > before + 5, what="points beside a busy cell")
    assert not busy.done
    assert "img" not in busy.html


def test_stop_leaves_a_checkpoint_at_once_and_resume_goes_on_to_the_end(kernel, finetune, runs_folder):
    cell = kernel.run(finetune("first", steps=600, batch_size=16))
    kernel.until(lambda: kernel.state(cell.panel)["step"] > 0, what="the first step")
    clicked = time.time()
    kernel.click(cell.panel, "stop")
    kernel.until(lambda: kernel.state(cell.panel)["state"] == "stopped", what="stopped")
    events = journal.replay(runs_folder / "first.1" / "events.jsonl")
    stopping = next(event for event in events if isinstance(event, Stopping))
    longest = max(event.seconds for event in events if isinstance(event, StepEnded))
    saved = [event.step for event in events if isinstance(event, CheckpointSaved)]
    assert 0 < stopping.step < 600
    assert stopping.time - clicked < longest + 1
    assert saved[-1] == stopping.step

    kernel.until(lambda: "stopped and saved" in cell.html, seconds=5, what="the card")
    resumed = kernel.run("%runs resume first")
    kernel.until(lambda: kernel.state(resumed.panel)["state"] == "finished", seconds=120, what="finished")
    started = [event for event in journal.replay(runs_folder / "first.1" / "events.jsonl") if isinstance(event, Started)]
    assert started[-1].step == stopping.step
    assert kernel.value("first.history.step.tolist() == list(range(1, 601))") == "True"


def test_resume_may_be_clicked_while_the_card_of_the_stop_is_still_drawn(current, finetune):
    subshell = current.subshell()
    cell = current.run(finetune("first"))
    current.until(lambda: current.state(cell.panel)["step"] > 0)
    current.click(cell.panel, "stop", subshell=subshell)
    current.until(lambda: current.state(cell.panel)["state"] == "stopped")
    stopped = current.state(cell.panel)["step"]
    current.click(cell.panel, "restart", subshell=subshell)
    current.until(lambda: current.state(cell.panel)["step"] > stopped, what="steps after the resume")


def test_pause_beside_a_busy_cell_and_resume(kernel, finetune):
    subshell = kernel.subshell()
    cell = kernel.run(finetune("first"))
    busy = kernel.run(BUSY, wait=False)
    kernel.click(cell.panel, "pause", subshell=subshell)
    kernel.until(lambda: kernel.state(cell.panel)["state"] == "paused", what="paused")
    if subshell is not None:  # without subshells (6.29) a click has to wait for the cell
        assert not busy.done
    kernel.until(lambda: busy.done)
    held = kernel.state(cell.panel)["step"]
    assert kernel.state(cell.panel)["commands"] == ["resume", "stop", "cancel"]
    kernel.listen_for(0.6)
    assert Run.open("first").progress.step == held

    kernel.click(cell.panel, "resume", subshell=subshell)
    kernel.until(lambda: kernel.state(cell.panel)["step"] > held, what="steps after the pause")


def test_a_page_that_is_loaded_anew_is_whole_and_says_that_its_card_is_not_final(current, finetune):
    cell = current.run(finetune("first"))
    assert current.panels[cell.panel]["late"] is False
    current.until(lambda: current.state(cell.panel)["step"] > 20)
    current.reload(cell.panel)  # the page that showed the cell has its state from comm_open
    current.reload(cell.panel)
    assert current.state(cell.panel)["step"] > 20
    assert current.panels[cell.panel]["late"] is True
    assert len(current.panels[cell.panel]["curves"]["train"]) > 20 * 8  # two float32 a step
    current.click(cell.panel, "cancel")
    current.until(lambda: current.state(cell.panel)["over"])
    assert "cancelled" in current.run("%runs show first").html


def test_a_click_that_comes_too_late_is_answered_and_harms_nothing(current, finetune):
    cell = current.run(finetune("first", steps=5))
    current.until(lambda: current.state(cell.panel)["state"] == "finished")
    current.click(cell.panel, "stop")
    current.until(lambda: current.state(cell.panel)["error"], what="a complaint")
    assert "first.1 is finished" in current.state(cell.panel)["error"][0]
    assert current.value("first.state") == "'finished'"
