"""What does ``kill -9`` cost? Nothing but the steps after the last checkpoint.

``python benchmarks/crash.py [--kills N] [--seed S] [--json]``

A tiny model is trained by the worker's own code in a process of its own, which is killed at random moments of its life (while it
loads, trains, evaluates, saves, publishes) and started again on the same folder, until the run has finished and all kills are
spent; then the next run begins. Each run is set against one that nobody disturbed. It is a failure if

- a resume begins before a checkpoint that the journal says is whole, or passes one over;
- a step is missing, or its loss or gradient norm differs in a single bit;
- the published weights differ in a single bit.

Workers are forked from this process, which has the libraries loaded, so a life costs its own work alone. Ends with 1 on failure.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fm_notebook.contracts import events as ev
from fm_notebook.jobs import journal
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.jobs.queue import Queue

STEPS, SAVE_EVERY, EVAL_EVERY = 80, 2, 20
SHARE_OF_A_RUN = 0.35
"""The most of a run's length that a life lasts before it is killed: a run takes some six lives."""
WORDS = "good bad fine dull warm cold a the it was film plot and not very quite we saw scene music end cast long short"


@dataclass
class Report:
    """What was seen."""

    kills: int = 0
    runs: int = 0
    lives_without_a_step: int = 0
    lost_steps: list[int] = field(default_factory=list)
    killed_during: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What a finished run came to: loss and norm of each step, weights as bytes."""

    steps: dict[int, tuple[float, float]]
    weights: bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fm_notebook-crash-") as folder:
        settle(Path(folder))
        report = measure(Path(folder), asked.kills, random.Random(asked.seed))
    lost = report.pop("lost_steps")
    report |= {
        "lost_steps_most": max(lost, default=0),
        "lost_steps_mean": sum(lost) / max(1, len(lost)),
        "save_every": SAVE_EVERY,
    }
    print(json.dumps(report, indent=1) if asked.json else table(report))
    sys.exit(bool(report["failures"]))


def settle(folder: Path) -> None:
    """Settings of ours and of the workers; then the libraries, on one thread, so that forks are cheap and sound."""
    os.environ |= {
        "FM_NOTEBOOK_RUNS": str(folder / "runs"), "FM_NOTEBOOK_STATE": str(folder / "state"), "FM_NOTEBOOK_IDLE_SECONDS": "0",
        "FM_NOTEBOOK_WARM": "0", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

    import fm_notebook.worker.execute
    import fm_notebook.worker.training  # noqa: F401

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
    BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, model_max_length=64).save_pretrained(folder / "model")
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder / "model")
    draw = random.Random(0)
    rows = [f"{'good' if i % 2 else 'bad'} {' '.join(draw.choices(WORDS.split()[2:], k=15))},{'pn'[i % 2]}" for i in range(320)]
    (folder / "rows.csv").write_text("\n".join(["text,label", *rows]))


def measure(folder: Path, kills: int, draw: random.Random) -> dict:
    """Kill so many times; what was seen."""
    report, undisturbed = Report(), prepare(folder, "undisturbed")
    began = time.perf_counter()
    os.waitpid(start(undisturbed), 0)
    run_seconds, expected = time.perf_counter() - began, outcome(undisturbed)
    while report.kills < kills:
        report.runs += 1
        job = prepare(folder, f"crash{report.runs}")
        while live(job, draw.uniform(0, SHARE_OF_A_RUN * run_seconds) if report.kills < kills else None, report):
            pass
        check(job, expected, report)
    return {**asdict(report), "run_seconds": run_seconds, "seconds": time.perf_counter() - began}


def prepare(folder: Path, name: str) -> JobFolder:
    """A run's folder, as ``%%finetune`` makes it."""
    from fm_notebook import verbs
    from fm_notebook.session.binding import Assigned

    given = {
        "model": str(folder / "model"), "train": str(folder / "rows.csv"), "max_steps": STEPS, "batch_size": 8,
        "save_every": SAVE_EVERY, "eval_every": EVAL_EVERY, "learning_rate": 1e-3, "device": "cpu", "precision": "fp32",
    }  # fmt: skip
    return verbs.prepare_finetune(name, {key: Assigned(value) for key, value in given.items()}).job.jobfolder


