"""Who waits, and what an interrupt ends: the waiting, the run, or nothing."""

from __future__ import annotations

import pytest

from fm_notebook.session.run import Run

pytestmark = pytest.mark.slow


def test_one_interrupt_of_a_waiting_cell_stops_and_saves(kernel, finetune):
    cell = kernel.run(finetune("first", "--wait"), wait=False)
    _until_steps(kernel, cell)
    kernel.manager.interrupt_kernel()
    kernel.until(lambda: cell.done, what="the waiting cell's end")
    assert cell.error == []
    assert "Stopping 'first.1' and saving" in cell.text
    assert Run.open("first").state == "stopped"
    assert Run.open("first").progress.checkpoints[-1].step == Run.open("first").progress.step
    assert "stopped and saved" in cell.html


def test_a_second_interrupt_cancels_however_soon_it_comes(kernel, finetune, reviews, tmp_path):
    header, *rows = reviews.read_text().splitlines(keepends=True)
    (tmp_path / "many.csv").write_text(header + "".join(rows * 40))  # the evaluation at the stop takes some seconds
    start = finetune("first", "--wait", eval=str(tmp_path / "many.csv"), eval_every=100_000, batch_size=4)
    cell = kernel.run(start, wait=False)
    _until_steps(kernel, cell)
    kernel.manager.interrupt_kernel()
    kernel.until(lambda: "Stopping 'first.1'" in cell.text)
    kernel.manager.interrupt_kernel()
    kernel.until(lambda: cell.done, what="the waiting cell's end")
    assert cell.error == []
    assert "Cancelling 'first.1'" in cell.text
    assert Run.open("first").state == "cancelled"


def test_an_interrupt_while_the_kernel_is_idle_does_not_reach_the_worker(kernel, finetune):
    cell = kernel.run(finetune("first"))
    kernel.manager.interrupt_kernel()
    before = kernel.state(cell.panel)["step"]
    kernel.until(lambda: kernel.state(cell.panel)["step"] > before + 20, what="steps after an interrupt")
    assert kernel.value("first.state") == "'running'"


def test_an_interrupt_of_a_cell_that_needs_the_result_ends_the_waiting_alone(current, finetune):
    cell = current.run(finetune("first"))
    waiting = current.run("first.result", wait=False)
    current.until(lambda: "Waiting for 'first.1'" in waiting.text)
    current.manager.interrupt_kernel()
    current.until(lambda: waiting.done)
    assert waiting.error == [
        "No longer waiting for 'first.1'; it goes on. Watch it: %runs attach first.1 · end it: %runs stop first.1"
    ]
    before = current.state(cell.panel)["step"]
    current.until(lambda: current.state(cell.panel)["step"] > before)


def test_a_front_end_that_nobody_watches_waits_for_the_end(kernel, finetune):
    cell = kernel.run(finetune("first", steps=40), allow_stdin=False)
    assert Run.open("first").state == "finished"
    assert "data:image/png;base64," in cell.html
    assert "Held-out, best step 40" in cell.html


def _until_steps(kernel, cell):
    kernel.until(lambda: cell.outputs and kernel.state(cell.panel)["step"] > 5, what="steps")
