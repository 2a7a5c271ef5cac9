"""A researcher's afternoon in JupyterLab."""

from __future__ import annotations

import os
import signal

import pytest
from playwright.sync_api import expect

from fm_notebook.jobs.queue import Queue
from fm_notebook.session.launchers.process import worker_pid
from fm_notebook.session.run import Run

pytestmark = pytest.mark.slow
BUSY = "import time\nfor _ in range(40): time.sleep(0.1)"
NOT_FINAL = "the card below is not final"
FINAL = "img[src^='data:image/png']"


def test_a_run_is_watched_paused_and_resumed_beside_a_busy_cell(notebook, finetune, screenshot):
    panel = started(notebook, finetune("sentiment", steps=3000, batch_size=8))
    busy = notebook.run(BUSY, wait=False)
    before = step(panel)
    notebook.until(lambda: step(panel) > before + 5, what="points beside a busy cell")
    notebook.until(lambda: float(panel.get_attribute("data-points")) > 5)
    panel.get_by_role("button", name="Pause").click()
    expect(panel).to_have_attribute("data-state", "paused", timeout=3000)
    expect(busy.locator(".jp-InputPrompt")).to_have_text("[*]:")
    screenshot(panel, "panel-paused-light")
    panel.get_by_role("button", name="Resume").click()
    expect(panel).to_have_attribute("data-state", "running")
    held = step(panel)
    notebook.until(lambda: step(panel) > held, what="steps after the pause")
    assert 0 <= int(panel.get_attribute("data-lag")) < 1000


def test_the_keyboard_alone_pauses_and_resumes(notebook, finetune):
    panel = started(notebook, finetune("sentiment"))
    keys, cells = notebook.page.keyboard, notebook.page.locator(".jp-Notebook .jp-Cell")
    before = cells.count()
    keys.press("Escape")
    focused = "() => document.activeElement.closest('.fm-progress') && document.activeElement.textContent"
    for _ in range(30):
        keys.press("Tab")
        if notebook.page.evaluate(focused) == "Pause":
            break
    assert notebook.page.evaluate(focused) == "Pause"
    keys.press("b")  # in JupyterLab's command mode this inserts a cell
    keys.press("Enter")
    expect(panel).to_have_attribute("data-state", "paused")
    assert notebook.page.evaluate(focused) == "Resume"
    keys.press("Enter")
    expect(panel).to_have_attribute("data-state", "running")
    assert cells.count() == before


def test_a_page_reloaded_while_it_trains_is_whole_and_the_card_comes_with_the_next_cell(notebook, finetune):
    panel = started(notebook, finetune("sentiment", steps=250, batch_size=16))
    notebook.until(lambda: step(panel) > 10)
    Run.open("sentiment").pause()  # however fast the machine, it is not over when the page is back
    notebook.save()
    reached = step(panel)
    notebook.reload()
    panel = notebook.page.locator(".fm-progress")
    panel.wait_for(timeout=20_000)
    assert step(panel) >= reached
    assert float(panel.get_attribute("data-points")) >= 10
    expect(panel).to_contain_text(NOT_FINAL)
    panel.get_by_role("button", name="Resume").click()
    expect(panel).to_have_attribute("data-state", "finished", timeout=30_000)
    _the_next_cell_shows_the_card(notebook, panel)


def test_a_run_that_ends_while_its_page_is_away_has_its_card_with_the_next_cell(notebook, finetune):
    panel = started(notebook, finetune("sentiment", steps=250, batch_size=16))
    Run.open("sentiment").pause()
    expect(panel).to_have_attribute("data-state", "paused")
    notebook.save()
    address = notebook.page.url
    notebook.page.goto("about:blank")
    Run.open("sentiment").resume()
    assert Run.open("sentiment").wait().state == "finished"
    notebook.page.goto(address)
    panel = notebook.page.locator(".fm-progress")
    expect(panel).to_have_attribute("data-state", "finished", timeout=30_000)
    expect(panel).to_contain_text(NOT_FINAL)
    _the_next_cell_shows_the_card(notebook, panel)
    notebook.reload()
    expect(panel).to_have_attribute("data-state", "finished", timeout=30_000)
    expect(panel).not_to_contain_text(NOT_FINAL)


