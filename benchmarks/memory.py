"""How much memory do kernel and worker take together while the quickstart runs?

``python benchmarks/memory.py [NOTEBOOK] [--every SECONDS] [--keep FILE] [--json]``

Runs the notebook headless in a temporary folder, with a queue and runs of its own, and samples the memory of the notebook's
kernel and of every process that it started. *PSS* counts a page shared by k processes as 1/k of it to each, so the sum over
processes is what they truly take; it exists on Linux. *RSS* counts shared pages in full for each and is given beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient

QUICKSTART = Path(__file__).parents[1] / "notebooks" / "01_quickstart.ipynb"
MB = 1e6


@dataclass
class Peak:
    """The largest sum so far, bytes, with its parts and the cell that ran then."""

    total: int = 0
    kernel: int = 0
    worker: int = 0
    cell: str = ""
    seconds: float = 0.0

    def see(self, kernel: int, worker: int, cell: str) -> None:
        if kernel + worker > self.total:
            self.total, self.kernel, self.worker, self.cell = kernel + worker, kernel, worker, cell


@dataclass
class Watch:
    """Samples the kernel and the worker until `done`."""

    every_seconds: float
    pss: Peak = field(default_factory=Peak)
    rss: Peak = field(default_factory=Peak)
    cells: dict[str, Peak] = field(default_factory=dict)
    cell: str = ""
    samples: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def run(self, kernel: psutil.Process) -> None:
        state = Path(os.environ["FM_NOTEBOOK_STATE"])
        while not self.done.wait(self.every_seconds):
            workers = _workers(state)
            rss, pss = ([_memory(each, shared=kind) for each in (kernel, *workers)] for kind in (True, False))
            self.rss.see(rss[0], sum(rss[1:]), self.cell)
            self.pss.see(pss[0], sum(pss[1:]), self.cell)
            self.cells.setdefault(self.cell, Peak()).see(pss[0], sum(pss[1:]), self.cell)
            self.samples += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", nargs="?", type=Path, default=QUICKSTART)
    parser.add_argument("--every", type=float, default=0.5, metavar="SECONDS")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the executed notebook here")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    notebook = nbformat.read(asked.notebook, as_version=4)
    with tempfile.TemporaryDirectory(prefix="fm_notebook-memory-") as folder:
        os.environ |= {"FM_NOTEBOOK_STATE": f"{folder}/state", "FM_NOTEBOOK_RUNS": f"{folder}/runs"}
        began = time.perf_counter()
        try:
            watch = _execute(notebook, Path(folder), asked.every)
        finally:
            _send_home(Path(folder) / "state")
        seconds = time.perf_counter() - began
    if asked.keep:
        nbformat.write(notebook, asked.keep)
    report = {
        "notebook": asked.notebook.name, "wall_seconds": seconds, "samples": watch.samples,
        "pss": asdict(watch.pss), "rss": asdict(watch.rss), "cells": {name: asdict(peak) for name, peak in watch.cells.items()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores", "python": platform.python_version(),
    }  # fmt: skip
    print(json.dumps(report, indent=1) if asked.json else _table(watch, seconds))


def _execute(notebook: nbformat.NotebookNode, folder: Path, every_seconds: float) -> Watch:
    """Run the notebook under watch."""
    watch = Watch(every_seconds)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", store_widget_state=False, resources={"metadata": {"path": str(folder)}},
        on_cell_execute=lambda cell, cell_index: setattr(watch, "cell", f"[{cell_index}] {cell.source.splitlines()[0][:40]}"),
    )  # fmt: skip
    with client.setup_kernel():
        kernel = psutil.Process(client.km.provisioner.pid)  # type: ignore[union-attr,attr-defined]
        thread = threading.Thread(target=watch.run, args=(kernel,), daemon=True)
        thread.start()
        try:
            for index, cell in enumerate(notebook.cells):
                if cell.cell_type == "code":
                    began = time.perf_counter()
                    client.execute_cell(cell, index)
                    watch.cells.setdefault(watch.cell, Peak()).seconds = time.perf_counter() - began
        finally:
            watch.done.set()
            thread.join()
    return watch


def _workers(state: Path) -> list[psutil.Process]:
    """The workers of the queues in `state`, and their children."""
    found: list[psutil.Process] = []
    for lock in state.glob("*/*/worker.lock"):
        try:
            worker = psutil.Process(json.loads(lock.read_text())["pid"])
            if "fm_notebook.worker" in worker.cmdline():
                found += [worker, *worker.children(recursive=True)]
        except (psutil.Error, ValueError, KeyError):  # not written yet, or gone
            continue
    return found


def _memory(process: psutil.Process, *, shared: bool) -> int:
    try:
        if shared:
            return process.memory_info().rss
        full = process.memory_full_info()
        return getattr(full, "pss", full.uss)  # not Linux: the pages of this process alone
    except psutil.Error:
        return 0


def _send_home(state: Path) -> None:
    for lock in state.glob("*/*/worker.lock"):
        (lock.parent / "leave").touch()
    deadline = time.monotonic() + 20
    while _workers(state) and time.monotonic() < deadline:
        time.sleep(0.2)


def _table(watch: Watch, seconds: float) -> str:
    heads = f"{'kernel':>8}{'worker':>8}{'sum':>8}{'seconds':>9}"
    lines = [f"{'cell':<46}{heads}   (PSS, MB, at each cell's peak)"]
    peaks = [*watch.cells.items(), ("peak, PSS", watch.pss), ("peak, RSS (shared pages counted twice)", watch.rss)]
    for name, peak in peaks:
        sizes = "".join(f"{part / MB:>8.0f}" for part in (peak.kernel, peak.worker, peak.total))
        lines.append(f"{name:<46}{sizes}" + (f"{peak.seconds:>9.1f}" if peak.seconds else ""))
    return "\n".join([*lines, f"{seconds:.0f} s, {watch.samples} samples"])


if __name__ == "__main__":
    main()
