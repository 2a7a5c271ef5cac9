"""The items panel of a probe in JupyterLab: filtered, sorted, one item opened and coloured; in both themes and narrow."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow
REPORT = """
import pyarrow as pa
from pathlib import Path
from fm_notebook.contracts.probe_reports import ITEMS, Measurement, ProbeReport
from fm_notebook.contracts.references import DataRef
from fm_notebook.data import stored
def pieces(text, values):
    found, at = [], 0
    for word, value in zip(text.split(" "), values):
        found.append({"text": word, "start": at, "end": at + len(word), "value": value})
        at += len(word) + 1
    return found
def row(i):
    one, other = f"my sister cried at film {i}", f"my brother cried at film {i}"
    a, b = [0.1, (i % 7 - 3) / 4, -0.05 * (i % 3), 0.0, 0.2, 0.0], [0.1, -0.3, 0.0, 0.0, 0.0, 0.0]
    value, skipped = sum(a) + sum(b), "too_long" if i % 50 == 7 else None
    scores = {"value": None if skipped else value, "choice": None if skipped else value > 0, "skipped": skipped}
    told = {"pieces": pieces(one, a), "other_pieces": pieces(other, b), "first_score": -12.3, "second_score": -12.3 - value}
    item = {"id": f"{i:05d}", "axis": ["gender", "age"][i % 2], "first": one, "second": other}
    return item | {"group": "female", "other_group": "male"} | scores | told
folder = Path("probe"); folder.mkdir()
stored.write(pa.Table.from_pylist([row(i) for i in range(10_000)]), folder / ITEMS)
main = Measurement(name="stereotype_preference", value=55.0, n=9_800, neutral=50, is_main=True)
report = ProbeReport(
    model="tiny", probe="crows-pairs", variant="cps", language="en", data=DataRef(source="", kind="seed"), items=10_000,
    scored=10_000, measurements=[main], folder=str(folder.resolve()), spec={"items": {"texts": ["first", "second"]}},
)
"""


@pytest.fixture
def panel(notebook):
    notebook.page.set_viewport_size({"width": 1300, "height": 1500})
    notebook.run(REPORT)
    shown = notebook.run("%panel inspect report").locator(".fm-items")
    expect(shown).to_have_attribute("data-n", "10000", timeout=30_000)
    return shown


def settled(panel, n):
    expect(panel).to_have_attribute("data-n", str(n))
    expect(panel).to_have_attribute("data-busy", "0", timeout=10_000)


def test_items_are_filtered_sorted_opened_and_coloured(panel, notebook, screenshot):
    panel.get_by_label("Outcome").select_option(index=2)  # any, other, skipped, stereotype
    expect(panel.get_by_label("Outcome").locator("option:checked")).to_contain_text("skipped")
    settled(panel, 200)
    panel.get_by_role("button", name="Show all items").click()
    settled(panel, 10_000)
    panel.get_by_label("Axis").select_option(label="gender (5,000)")
    settled(panel, 5_000)
    panel.get_by_label("Text contains").fill("FILM 99")
    settled(panel, 55)
    assert panel.locator(".fm-rows mark").first.inner_text() == "film 99"
    panel.get_by_role("button", name="score", exact=True).click()
    expect(panel.locator("th[aria-sort=descending]")).to_have_text("score")
    numbers = [
        float(text.replace("−", "-")) for text in panel.locator("tbody td:nth-child(6)").all_inner_texts()[:25] if text != "–"
    ]
    assert numbers == sorted(numbers, reverse=True)

    panel.locator(".fm-open").nth(1).press("Enter")
    details = panel.get_by_role("region", name="Open item")
    expect(details.locator("h3")).to_be_focused()
    expect(details.locator(".fm-attr-text")).to_have_count(2)
    expect(details.locator(".fm-attr-piece.fm-attr-for").first).to_be_visible()
    details.locator(".fm-attr-text").first.focus()
    notebook.page.keyboard.press("ArrowRight")
    expect(details.locator(".fm-attr-reading")).to_contain_text("“sister”")
    expect(details.get_by_role("row", name="both (Δ)")).to_be_visible()
    title = details.locator("h3").inner_text()
    details.get_by_role("button", name="Next item").click()
    expect(details.locator("h3")).not_to_have_text(title)
    screenshot(panel, "probe-items-light")
    notebook.page.keyboard.press("Escape")
    expect(details).to_be_hidden()


def test_a_reload_finds_the_view_and_the_saved_notebook_has_no_item(panel, notebook):
    panel.get_by_label("Axis").select_option(label="age (5,000)")
    settled(panel, 5_000)
    panel.locator(".fm-open").first.click()
    title = panel.get_by_role("region", name="Open item").locator("h3").inner_text()
    saved = str(notebook.save())
    assert "film 1" not in saved.replace("cried at film {i}", "")
    assert "crows-pairs (cps) of tiny" in saved
    notebook.reload()
    panel = notebook.page.locator(".fm-items")
    expect(panel).to_have_attribute("data-n", "5000", timeout=30_000)
    expect(panel.get_by_role("region", name="Open item").locator("h3")).to_have_text(title)


@pytest.mark.parametrize("theme", ["light", "dark", "contrast"])
def test_the_panel_is_readable_in_every_theme_and_narrow(panel, notebook, theme, themed, narrowed, contrast, axe, screenshot):
    panel.locator(".fm-open").first.click()
    expect(panel.locator(".fm-attr-piece").first).to_be_visible()
    themed(notebook.page, theme)
    for width in (0, 320):
        narrowed(panel, width)
        ratio, text = contrast(panel)
        assert ratio >= 4.5, text
        assert axe(panel) == []
        assert panel.evaluate("element => element.scrollWidth <= element.clientWidth + 1")
        screenshot(panel, f"probe-items-{theme}{'-narrow' if width else ''}")


LOOKS = """
from pathlib import Path
from fm_notebook.contracts import events as ev
from fm_notebook.contracts.probe_reports import Measurement
from fm_notebook.contracts.scores import Interval
from fm_notebook.panels import live
from fm_notebook.session.progress import Progress
class Job:
    name, folder, progress = "sentiment", Path("nowhere"), Progress("sentiment", "nowhere")
    def refresh(self): return False
    def watch(self, listener): listener(self); return lambda: None
    def command(self, wish): pass