def start(job: JobFolder) -> int:
    """Put the job in the queue and fork a worker, which leaves when the queue is empty; its pid."""
    queue = Queue("cpu")
    queue.withdraw(job.path)
    queue.put(job.path)
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        from fm_notebook.worker.__main__ import main as work

        work("cpu")
    finally:
        os._exit(0)


def live(job: JobFolder, seconds: float | None, report: Report) -> bool:
    """One life of the worker, killed after so many seconds (None: never); whether another is needed."""
    before = journal.replay(job.events)
    pid = start(job)
    deadline = time.monotonic() + (600 if seconds is None else seconds)
    while not (ended := os.waitpid(pid, os.WNOHANG)[0]) and time.monotonic() < deadline:
        time.sleep(0.001)
    if not ended:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        report.kills += 1
    life = journal.replay(job.events)[len(before) :]
    look_at(before, life, report)
    finished = bool(life) and isinstance(life[-1], ev.Ended) and life[-1].state == "finished"
    if ended and not finished:
        report.failures.append(f"{job.path.name}: the worker left by itself: {life[-1] if life else 'no event'}")
        return False
    if not finished:
        report.killed_during[during(life)] = report.killed_during.get(during(life), 0) + 1
        report.lives_without_a_step += not any(isinstance(event, ev.StepEnded) for event in life)
    return not finished


def look_at(before: list[ev.Event], life: list[ev.Event], report: Report) -> None:
    """Where the life began, against what was whole before."""
    started = next((event for event in life if isinstance(event, ev.Started)), None)
    if started is None or not before:
        return
    saved = max((event.step for event in before if isinstance(event, ev.CheckpointSaved)), default=0)
    done = [event.step for event in before if isinstance(event, ev.StepEnded)]
    if started.step < saved:
        report.failures.append(f"began at step {started.step} though {saved} was saved")
    if notes := [event.key for event in life if isinstance(event, ev.Noted) and event.level == "warning"]:
        report.failures.append(f"at step {started.step}: {', '.join(notes)}")
    report.lost_steps.append(max(0, (done[-1] if done else 0) - started.step))


def during(life: list[ev.Event]) -> str:
    """What the worker was at when it was killed, as far as its journal tells."""
    last = life[-1] if life else None
    return last.phase if isinstance(last, ev.PhaseBegan) else type(last).__name__ if last else "start"


def check(job: JobFolder, expected: Outcome, report: Report) -> None:
    """The finished run against the undisturbed one."""
    found = outcome(job)
    wrong = sorted(step for step in expected.steps if found.steps.get(step) != expected.steps[step])
    if wrong:
        report.failures.append(f"{job.path.name}: steps differ from {wrong[0]} on")
    if found.weights != expected.weights:
        report.failures.append(f"{job.path.name}: weights differ")


def outcome(job: JobFolder) -> Outcome:
    """What a finished run left."""
    steps = {e.step: (e.loss, e.grad_norm) for e in journal.replay(job.events) if isinstance(e, ev.StepEnded)}
    return Outcome(steps, (job.model / "model.safetensors").read_bytes())


def table(report: dict) -> str:
    """The figures in Markdown."""
    rows = {
        "kills (runs)": f"{report['kills']} ({report['runs']})",
        "lives that ended before their first step": report["lives_without_a_step"],
        f"steps done again, saving every {report['save_every']}: mean, most":
            f"{report['lost_steps_mean']:.1f}, {report['lost_steps_most']}",
        "killed during": ", ".join(f"{name} {n}" for name, n in sorted(report["killed_during"].items(), key=lambda x: -x[1])),
        "failures": "; ".join(report["failures"]) or "none",
        "seconds": f"{report['seconds']:.0f}",
    }  # fmt: skip
    return "\n".join(["| what | figure |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


if __name__ == "__main__":
    main()
