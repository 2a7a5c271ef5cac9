"""``%%explain`` in JupyterLab: the text coloured, read by mouse and by keyboard; a word edited, and the probability moves."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow
TEXT = "good film, 电影 was <b>not</b> dull 😀 at the end"


@pytest.fixture
def explained(notebook, finetune):
    """The cell of an explanation by a model that has learnt that the first word tells."""
    notebook.run(finetune("tiny", steps=60).replace("%%finetune tiny", "%%finetune tiny --wait"))
    cell = notebook.run(f"%%explain tiny --label p\n{TEXT}")
    expect(cell.locator(".fm-explain .fm-attr")).to_be_visible(timeout=60_000)
    return cell


def share(panel, column: str) -> float:
    row = panel.locator(".fm-attr-answers tbody tr").filter(has=panel.page.get_by_role("rowheader", name="p", exact=True))
    return float(row.locator(column).inner_text().rstrip("%"))


def test_a_word_is_edited_and_the_probability_moves(explained, notebook):
    panel = explained.locator(".fm-explain")
    expect(panel.locator(".fm-attr-text")).to_have_text(TEXT)  # as it was written, markup and all
    first = panel.locator(".fm-attr-piece").first
    first.dblclick()  # goes to the word in the editor
    area = panel.get_by_label("Edit the text")
    expect(area).to_be_focused()
    notebook.page.keyboard.insert_text("bad")
    expect(area).to_have_value("bad" + TEXT.removeprefix("good"))
    before = share(panel, "td:nth-child(3)")
    notebook.page.keyboard.press("Enter")
    expect(panel.locator(".fm-attr")).to_have_attribute("data-edits", "1", timeout=30_000)
    assert share(panel, ".fm-attr-after") != before
    expect(panel.locator(".fm-attr-history mark")).to_have_text("bad")
    moved = panel.locator(".fm-attr-answers tbody tr").filter(has_text="p").locator("td").last
    expect(moved).to_have_text(re.compile("[+−][0-9.]+ points"))


def test_pieces_are_read_by_mouse_and_keyboard_and_methods_and_labels_switch(explained, notebook):
    panel = explained.locator(".fm-explain")
    reading = panel.locator(".fm-attr-reading")
    panel.locator(".fm-attr-piece").nth(1).hover()
    expect(reading).to_contain_text("“film”: Integrated gradients")
    panel.locator(".fm-attr-text").focus()
    notebook.page.keyboard.press("Home")
    expect(reading).to_contain_text("“good”")
    notebook.page.keyboard.press("ArrowRight")
    notebook.page.keyboard.press("ArrowRight")
    notebook.page.keyboard.press("ArrowRight")
    expect(reading).to_contain_text("“电” ([UNK])")
    before = panel.locator(".fm-attr-piece").first.get_attribute("data-score")
    panel.get_by_label("Method").select_option("occlusion")
    assert panel.locator(".fm-attr-piece").first.get_attribute("data-score") != before
    panel.get_by_label("Explain label").select_option("n")
    expect(panel.locator(".fm-attr")).to_have_attribute("data-label", "n", timeout=30_000)
    panel.get_by_text("All pieces and their scores").click()
    expect(
        panel.get_by_role("region", name="All pieces and their scores").get_by_role("row", name=re.compile("影"))
    ).to_be_visible()


def test_the_panel_reads_well_and_the_saved_notebook_keeps_the_colours(explained, notebook, themed, contrast, axe, screenshot):
    panel, page = explained.locator(".fm-explain"), notebook.page
    panel.get_by_label("Edit the text").fill("bad film")
    panel.get_by_role("button", name="Ask the model").click()
    expect(panel.locator(".fm-attr")).to_have_attribute("data-edits", "1", timeout=30_000)
    card = explained.locator(".jp-RenderedHTMLCommon details").first
    card.locator("summary").first.click()
    for theme in ("light", "dark", "contrast"):
        themed(page, theme)
        lowest, text = contrast(panel)
        assert lowest >= 4.5, (theme, text)
        screenshot(explained, f"explain-{theme}")
    assert axe(panel) == []
    grounds = card.locator("span").evaluate_all("all => all.map((each) => each.style.backgroundColor).filter(Boolean)")
    assert len(grounds) >= 5
    saved = str(notebook.save())
    assert "rgba(59, 130, 196" in saved
    assert "&lt;" in saved
    assert "<b>not" not in saved.replace(TEXT, "")  # but in the cell itself
    page.reload()
    kept = page.locator(".jp-RenderedHTMLCommon details span[style*=background]")
    expect(kept.first).to_be_attached(timeout=30_000)
