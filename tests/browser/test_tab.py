"""Tab in JupyterLab's own completer."""

from __future__ import annotations

from contextlib import suppress

import pytest

pytestmark = pytest.mark.slow
MENU = ".jp-Completer:not(.lm-mod-hidden)"
FRAME = "reviews = [{'评论': 'good', 'stars': 5}]\nmy_rate = 3e-5"
BEGIN = "%%finetune a\ntrain = reviews\nlora = {\n    'rank': 8,\n}\n"


@pytest.fixture
def tab(notebook):
    """The cell's text after Tab behind what is typed; where there is a choice the first is taken, and the choices are given."""
    notebook.run(FRAME)
    page = notebook.page

    def press(text: str, back: int = 0) -> tuple[str, list[str]]:
        cells = page.locator(".jp-Notebook .jp-Cell")
        cells.last.locator(".jp-InputPrompt").click()
        page.keyboard.press("b")
        editor = cells.last.locator(".cm-content")
        editor.click()
        page.keyboard.insert_text(text)
        for _ in range(back):
            page.keyboard.press("ArrowLeft")
        shown = lambda: editor.evaluate("element => element.cmTile?.view?.state.doc.toString() ?? element.innerText")  # noqa: E731
        for _ in range(5):  # Lab waits a second for a kernel; jedi's first answer, which is not ours, takes longer
            page.keyboard.press("Tab")
            with suppress(AssertionError):
                notebook.until(lambda: page.locator(MENU).count() or shown().rstrip() != text.rstrip(), seconds=3)
                break
        offers: list[str] = []
        if page.locator(MENU).count():
            offers = page.locator(f"{MENU} .jp-Completer-match").all_inner_texts()
            page.keyboard.press("Enter")
            page.wait_for_selector(MENU, state="hidden")
        return shown(), offers

    return press


def test_tab_completes_fields_values_columns_and_variables(tab):
    assert tab(BEGIN + "lear")[0] == BEGIN + "learning_rate = "
    text, offers = tab(BEGIN + 'lr_schedule = ""', back=1)
    assert offers == ["linear", "cosine", "constant"]
    assert text == BEGIN + 'lr_schedule = "linear"'
    assert tab(BEGIN + "text = ''", back=1)[0] == BEGIN + "text = '评论'"
    assert tab(BEGIN + "learn = 3", back=4)[0] == BEGIN + "learning_rate = 3"
    assert tab(BEGIN + "learning_rate = my_")[0] == BEGIN + "learning_rate = my_rate"
    assert tab("%%finetune a --w")[0] == "%%finetune a --wait"
    assert "attach" in tab("%runs ")[1]
