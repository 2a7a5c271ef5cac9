"""What the tests of kernels and of the browser share: a tiny model, rows to learn from, and workers that end with the tests."""

from __future__ import annotations

import gc
import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Times are measured in benchmarks/: on a busy machine they say nothing of the code.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

WORDS = "good bad fine dull warm cold a the it was film plot and not very quite we saw scene music end cast long short"

gc.disable()  # until everything is collected


def pytest_collection_finish() -> None:
    """Let no garbage collection go through what was collected: thousands of tests and, for most of them, all of torch."""
    gc.collect()
    gc.freeze()
    gc.enable()


def _make_tiny_bert(folder: str, words: str) -> None:
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast  # pyright: ignore[reportAttributeAccessIssue]

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words.split()]
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}, model_max_length=64).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertForMaskedLM(config).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers and 32 features; where this process has no torch, made in another, so that none comes to this one."""
    folder = tmp_path_factory.mktemp("models") / "tiny_bert"
    if "torch" in sys.modules:
        _make_tiny_bert(str(folder), WORDS)
        return folder
    code = f"{inspect.getsource(_make_tiny_bert)}\n_make_tiny_bert({str(folder)!r}, {WORDS!r})"
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=quiet, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 320 rows, columns ``text`` and ``label``; the first word tells the label."""
    words = WORDS.split()
    texts = [" ".join([words[i % 4], *(words[(7 * i + k * (1 + i % 5)) % 24] for k in range(20))]) for i in range(320)]
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    path.write_text("text,label\n" + "".join(f"{text},{'pn'[i % 2]}\n" for i, text in enumerate(texts)))
    return path


@pytest.fixture(scope="session")
def worker_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Queues and workers of this test session alone; its workers are ended with it."""
    folder = tmp_path_factory.mktemp("state")
    ours = {
        "FM_NOTEBOOK_STATE": str(folder), "FM_NOTEBOOK_IDLE_SECONDS": "120", "FM_NOTEBOOK_LANGUAGE": "en",
        "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "FM_NOTEBOOK_CONFIG": os.devnull,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FM_NOTEBOOK_PLAIN", raising=False)
        for name, value in ours.items():
            patch.setenv(name, value)
        yield folder
        end_workers()


@pytest.fixture
def runs_folder(tmp_path: Path, worker_state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The runs of one test, seen by its kernels and by this process; what is still alive at its end is cancelled."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("FM_NOTEBOOK_RUNS", str(folder))
    yield folder
    _cancel_all()


def _cancel_all() -> None:
    from fm_notebook.errors import RunError
    from fm_notebook.session.run import each_run

    alive = [run for run in each_run() if not run.progress.over]
    for run in alive:
        with suppress(RunError):  # over meanwhile
            run.cancel()
    if not all(run.job.wait(timeout_seconds=10) for run in alive):
        end_workers()


def end_workers() -> None:
    """Kill the workers of `worker_state`, found by the locks they hold."""
    from fm_notebook.jobs import queue
    from fm_notebook.session.launchers.process import worker_pid

    for each in queue.devices():
        if pid := worker_pid(each):
            os.kill(pid, signal.SIGKILL)
        while worker_pid(each):
            time.sleep(0.02)
