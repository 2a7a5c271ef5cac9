"""JupyterLab on loopback and the system's Chromium, driven by Playwright.

Screenshots go to ``build/screenshots``. `themed`, `narrowed`, `contrast` and `axe` look at any panel or card on a page.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
HOMES = (
    "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
)  # fmt: skip
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark", "contrast": "JupyterLab Dark High Contrast"}
CONTRAST = Path(__file__).with_name("contrast.js")
CELL = ".jp-Notebook .jp-Cell"
RAN = r"i => /\[\d+\]/.test(document.querySelectorAll('.jp-Notebook .jp-Cell')[i].querySelector('.jp-InputPrompt').innerText)"


class Lab:
    """A Jupyter server with the folder `root`, and settings of its own in `home`."""

    def __init__(self, home: Path, root: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.root, self.url, self.token = root, f"http://127.0.0.1:{port}", secrets.token_hex(16)
        environment = {k: v for k, v in os.environ.items() if k != "FM_NOTEBOOK_RUNS"} | {
            name: str(home / name) for name in HOMES
        }
        with (home / "lab.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root",
                 "--LabApp.expose_app_in_browser=True", "--ServerApp.port_retries=0",
                 f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={root}"],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._until_up()
        quiet = {"fetchNews": "false", "checkForUpdates": False}  # else a toast covers cells
        self.setting("apputils-extension:notification", quiet)

    def _until_up(self) -> None:
        for _ in range(600):
            try:
                self.api("GET", "/api/status")
                break
            except OSError:
                assert self.process.poll() is None, "the server did not start"
                time.sleep(0.1)

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Ask the server; the token in the header makes a cookie unnecessary."""
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, method=method, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or "null")

    def setting(self, plugin: str, values: dict[str, object]) -> None:
        """Set JupyterLab's settings of one plug-in, for pages loaded from now on."""
        self.api("PUT", f"/lab/api/settings/@jupyterlab/{plugin}", {"raw": json.dumps(values)})

    def end_kernels(self) -> None:
        """Shut down every kernel."""
        for session in self.api("GET", "/api/sessions"):
            self.api("DELETE", "/api/sessions/" + session["id"])

    def stop(self) -> None:
        """End the server as a terminal's or a service manager's end does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


class Notebook:
    """A notebook open on a page."""

    def __init__(self, lab: Lab, page: Page, path: Path):
        self.lab, self.page, self.file = lab, page, path
        self.path = path.relative_to(lab.root).as_posix()

    def create(self, view: str = "lab/tree") -> Notebook:
        """Write an empty notebook, and open it."""
        cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "", "outputs": [], "execution_count": None}
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": [cell]}
        self.file.write_text(json.dumps(content))
        return self.open(view)

    def open(self, view: str = "lab/tree") -> Notebook:
        """Load the page; `view` may be ``notebooks`` for Notebook 7."""
        self.page.goto(f"{self.lab.url}/{view}/{self.path}?token={self.lab.token}&reset")
        self.page.wait_for_selector(CELL, timeout=60_000)
        self.until(self._is_up, what="a kernel that is connected and idle")
        return self

    def reload(self) -> None:
        """Load the page anew, with the same kernel."""
        self.page.reload()
        self.page.wait_for_selector(CELL, timeout=60_000)

    def run(self, text: str, *, wait: bool = True) -> Locator:
        """Type `text` into the last cell, or a new one, and run it; the cell."""
        cells = self.page.locator(CELL)
        last = cells.count() - 1
        if cells.nth(last).locator(".cm-content").inner_text().strip():
            cells.nth(last).locator(".jp-InputPrompt").click()
            self.page.keyboard.press("b")
            last += 1
        cells.nth(last).locator(".cm-content").click()
        self.page.keyboard.insert_text(text)  # no auto-indent, no auto-brackets
        self.page.keyboard.press("Control+Enter")
        if wait:
            self.page.wait_for_function(RAN, arg=last, timeout=60_000)
        return cells.nth(last)

    def until(self, holds: Callable[[], Any], *, seconds: float = 30, what: str = "") -> None:
        """Wait until `holds`."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"{seconds} s passed: {what}"
            self.page.wait_for_timeout(40)

    def save(self) -> dict[str, Any]:
        """Save with the keyboard; the file's content."""
        before = self.file.stat().st_mtime_ns
        self.page.keyboard.press("Control+s")
        self.until(lambda: self.file.stat().st_mtime_ns != before, what="the saved file")
        return self.lab.api("GET", "/api/contents/" + self.path)["content"]

    def kernel(self) -> str:
        """Id of the notebook's kernel."""
        return next(each["kernel"]["id"] for each in self.lab.api("GET", "/api/sessions") if each["path"] == self.path)

    def _is_up(self) -> bool:
        kernels = [each["kernel"] for each in self.lab.api("GET", "/api/sessions") if each["path"] == self.path]
        connected = any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels)
        bar = self.page.locator("#jp-main-statusbar")
        return connected and (not bar.count() or "| Idle" in bar.inner_text())