def _the_next_cell_shows_the_card(notebook, panel):
    shown = notebook.run("%runs")
    expect(shown.locator(FINAL)).to_be_visible()
    expect(shown.locator(".jp-OutputArea")).to_contain_text("250 steps in")
    expect(panel).not_to_contain_text(NOT_FINAL)
    saved = notebook.save()
    assert "250 steps in" in str(saved["cells"][2]["outputs"])


def test_a_stopped_run_is_read_from_the_saved_notebook_without_a_kernel(notebook, finetune, screenshot):
    panel = started(notebook, finetune("sentiment", steps=2000, eval_every=20, batch_size=8))
    notebook.until(lambda: step(panel) > 25)
    panel.get_by_role("button", name="Stop and save").click()
    expect(panel).to_have_attribute("data-state", "stopped", timeout=10_000)
    screenshot(panel, "panel-stopped-light")
    expect(notebook.page.locator(".jp-RenderedHTMLCommon").last).to_contain_text("stopped and saved")
    saved = notebook.save()
    assert "widgets" not in saved["metadata"]
    notebook.lab.end_kernels()
    for cell in saved["cells"]:
        cell["metadata"].pop("trusted", None)  # as a colleague's file: JupyterLab sanitizes its outputs
    saved["metadata"] = {"kernelspec": {"name": "no-such-kernel", "display_name": "None", "language": "none"}}
    notebook.lab.api("PUT", "/api/contents/" + notebook.path, {"type": "notebook", "format": "json", "content": saved})

    page = notebook.page
    page.goto(f"{notebook.lab.url}/lab/tree/{notebook.path}?token={notebook.lab.token}&reset")
    page.get_by_role("dialog").get_by_role("button", name="No Kernel").click()
    card = page.locator(".jp-RenderedHTMLCommon").last
    expect(card.locator(FINAL)).to_be_visible()
    expect(card).to_contain_text("stopped and saved")
    expect(card.get_by_role("rowheader", name="accuracy", exact=True).first).to_be_visible()
    assert page.locator(".jp-RenderedHTMLCommon").last.locator("svg, script").count() == 0
    expect(page.get_by_title("not trusted", exact=False).first).to_be_attached()
    card.scroll_into_view_if_needed()
    screenshot(page, "saved-notebook")
    screenshot(card, "card-stopped-light")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_panel_is_readable_in_both_themes_alive_and_dead(theme, notebook, finetune, screenshot, themed, contrast):
    themed(notebook.page, theme)
    panel = started(notebook, finetune("sentiment", steps=2000, eval_every=20, batch_size=8))
    notebook.until(lambda: step(panel) > 150)
    screenshot(panel, f"panel-running-{theme}")
    assert contrast(panel)[0] > 4.5, contrast(panel)
    os.kill(worker_pid(Queue("cpu")), signal.SIGKILL)
    expect(panel).to_have_attribute("data-state", "died", timeout=30_000)
    expect(panel).to_contain_text("%runs resume sentiment")
    screenshot(panel, f"panel-died-{theme}")
    assert contrast(panel)[0] > 4.5, contrast(panel)
    panel.get_by_role("button", name="Resume").click()
    expect(panel).to_have_attribute("data-state", "running", timeout=90_000)
    themed(notebook.page, "light")


def test_a_restarted_kernel_is_noticed_and_the_run_attached(notebook, finetune, screenshot):
    panel = started(notebook, finetune("sentiment"))
    notebook.lab.api("POST", f"/api/kernels/{notebook.kernel()}/restart")
    expect(panel).to_have_attribute("data-state", "silent", timeout=15_000)
    expect(panel).to_contain_text("%runs attach sentiment")
    screenshot(panel, "panel-silent-light")
    assert "Still alive: sentiment.1" in notebook.run("%load_ext fm_notebook").inner_text()
    attached = notebook.run("%runs attach sentiment").locator(".fm-progress")
    before = step(attached)
    notebook.until(lambda: step(attached) > before, what="live points")


