"""The inspection panel in JupyterLab: from a cell of the matrix to a row, to why, to an edited text, and back in the kernel."""

from __future__ import annotations

import csv

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow
WORDS = ("film", "plot", "scene", "music", "end", "cast", "the", "a", "it", "was", "we", "saw")
TRAIN = """%%finetune sentiment --wait
model = {model!r}
train = {train!r}
max_steps = 60
learning_rate = 1e-3
max_length = 32
device = "cpu"
"""


@pytest.fixture
def test_rows(tmp_path):
    """A CSV of 240 rows in two regions; the first word tells the label, but of one row in ten the label is wrong."""
    path = tmp_path / "test_rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "region"])
        for i in range(240):
            good = i % 3 > 0
            text = " ".join(
                [
                    ["bad", "dull"][i % 2] if not good else ["good", "fine"][i % 2],
                    *(WORDS[(5 * i + k * (1 + i % 4)) % 12] for k in range(4 + i % 9)),
                ]
            )
            writer.writerow([text, "pn"[good if i % 10 == 3 else not good], ["north", "south", ""][i % 3 if i % 7 else 2]])
    return path


@pytest.fixture
def panel(notebook, tiny_bert, reviews, test_rows):
    notebook.run(TRAIN.format(model=str(tiny_bert), train=str(reviews)))
    shown = notebook.run(f"%panel inspect sentiment {test_rows} --by region").locator(".fm-inspect")
    expect(shown).to_have_attribute("data-n", "240", timeout=30_000)
    return shown


def settled(panel, n=None):
    if n is not None:
        expect(panel).to_have_attribute("data-n", str(n))
    expect(panel).to_have_attribute("data-busy", "0", timeout=10_000)


def test_from_a_cell_to_a_row_to_why_to_an_edited_text_and_back_in_the_kernel(panel, notebook, screenshot):
    panel.page.set_viewport_size({"width": 1400, "height": 1900})
    cell = panel.locator(".fm-cell[data-true='p'][data-predicted='n']")
    count = int(cell.inner_text())
    cell.click()
    settled(panel, count)
    expect(cell).to_have_attribute("aria-pressed", "true")
    expect(panel.get_by_label("True label")).to_have_value("1")
    expect(panel.locator("tbody .fm-wrong").first).to_be_visible()

    panel.locator(".fm-open").nth(1).click()
    details = panel.get_by_role("region", name="Open row")
    expect(details.locator("h3")).to_be_focused()
    text = details.locator(".fm-whole").inner_text()
    details.get_by_role("button", name="Why this answer?").click()
    expect(details.locator(".fm-attr-piece").first).to_be_visible(timeout=60_000)
    expect(details.locator(".fm-attr")).to_have_attribute("data-label", "n")
    edit = details.locator("textarea.fm-attr-edit").first
    expect(edit).to_have_value(text)
    edit.fill("good " + text.partition(" ")[2])
    edit.press("Enter")
    expect(details.locator(".fm-attr")).to_have_attribute("data-edits", "1", timeout=30_000)
    screenshot(panel, "inspect-explained-light")

    panel.locator("[data-check]").nth(0).check()
    panel.locator("[data-check]").nth(2).check()
    settled(panel)
    expect(panel).to_contain_text("2 selected")
    rows = [int(each) for each in panel.locator(".fm-open").all_inner_texts()]
    said = notebook.run("print(panel.selection[['row', 'label', 'predicted']].values.tolist())").locator(".jp-OutputArea-output")
    expect(said).to_have_text(str([[rows[0], "p", "n"], [rows[2], "p", "n"]]))


