"""A run is set up by form in JupyterLab, watched and stopped there, and its cell copied."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Locator, expect

from fm_notebook.session.run import Run

pytestmark = pytest.mark.slow
FRAME = "import pandas as pd\nfilms = pd.read_csv({path!r}).rename(columns={{'text': 'review', 'label': 'mood'}})\nfilms.shape"


@pytest.fixture
def films(notebook, reviews) -> str:
    """A frame in the notebook whose columns have names of their own."""
    notebook.run(FRAME.format(path=str(reviews)))
    return "films"


def opened(notebook, line: str = "%panel finetune sentiment") -> Locator:
    panel = notebook.run(line).locator(".fm-form")
    expect(panel).to_be_visible(timeout=20_000)
    return panel


def control(panel: Locator, path: str) -> Locator:
    """The control of a field that is seen: its select, else its input."""
    return panel.locator(f"[data-field='{path}'] .fm-input:visible").first


def fill(panel: Locator, path: str, typed: str) -> None:
    control(panel, path).fill(typed)
    control(panel, path).press("Enter")


def choose_model(panel: Locator, model: str) -> None:
    control(panel, "model").select_option(label="something else…")
    other = panel.get_by_label("model, in Python")
    other.fill(model)
    other.press("Enter")


def cell_of(panel: Locator) -> str:
    return panel.locator(".fm-cell").input_value()


def says(panel: Locator, line: str) -> None:
    """Waits until the cell's text has `line`."""
    expect(panel.locator(".fm-cell")).to_have_value(re.compile(re.escape(line)), timeout=10_000)


def tall(panel: Locator) -> None:
    """A window in which all of the panel is seen, for screenshots."""
    panel.page.set_viewport_size({"width": 1200, "height": 2600})


def set_up(panel: Locator, model: str) -> None:
    control(panel, "train").select_option(value="films")
    expect(control(panel, "text").locator("option", has_text="review")).to_be_attached(timeout=10_000)
    control(panel, "text").select_option(value='"review"')
    control(panel, "label").select_option(value='"mood"')
    choose_model(panel, model)
    panel.locator(".fm-section-training summary").click()
    for path, value in {"max_steps": "100_000", "eval_every": "40", "device": '"cpu"'}.items():
        if path == "device":
            control(panel, path).select_option(value=value)
        else:
            fill(panel, path, value)


def test_a_run_is_set_up_refused_started_watched_stopped_and_its_cell_run_again(notebook, films, tiny_bert, screenshot):
    panel = opened(notebook)
    expect(panel.get_by_role("button", name="Start")).to_be_disabled()
    assert "320 × 2 (review, mood)" in panel.locator("[data-field='train'] option[value='films']").inner_text()
    set_up(panel, str(tiny_bert))
    expect(panel.get_by_role("button", name="Start")).to_be_enabled(timeout=10_000)

    tall(panel)
    panel.get_by_role("button", name="Show rows of train").click()
    expect(panel.locator(".fm-rows")).to_contain_text("good")
    expect(panel.locator(".fm-balance")).to_contain_text("50.0 %")
    screenshot(panel, "form-rows-light")

    fill(panel, "learning_rate", "-1")
    refused = "learning_rate = -1 is not possible."
    expect(panel.locator("[data-field='learning_rate'] .fm-wrong")).to_contain_text(refused)
    expect(panel.locator("[data-field='learning_rate'] .fm-wrong")).to_contain_text("a number above 0")
    expect(panel.get_by_role("button", name="Start")).to_be_disabled()
    screenshot(panel, "form-refused-light")
    fill(panel, "learning_rate", "1e-3")
    says(panel, "learning_rate = 1e-3")
    text = panel.locator(".fm-cell")
    text.fill(cell_of(panel).replace("1e-3", "0.002  # tried before: 1e-3"))
    text.blur()
    expect(control(panel, "learning_rate")).to_have_value("0.002")
    fill(panel, "batch_size", "16")
    says(panel, "batch_size = 16")
    assert "learning_rate = 0.002  # tried before: 1e-3\n" in cell_of(panel)

    panel.get_by_role("button", name="Start").click()
    live = panel.locator(".fm-progress")
    expect(live).to_have_attribute("data-state", "running", timeout=120_000)
    notebook.until(lambda: int(live.get_attribute("data-step")) > 45, what="steps in the form's panel")
    assert not panel.locator(".fm-sections").is_visible()  # the run stands where one looks
    screenshot(panel, "form-running-light")
    live.get_by_role("button", name="Stop and save").click()
    expect(live).to_have_attribute("data-state", "stopped", timeout=20_000)
    expect(notebook.page.locator(".jp-RenderedHTMLCommon", has_text="stopped and saved")).to_be_visible()
    assert "'stopped'" in notebook.run("sentiment.state").inner_text()

    notebook.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel.get_by_role("button", name="Copy cell").click()
    copied = notebook.page.evaluate("navigator.clipboard.readText()")
    assert copied == cell_of(panel)
    notebook.run(copied.replace("%%finetune sentiment", "%%finetune again"))
    Run.open("again").stop()
    first, second = (Run.open(name).spec for name in ("sentiment", "again"))
    assert first == second

    saved = notebook.save()
    shown = json.dumps([cell["outputs"] for cell in saved["cells"]], ensure_ascii=False)
    assert "tried before" in shown
    assert "needs a running kernel" in shown
    assert "very quite" not in shown  # words of the rows
    assert "widgets" not in saved["metadata"]