def test_hostile_words_are_shown_as_words(notebook, finetune, tmp_path):
    bad = "<img src=x onerror=window.hacked=1>"
    rows = "".join(f'"{bad} good film",{"pq"[i % 2]}{bad}\n' for i in range(40))
    (tmp_path / "hostile.csv").write_text(f"{bad},kind{bad}\n{rows}")
    notebook.run(finetune("sentiment", steps=20, train="hostile.csv", text=bad, label=f"kind{bad}"))
    panel = notebook.page.locator(".fm-progress")
    expect(panel).to_have_attribute("data-state", "finished", timeout=30_000)
    notebook.run(f'%%evaluate sentiment\ndata = "hostile.csv"\ntext = "{bad}"\nlabel = "kind{bad}"')
    notebook.run("%runs")
    notebook.run(f'sentiment.predict(["{bad}"])')
    wrong = notebook.run(f"%%finetune {bad.replace(' ', '')}\nmodel = '{bad}'\ntrain = '{bad}'")
    expect(wrong.locator(".jp-OutputArea")).to_contain_text("onerror")
    notebook.page.wait_for_timeout(300)
    assert notebook.page.evaluate("window.hacked") is None
    assert notebook.page.locator("img[onerror]").count() == 0
    expect(notebook.page.locator(".jp-RenderedHTMLCommon").first).to_contain_text(f"p{bad}")


def test_notebook_7_has_a_live_panel_whose_buttons_work_and_a_card_after_a_reload(
    lab, page, tmp_path, runs_folder, finetune, notebook_class, screenshot
):
    notebook = notebook_class(lab, page, tmp_path / "seven.ipynb").create(view="notebooks")
    notebook.run("%load_ext fm_notebook")
    panel = started(notebook, finetune("sentiment", steps=150, batch_size=16))
    before = step(panel)
    notebook.until(lambda: step(panel) > before, what="points")
    panel.get_by_role("button", name="Pause").click()
    expect(panel).to_have_attribute("data-state", "paused", timeout=30_000)
    screenshot(page, "notebook-7")
    panel.get_by_role("button", name="Resume").click()
    expect(panel).to_have_attribute("data-state", "finished", timeout=60_000)
    card = page.locator(".jp-RenderedHTMLCommon").filter(has_text="150 steps in")
    expect(card.locator(FINAL)).to_be_visible()
    notebook.save()
    notebook.reload()
    expect(card.locator(FINAL)).to_be_visible(timeout=30_000)
    expect(page.locator(".fm-progress")).to_have_attribute("data-state", "finished", timeout=30_000)
    lab.end_kernels()


def test_the_server_may_be_shut_down_and_the_run_goes_on(
    page, tmp_path_factory, tmp_path, runs_folder, finetune, lab_class, notebook_class
):
    server = lab_class(tmp_path_factory.mktemp("other"), tmp_path)
    notebook = notebook_class(server, page, tmp_path / "trial.ipynb").create()
    notebook.run("%load_ext fm_notebook")
    panel = started(notebook, finetune("sentiment", steps=150, batch_size=16))
    notebook.until(lambda: step(panel) > 0)
    run = Run.open("sentiment")
    run.pause()
    server.stop()
    assert Run.open("sentiment").state == "paused"
    run.resume()
    run.wait()
    assert run.result.n_eval == 32
    assert run.history.step.tolist() == list(range(1, 151))


def started(notebook, text):
    """The panel of a run that has begun to train."""
    panel = notebook.run(text).locator(".fm-progress")
    expect(panel).to_have_attribute("data-state", "running", timeout=90_000)
    return panel


def step(panel) -> int:
    return int(panel.get_attribute("data-step"))