def test_a_reload_finds_the_view_as_it_was_and_python_moves_it(panel, notebook, screenshot):
    panel.get_by_label("Text contains").fill("DULL")
    settled(panel)
    panel.get_by_role("button", name="margin").click()
    panel.get_by_label("Rows a page").select_option("50")
    settled(panel)
    n = panel.get_attribute("data-n")
    panel.locator(".fm-open").first.click()
    title = panel.get_by_role("region", name="Open row").locator("h3").inner_text()
    panel.get_by_label("Note, kept with the run").fill("看一看 this")
    panel.get_by_role("button", name="Save note").click()
    expect(panel.locator("tr.fm-is-open")).to_contain_text("has a note")
    assert panel.locator(".fm-rows mark").first.inner_text() == "dull"
    notebook.save()
    notebook.reload()
    panel = notebook.page.locator(".fm-inspect")
    expect(panel).to_have_attribute("data-n", n, timeout=30_000)
    expect(panel.get_by_label("Text contains")).to_have_value("DULL")
    expect(panel.locator("th[aria-sort=ascending]")).to_contain_text("margin")
    expect(panel.get_by_label("Rows a page")).to_have_value("50")
    expect(panel.get_by_role("region", name="Open row").locator("h3")).to_have_text(title)
    expect(panel.get_by_label("Note, kept with the run")).to_have_value("看一看 this")
    notebook.run("panel.look(right=True, groups={'region': 'north'});")
    expect(panel.get_by_label("Outcome")).to_have_value("right")
    expect(panel.get_by_label("region")).to_have_value("0")


def test_similar_rows_are_found_beside_a_busy_cell_and_views_are_kept(panel, notebook):
    busy = notebook.run("import time\nfor _ in range(200): time.sleep(0.1)", wait=False)
    panel.locator(".fm-open").first.click()
    panel.get_by_role("button", name="Find similar rows").click()
    expect(panel.locator(".fm-chip")).to_be_visible(timeout=60_000)
    expect(panel).to_have_attribute("data-n", "50")
    expect(busy.locator(".jp-InputPrompt")).to_have_text("[*]:")
    panel.locator(".fm-chip").click()
    settled(panel, 240)
    panel.get_by_role("button", name="confusion matrix").click()
    panel.get_by_role("button", name="this page of rows").click()
    expect(panel.get_by_role("status").nth(1)).to_contain_text("texts included")
    cards = notebook.page.locator(".jp-OutputArea-output img[alt]")
    expect(cards.first).to_be_visible()
    notebook.page.keyboard.press("Escape")


def test_the_keyboard_alone_reaches_cells_rows_and_pages(panel):
    keys = panel.page.keyboard
    panel.locator(".fm-cell").first.focus()
    keys.press("ArrowRight")
    keys.press("ArrowDown")
    keys.press("Enter")
    pressed = panel.locator(".fm-cell[aria-pressed=true]")
    expect(pressed).to_have_attribute("data-true", "p")
    expect(pressed).to_have_attribute("data-predicted", "p")
    expect(pressed).to_be_focused()
    settled(panel)
    keys.press("Enter")
    settled(panel, 240)
    panel.locator(".fm-open").first.focus()
    keys.press("Enter")
    expect(panel.get_by_role("region", name="Open row").locator("h3")).to_be_focused()
    keys.press("Escape")
    expect(panel.get_by_role("region", name="Open row")).to_be_hidden()
    panel.get_by_role("button", name="Next page").press("Enter")
    settled(panel)
    expect(panel.get_by_label("Page", exact=True).locator("visible=true").last).to_be_visible()
    assert panel.locator(".fm-pager input").input_value() == "2"


@pytest.mark.parametrize("look", ["light", "dark", "contrast"])
def test_every_part_is_readable_in_every_theme_and_width(look, panel, themed, narrowed, contrast, axe, screenshot):
    panel.page.set_viewport_size({"width": 1480, "height": 1900})
    themed(panel.page, look)
    panel.locator("[data-check]").nth(1).check()
    settled(panel)
    wrong, words = panel.locator(".fm-cell[data-true='p'][data-predicted='n']"), panel.get_by_label("Text contains")
    words.fill("music")
    expect(panel).not_to_have_attribute("data-n", "240")
    settled(panel)
    n = int(wrong.inner_text())
    assert 0 < n < int(panel.get_attribute("data-n"))
    words.fill("")
    settled(panel, 240)
    words.fill("music")
    wrong.click()  # at once: what was typed is not lost
    settled(panel, n)
    expect(panel.get_by_label("Text contains")).to_have_value("music")
    panel.locator(".fm-open").first.click()
    expect(panel.get_by_role("region", name="Open row")).to_be_visible()
    panel.page.mouse.move(5, 5)
    screenshot(panel, f"inspect-{look}")
    assert contrast(panel)[0] >= 4.5, contrast(panel)
    assert axe(panel) == []
    narrowed(panel, 320)
    assert panel.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
    screenshot(panel, f"inspect-narrow-{look}")
