"""A front end at the level of the protocol, and real kernels behind it: the current ipykernel and 6.29."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

OLD_KERNEL = Path(__file__).parents[2] / ".cache" / "ipykernel-6.29"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Cell:
    """A cell that runs or ran: its outputs as the front end would show them now."""

    outputs: list[dict[str, Any]] = field(default_factory=list)
    reply: dict[str, Any] | None = None
    idle: bool = False

    @property
    def done(self) -> bool:
        return self.reply is not None and self.idle

    @property
    def text(self) -> str:
        """What was printed."""
        return "".join(each["text"] for each in self.outputs if each["output_type"] == "stream")

    @property
    def html(self) -> str:
        """The HTML outputs without panels: the card."""
        return "".join(data["text/html"] for data in self._data() if "text/html" in data and VIEW not in data)

    @property
    def error(self) -> list[str]:
        """The lines of the error as shown, without colours; empty if there is none."""
        return [ANSI.sub("", line) for each in self.outputs if each["output_type"] == "error" for line in each["traceback"]]

    @property
    def panel(self) -> str:
        """Comm id of the panel displayed here."""
        return next(data[VIEW]["model_id"] for data in self._data() if VIEW in data)

    def _data(self) -> Iterator[dict[str, Any]]:
        return (each["data"] for each in self.outputs if "data" in each)


VIEW = "application/vnd.jupyter.widget-view+json"


class FrontEnd:
    """Starts a kernel, runs cells in it and keeps what it says; one thread, so nothing is heard outside `until` and `run`."""

    def __init__(self, cwd: Path, **environment: str):
        self.environment = {**os.environ, **environment}
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(cwd), env=self.environment)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.cells: dict[str, Cell] = {}
        self.panels: dict[str, dict[str, Any]] = {}
        self._shown: dict[str, list[dict[str, Any]]] = {}
        self._control: list[dict[str, Any]] = []

    def run(self, code: str, *, wait: bool = True, allow_stdin: bool = True, seconds: float = 60) -> Cell:
        """Execute a cell as Shift+Enter does; `wait` for its end."""
        cell = self.cells[self.client.execute(code, allow_stdin=allow_stdin)] = Cell()
        if wait:
            self.until(lambda: cell.done, seconds=seconds, what=code)
        return cell

    def value(self, expression: str) -> str:
        """The repr of a value in the kernel."""
        cell = self.run(expression)
        assert not cell.error, cell.error
        return next(each["data"]["text/plain"] for each in cell.outputs if each["output_type"] == "execute_result")

    def until(self, holds: Callable[[], Any], *, seconds: float = 30, what: str = "") -> float:
        """Listen until `holds`; the seconds that took."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < seconds, f"{seconds} s passed: {what}\n{self.seen()}"
            self.listen()
        return time.monotonic() - began

    def state(self, panel: str) -> dict[str, Any]:
        """What a page shows in the panel now."""
        return self.panels[panel]["state"]

    def click(self, panel: str, command: str, *, subshell: str | None = None) -> None:
        """Send what the panel's button sends."""
        self._send(panel, {"method": "custom", "content": {"type": "command", "command": command}}, subshell)

    def listen_for(self, seconds: float) -> None:
        """Take in what comes in that time."""
        began = time.monotonic()
        self.until(lambda: time.monotonic() > began + seconds)

    def reload(self, panel: str) -> None:
        """Ask for the widget's whole state, as a page that is loaded anew does."""
        self.panels[panel]["reloaded"] = False
        self._send(panel, {"method": "request_state"}, None)
        self.until(lambda: self.panels[panel]["reloaded"], what="the widget's state")

    def subshell(self) -> str | None:
        """A subshell as JupyterLab makes for widgets; None where the kernel has none."""
        self.client.kernel_info()
        info = self.client.get_shell_msg(timeout=20)["content"]
        if "kernel subshells" not in info.get("supported_features", []):
            return None
        self._control.clear()
        self.client.control_channel.send(self.client.session.msg("create_subshell_request", {}))
        self.until(lambda: self._control, what="a subshell")
        return self._control[0]["content"]["subshell_id"]

    def kill(self) -> None:
        """``kill -9`` the kernel and start it again under the same connection."""
        self.manager.signal_kernel(9)
        self.manager.restart_kernel(now=True)
        self.client.stop_channels()
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def close(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def listen(self) -> None:
        """Take in what has come, or wait a moment."""
        quiet = True
        for channel, take in (
            (self.client.iopub_channel, self._take_iopub),
            (self.client.shell_channel, self._take_shell),
            (self.client.control_channel, self._control.append),
        ):
            try:
                while True:
                    take(channel.get_msg(timeout=0))
                    quiet = False
            except Empty:
                continue
        if quiet:
            time.sleep(0.01)

    def seen(self) -> str:
        """All that was heard, for messages of failures."""
        cells = [f"{cell.text}{cell.error}" for cell in self.cells.values()]
        return "\n".join([*cells, *(str(panel.get("state", {})) for panel in self.panels.values())])

    def _send(self, comm: str, data: dict[str, Any], subshell: str | None) -> None:
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)

    def _take_shell(self, message: dict[str, Any]) -> None:
        cell = self.cells.get(message["parent_header"].get("msg_id"))
        if cell is not None and message["msg_type"] == "execute_reply":
            cell.reply = message["content"]

    def _take_iopub(self, message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind.startswith("comm_"):
            self._take_comm(kind, content, message["buffers"])
        elif kind == "update_display_data":
            for output in self._shown.get(content["transient"]["display_id"], []):
                output["data"] = content["data"]
        elif cell := self.cells.get(message["parent_header"].get("msg_id", "")):
            if kind == "status":
                cell.idle = cell.idle or content["execution_state"] == "idle"
            elif kind in {"stream", "display_data", "execute_result", "error"}:
                output = {"output_type": kind, **content}
                cell.outputs.append(output)
                if display := content.get("transient", {}).get("display_id"):
                    self._shown.setdefault(display, []).append(output)

    def _take_comm(self, kind: str, content: dict[str, Any], buffers: list[memoryview]) -> None:
        comm, data = content["comm_id"], content.get("data", {})
        if kind == "comm_open":
            self.panels[comm] = dict(data.get("state", {}))
        elif kind == "comm_msg" and data.get("method") == "update":
            self.panels[comm] |= data["state"] | {"reloaded": True}
            for path, buffer in zip(data.get("buffer_paths", []), buffers, strict=True):
                self.panels[comm][path[0]][path[1]] = bytes(buffer)
        elif kind == "comm_msg" and data.get("method") == "custom":
            self.panels[comm]["state"] = data["content"]["state"]


@pytest.fixture
def start_kernel(tmp_path: Path, runs_folder: Path) -> Iterator[Callable[..., FrontEnd]]:
    """Starts kernels of one test; they see its runs and nobody's settings."""
    started: list[FrontEnd] = []
    home = {name: str(tmp_path / name.lower()) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}

    def start(**environment: str) -> FrontEnd:
        started.append(FrontEnd(tmp_path, **home, **environment))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture(params=["current", "6.29"])
def kernel(request: pytest.FixtureRequest, start_kernel: Callable[..., FrontEnd]) -> FrontEnd:
    """A kernel with the extension loaded: of the installed ipykernel, and of 6.29, which Colab and older hubs have."""
    return _loaded(start_kernel, old=request.param == "6.29")


@pytest.fixture
def current(start_kernel: Callable[..., FrontEnd]) -> FrontEnd:
    """A kernel of the installed ipykernel with the extension loaded, for what is the same in all."""
    return _loaded(start_kernel, old=False)


def _loaded(start: Callable[..., FrontEnd], *, old: bool) -> FrontEnd:
    if old and not (OLD_KERNEL / "ipykernel").is_dir():
        pytest.skip("ipykernel 6.29 is not installed in .cache: make notebooks does it")
    kernel = start(**({"PYTHONPATH": str(OLD_KERNEL)} if old else {}))
    version = kernel.value("__import__('ipykernel').__version__")
    assert version.startswith("'6.29") == old, version
    loaded = kernel.run("%load_ext fm_notebook")
    assert not loaded.error
    assert loaded.text == ""
    return kernel


@pytest.fixture
def finetune(tiny_bert: Path, reviews: Path) -> Callable[..., str]:
    """The text of a ``%%finetune`` cell on the tiny model: a step takes some milliseconds."""

    def cell(name: str, flags: str = "", *, steps: int = 100_000, **fields: object) -> str:
        values = {"model": str(tiny_bert), "train": str(reviews), "max_steps": steps, "eval_every": 100, "device": "cpu"} | fields
        return f"%%finetune {name} {flags}\n" + "".join(f"{key} = {value!r}\n" for key, value in values.items())

    return cell