job = Job(); apply = job.progress.apply
def seen(step, probe, name, value, neutral):
    between = Interval(low=value * 8 / 9, high=value * 10 / 9, method="t")
    found = Measurement(name=name, value=value, n=200, neutral=neutral, interval=between, is_main=True)
    apply(ev.ProbeScored(time=2.6 + step, step=step, epoch=1.0, probe=probe, measurement=found))
apply(ev.PhaseBegan(time=1.0, phase="loading_model"))
apply(ev.Started(time=2.0, total_steps=400, steps_per_epoch=100, metric="accuracy"))
for step in range(1, 401):
    told = {"loss": 1 / step, "learning_rate": 1e-5, "grad_norm": 1.0, "examples": 32, "tokens": 64}
    apply(ev.StepEnded(time=2.0 + step, step=step, epoch=step / 100, seconds=0.5, memory_bytes=10**9, **told))
    if step % 100 == 0:
        scores = {"accuracy": 0.7 + step / 2000, "loss": 0.5}
        apply(ev.EvalEnded(time=2.5 + step, step=step, epoch=1.0, metrics=scores, n=200, seconds=1.0, best=True))
    if step % 80 == 0:
        seen(step, "identity-swap", "ctf_gap", 0.02 + step / 8000, 0.0)
        seen(step, "crows-pairs", "stereotype_preference", 49 + step / 60, 50.0)
live.show(job)
"""


def test_what_probes_see_of_a_run_is_drawn_beside_its_metric(notebook, themed, contrast, axe, screenshot):
    notebook.page.set_viewport_size({"width": 1300, "height": 1700})
    cell = notebook.run(LOOKS)
    panel = cell.locator(".fm-progress")
    expect(panel.locator(".fm-chart-look")).to_have_count(2)
    expect(panel.locator(".fm-chart-look .fm-band")).to_have_count(2)
    expect(panel.locator(".fm-chart-look .fm-level")).to_have_count(2)
    expect(panel.locator(".fm-chart-look svg").first).to_have_attribute("aria-label", "identity-swap: CTF gap 0.0700")
    cell.locator("summary").first.click()
    expect(cell.get_by_role("img", name="crows-pairs, prefers the stereotype (%)")).to_be_visible()
    for theme in ("light", "dark"):
        themed(notebook.page, theme)
        ratio, text = contrast(panel)
        assert ratio >= 4.5, text
        assert axe(panel) == []
        screenshot(cell, f"looks-{theme}")