def shoot(target: Page | Locator, name: str) -> None:
    """Keep a screenshot as an artefact."""
    path = SCREENSHOTS / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    target.screenshot(path=path)


def wear(page: Page, theme: str) -> None:
    """Switch to ``light``, ``dark`` or ``contrast`` (JupyterLab's high contrast), on the open page, as the menu does."""
    switch = "name => window.jupyterapp.commands.execute('apputils:change-theme', { theme: name })"
    page.evaluate(switch, THEMES[theme])
    page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=THEMES[theme])
    page.wait_for_timeout(100)


def narrow(target: Locator, pixels: int) -> None:
    """Make what `target` stands in so wide, as in a narrow window or beside another; 0: as wide as it would be."""
    target.evaluate("(element, width) => { element.parentElement.style.width = width ? `${width}px` : ''; }", pixels)
    target.page.wait_for_timeout(100)  # charts are drawn anew


def lowest_contrast(target: Locator) -> tuple[float, str]:
    """The lowest contrast (WCAG 2) of the enabled text in `target` on what is painted behind it, and that text."""
    return tuple(target.evaluate(CONTRAST.read_text(encoding="utf-8")))


def serious_faults(target: Locator) -> list[str]:
    """What axe finds in `target` that is serious or critical, a line each: rule, and the element at fault."""
    from axe_playwright_python.base import AXE_SCRIPT

    target.page.evaluate(AXE_SCRIPT)
    found = target.evaluate("element => axe.run(element, { resultTypes: ['violations'] })")
    grave = [each for each in found["violations"] if each["impact"] in {"serious", "critical"}]
    return [f"{each['id']}: {node['html']}" for each in grave for node in each["nodes"]]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, worker_state: Path) -> Iterator[Lab]:
    """One server for all tests; its root holds every test's folder."""
    server = Lab(tmp_path_factory.mktemp("lab"), tmp_path_factory.getbasetemp())
    yield server
    server.end_kernels()
    server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of its own cookies; a fault of its scripts fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    found = context.new_page()
    faults: list[str] = []
    found.on("pageerror", lambda error: faults.append(str(error)))
    yield found
    shoot(found, "last-" + re.sub(r"\W+", "-", request.node.name))
    context.close()
    assert [fault for fault in faults if "fm" in fault] == []


@pytest.fixture
def notebook(lab: Lab, page: Page, tmp_path: Path, runs_folder: Path) -> Iterator[Notebook]:
    """An empty notebook in JupyterLab with the extension loaded; its runs lie beside it."""
    opened = Notebook(lab, page, tmp_path / "trial.ipynb").create()
    opened.run("%load_ext fm_notebook")
    yield opened
    lab.end_kernels()


@pytest.fixture
def notebook_class() -> type[Notebook]:
    """For a notebook that is opened otherwise."""
    return Notebook


@pytest.fixture
def lab_class() -> type[Lab]:
    """For a server of a test's own."""
    return Lab


@pytest.fixture
def screenshot() -> Callable[[Page | Locator, str], None]:
    """Keeps a screenshot as an artefact."""
    return shoot


@pytest.fixture(scope="session")
def themed() -> Callable[[Page, str], None]:
    """Switches the theme of an open page."""
    return wear


@pytest.fixture
def narrowed() -> Callable[[Locator, int], None]:
    """Sets the width that a panel or card has."""
    return narrow


@pytest.fixture
def contrast() -> Callable[[Locator], tuple[float, str]]:
    """The lowest contrast of text, and that text."""
    return lowest_contrast


@pytest.fixture
def axe() -> Callable[[Locator], list[str]]:
    """What axe-core finds that is serious; empty if nothing."""
    return serious_faults


@pytest.fixture
def finetune(tiny_bert: Path, reviews: Path) -> Callable[..., str]:
    """The text of a ``%%finetune`` cell on the tiny model."""

    def cell(name: str, *, steps: int = 100_000, **fields: object) -> str:
        values = {
            "model": str(tiny_bert),
            "train": str(reviews),
            "max_steps": steps,
            "eval_every": 40,
            "learning_rate": 1e-3,
            "device": "cpu",
        } | fields
        return f"%%finetune {name}\n" + "\n".join(f"{key} = {value!r}" for key, value in values.items())

    return cell
