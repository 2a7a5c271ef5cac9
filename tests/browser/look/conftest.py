"""A stage: any panel or card, drawn by its own code on a page that wears JupyterLab's real styles, with no kernel behind it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page

STAGE = Path(__file__).with_name("stage.js")


class Stage:
    """A page on which one panel or card stands alone."""

    def __init__(self, page: Page, theme: Callable[[str], None]):
        self.page, self._theme = page, theme
        page.evaluate(STAGE.read_text(encoding="utf-8"))

    def theme(self, name: str) -> None:
        """Put on ``light``, ``dark`` or ``contrast``."""
        self._theme(name)

    def panel(self, widget: Any) -> Locator:
        """Draw the widget from its state, as a page that is loaded anew does."""
        state = {key: value for key, value in widget.get_state().items() if not key.startswith("_")}
        shown = json.dumps(state, default=lambda data: {"$bytes": base64.b64encode(data).decode()})
        self.page.evaluate("parts => window.stage.panel(...parts)", [widget._esm, widget._css, shown])
        return self.page.locator("#stage .fm-panel")

    def card(self, html: str) -> Locator:
        """Show HTML as an output is shown."""
        self.page.evaluate("html => window.stage.card(html)", html)
        return self.page.locator("#stage .jp-RenderedHTMLCommon")


@pytest.fixture(scope="module")
def lab_page(lab: Any, browser: Browser) -> Iterator[Page]:
    """One page of JupyterLab for all looks."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    page = context.new_page()
    page.goto(f"{lab.url}/lab?token={lab.token}&reset")
    page.wait_for_selector("#jp-main-dock-panel", timeout=60_000)
    page.wait_for_function("() => document.body.dataset.jpThemeName && window.jupyterapp")
    yield page
    context.close()


@pytest.fixture
def stage(lab_page: Page, themed: Callable[[Page, str], None]) -> Iterator[Stage]:
    """The stage in JupyterLab."""
    lab_page.emulate_media(forced_colors="none", reduced_motion="no-preference")
    yield Stage(lab_page, lambda name: themed(lab_page, name))
    themed(lab_page, "light")


@pytest.fixture
def bare_stage(browser: Browser) -> Iterator[Callable[..., Stage]]:
    """A stage in a page that is no JupyterLab: with other variables, or none, in the system's light or dark."""
    contexts = []

    def stage(variables: dict[str, str], scheme: str) -> Stage:
        contexts.append(browser.new_context(viewport={"width": 1100, "height": 900}, color_scheme=scheme))
        page = contexts[-1].new_page()
        style = ";".join(f"{name}:{value}" for name, value in variables.items())
        page.set_content(f'<html lang="en" style="color-scheme: light dark;{style}"><title>stage</title><body></body></html>')
        return Stage(page, lambda name: None)

    yield stage
    for context in contexts:
        context.close()