def test_the_keyboard_alone_sets_up_and_starts_a_run(notebook, films, tiny_bert):
    panel = opened(notebook, "%panel finetune keyed")
    keys, cells = notebook.page.keyboard, notebook.page.locator(".jp-Notebook .jp-Cell")
    before = cells.count()
    tab_to(panel, panel.locator("[data-field='train'] select"))
    keys.press("f")  # a select goes to what begins so: films; in JupyterLab's command mode this opens find and replace
    says(panel, "train = films")
    tab_to(panel, panel.locator("[data-field='text'] select"))
    keys.press("r")
    says(panel, 'text = "review"')
    tab_to(panel, panel.locator("[data-field='label'] select"))
    keys.press("m")
    says(panel, 'label = "mood"')
    tab_to(panel, panel.locator(".fm-cell"))
    keys.press("Control+End")
    keys.insert_text(f"\nmodel = {str(tiny_bert)!r}\nmax_steps = 30\ndevice = 'cpu'\n")
    says(panel, "max_steps = 30")
    tab_to(panel, panel.get_by_role("button", name="Start"))
    expect(panel).to_have_attribute("data-ready", "true", timeout=10_000)
    keys.press("Enter")
    expect(panel.locator(".fm-progress")).to_have_attribute("data-state", "finished", timeout=120_000)
    assert cells.count() == before


def tab_to(panel: Locator, wanted: Locator) -> None:
    """Presses Tab until the focus is on `wanted`, which shows it."""
    page, handle = panel.page, wanted.element_handle()
    if not panel.evaluate("panel => panel.contains(document.activeElement)"):
        panel.locator("input").first.focus()
    for _ in range(90):
        if page.evaluate("wanted => document.activeElement === wanted", handle):
            break
        page.keyboard.press("Tab")
    assert page.evaluate("wanted => document.activeElement === wanted", handle)
    assert page.evaluate("wanted => getComputedStyle(wanted).outlineStyle", handle) != "none"


@pytest.mark.parametrize("theme", ["light", "dark", "contrast"])
def test_the_form_is_readable_in_every_theme_and_width(notebook, films, themed, narrowed, contrast, axe, screenshot, theme):
    panel = opened(notebook)
    panel.page.set_viewport_size({"width": 1200, "height": 2600})
    themed(panel.page, theme)
    control(panel, "train").select_option(value="films")
    says(panel, "train = films")
    control(panel, "label").select_option(value='"mood"')
    fill(panel, "learning_rate", "-1")
    expect(panel.locator("[data-field='learning_rate'] .fm-wrong")).to_be_visible(timeout=10_000)
    panel.get_by_label("Use lora").check()
    panel.get_by_role("button", name="Show rows of train").click()
    expect(panel.locator(".fm-balance")).to_be_visible(timeout=10_000)
    for width in (0, 320):
        narrowed(panel, width)
        name = f"form-{'narrow' if width else 'wide'}-{theme}"
        screenshot(panel, name)
        ratio, text = contrast(panel)
        assert ratio >= 4.5, f"{name}: {text}"
        assert panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth"), name
    assert axe(panel) == []


def test_a_half_written_cell_locks_the_fields_and_is_kept_and_apply_puts_it_into_the_notebook(notebook, films):
    panel = opened(notebook)
    text = panel.locator(".fm-cell")
    text.fill("%%finetune sentiment\n# mine\ntrain = films[\n")
    expect(panel.locator(".fm-checks")).to_contain_text("Nothing is lost", timeout=10_000)
    expect(control(panel, "train")).to_be_disabled()
    assert cell_of(panel) == "%%finetune sentiment\n# mine\ntrain = films[\n"
    text.fill("%%finetune sentiment\n# mine\ntrain = films[films.mood == 'p']\n")
    expect(control(panel, "train")).to_be_enabled(timeout=10_000)
    text.blur()
    busy = notebook.run("import time\nfor _ in range(80): time.sleep(0.1)", wait=False)
    fill(panel, "epochs", "2")
    says(panel, "epochs = 2")
    expect(busy.locator(".jp-InputPrompt")).to_have_text("[*]:")
    applied = notebook.run("%panel finetune --apply")
    expect(applied.locator(".cm-content")).to_contain_text("%%finetune sentiment", timeout=20_000)
    expect(applied.locator(".cm-content")).to_contain_text("epochs = 2")
    notebook.save()
    notebook.reload()
    again = notebook.page.locator(".fm-form")
    again.wait_for(timeout=30_000)
    says(again, "train = films[films.mood == 'p']\nepochs = 2")
