"""Scripts of runs, executed in a process that cannot import this package: the same losses, or what is said to differ."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fm_notebook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # all scripts in one go, at times on a busy machine
WORDS = [
    "good", "bad", "fine", "dull", "warm", "cold", "a", "the", "it", "was", "film", "plot", "and", "not", "very", "saw", "music",
]  # fmt: skip
TOLERANCE = 1e-4
FAST = {
    "epochs": 2.0,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "dropout": 0.0,
    "max_length": 32,
    "device": "cpu",
    "precision": "fp32",
}

DRIVER = """
import contextlib, io, runpy, sys, traceback
from pathlib import Path
sys.modules["fm_notebook"] = None  # importing it is an error
for path in sorted(Path.cwd().glob("*.py")):
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(str(path), run_name="__main__")
    except BaseException:
        said.write(traceback.format_exc())
    path.with_suffix(".txt").write_text(said.getvalue())
"""


def sentences(n: int = 44, seed: int = 0, longest: int = 20) -> pd.DataFrame:
    """Texts whose first word tells the truth, of 1 to `longest` words more."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    texts = [f"{['bad', 'good'][t]} {' '.join(rng.choice(WORDS[6:], rng.integers(1, longest)))}" for t in truth]
    return pd.DataFrame({"text": texts, "truth": truth, "label": [["n", "p"][t] for t in truth]})


def pairs() -> pd.DataFrame:
    return sentences().assign(other=list(sentences(seed=1)["text"]))


def lists() -> pd.DataFrame:
    frame = sentences()
    return frame.assign(label=[["x", "y"] if t else ["y"] if i % 3 else [] for i, t in enumerate(frame["truth"])])


def numbers() -> pd.DataFrame:
    frame = sentences()
    return frame.assign(label=frame["truth"] * 2.0 - 1.0)


def tagged() -> pd.DataFrame:
    """Some sentences are longer than 12 tokens, and cut."""
    words = [text.split() for text in sentences()["text"]]
    tags = [["B-MOOD" if w in WORDS[:6] else "B-ART" if w in {"film", "plot"} else "O" for w in line] for line in words]
    return pd.DataFrame({"text": words, "label": tags})


def asked() -> pd.DataFrame:
    frame = sentences(longest=6)
    return pd.DataFrame(
        {"prompt": frame["text"] + " is", "completion": [" " + text for text in sentences(seed=1, longest=6)["text"]]}
    )


def talks() -> pd.DataFrame:
    def talk(question: str, answer: str) -> list[dict[str, str]]:
        said = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return said * 2

    one, two = sentences(longest=4), sentences(seed=1, longest=4)
    return pd.DataFrame({"messages": [talk(*each) for each in zip(one["text"], two["text"], strict=True)]})


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "single": (sentences, {"eval_every": 3, "warmup_steps": 2, "lr_schedule": "cosine", "early_stopping": 50}),
    "several_labels": (lists, {"problem": "multi-label", "metric": "micro_f1"}),
    "a_number": (numbers, {"problem": "regression", "lr_schedule": "constant", "max_steps": 7, "eval_every": 0.5}),
    "pairs": (pairs, {"text_pair": "other", "micro_batch_size": 3, "seed": 5}),
    "balanced": (sentences, {"class_weight": "balanced", "max_grad_norm": None, "packing": "off"}),
    "weighted": (sentences, {"class_weight": {"p": 3.0}, "micro_batch_size": 3, "max_grad_norm": 0.1}),
    "grouped": (sentences, {"batching": "length-grouped", "batch_size": 4}),
    "frozen": (sentences, {"freeze": "backbone", "gradient_checkpointing": True}),
    "lora": (sentences, {"lora": {"rank": 4}, "learning_rate": 1e-2}),
    "dora": (sentences, {"lora": {"rank": 4, "dora": True, "targets": ("query", "dense")}}),
    "prompted": (sentences, {"prompt_tuning": {"tokens": 4}, "learning_rate": 0.1}),
    "tags": (tagged, {"task": "token-classification", "max_length": 12}),
    "tags_lora": (tagged, {"task": "token-classification", "class_weight": "balanced", "lora": {"rank": 2}}),
    "tags_prompted": (tagged, {"task": "token-classification", "prompt_tuning": {"tokens": 4}}),
    "texts": (sentences, {"task": "text-generation", "max_length": 12}),
    "texts_lora": (sentences, {"task": "text-generation", "lora": {"rank": 4}, "metric": "top5_accuracy"}),
    "texts_prompted": (sentences, {"task": "text-generation", "prompt_tuning": {"tokens": 4}}),
    "completions": (asked, {"task": "text-generation", "completion_only_loss": True}),
    "prompts": (asked, {"task": "text-generation"}),
    "answers": (talks, {"task": "text-generation", "completion_only_loss": True}),
    "talks": (talks, {"task": "text-generation"}),
    "causal_classes": (sentences, {}),
}
OTHERWISE: dict[str, tuple[Any, dict[str, Any]]] = {
    "masks": (sentences, {"task": "fill-mask", "max_length": 12, "whole_words": True}),
    "dropped": (sentences, {"dropout": 0.1}),
}
CAUSAL = {name for name, (_, fields) in CASES.items() if fields.get("task") == "text-generation"} | {"causal_classes"}


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_llama")
    words = ["<pad>", "<s>", "</s>", "<unk>", "User", "Assistant", ":", "is", *WORDS]
    tokens = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece(prefix="##")
    tokens.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token="<s>", eos_token="</s>", unk_token="<unk>", model_max_length=64
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), bos_token_id=1, eos_token_id=2, **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path, tiny_llama: Path):
    """Each run, and what its script said; all scripts in one process, as loading the libraries takes most of the time."""
    import torch

    root, threads = tmp_path_factory.mktemp("scripts"), torch.get_num_threads()
    torch.set_num_threads(1)
    settings = {"FM_NOTEBOOK_RUNS": root / "runs", "FM_NOTEBOOK_STATE": root / "state", "FM_NOTEBOOK_LANGUAGE": "en"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**settings, "HF_HUB_OFFLINE": "1", "FM_NOTEBOOK_WARM": "0"}.items():
            patch.setenv(name, str(value))
        runs = {}
        for name, (frame, fields) in {**CASES, **OTHERWISE}.items():
            rows = frame()
            model = tiny_llama if name in CAUSAL else tiny_bert
            given = {"model": str(model), "train": rows[:32], "eval": rows[32:], **FAST, **fields}
            runs[name] = fm_notebook.finetune(f"run_{name}", on="kernel", **given)
            (root / f"{name}.py").write_text(runs[name].code())
        quiet = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
        subprocess.run([sys.executable, "-P", "-c", DRIVER], cwd=root, env=quiet, check=True, capture_output=True)
        yield {name: (run, root / f"{name}.py", (root / f"{name}.txt").read_text()) for name, run in runs.items()}
    torch.set_num_threads(threads)


def losses(said: str) -> dict[int, tuple[float, float]]:
    found = re.findall(r"^step (\d+) loss (\S+) learning rate (\S+)$", said, re.MULTILINE)
    return {int(step): (float(loss), float(rate)) for step, loss, rate in found}


def scores(said: str) -> dict[int, dict[str, float]]:
    lines = re.findall(r"^step (\d+) ((?!loss \S+ learning).*)$", said, re.MULTILINE)
    return {int(step): {k: float(v) for k, v in zip(rest.split()[::2], rest.split()[1::2], strict=True)} for step, rest in lines}


def evaluations(run: fm_notebook.Run) -> dict[int, dict[str, float]]:
    from fm_notebook.contracts.events import EvalEnded
    from fm_notebook.jobs import journal

    return {e.step: e.metrics for e in journal.replay(run.job.jobfolder.events) if isinstance(e, EvalEnded)}


@pytest.mark.parametrize("name", CASES)
def test_a_script_repeats_losses_rates_and_scores(done: Any, name: str) -> None:
    run, _, said = done[name]
    history, found = run.history, losses(said)
    assert list(found) == list(history["step"]), said[-3000:]
    assert [loss for loss, _ in found.values()] == pytest.approx(list(history["loss"]), abs=TOLERANCE)
    assert [rate for _, rate in found.values()] == pytest.approx(list(history["learning_rate"]), rel=1e-3)
    expected = evaluations(run)
    assert list(scores(said)) == list(expected)
    for step, measured in scores(said).items():
        assert measured == pytest.approx({key: expected[step][key] for key in measured}, abs=2e-4), step
    assert set(next(iter(expected.values()))) & set(next(iter(scores(said).values()))) >= {run.result.metric, "loss"}


@pytest.mark.parametrize("name", OTHERWISE)
def test_where_masks_differ_the_script_says_so_and_does_the_rest(done: Any, name: str) -> None:
    run, script, said = done[name]
    history, found = run.history, losses(said)
    assert "alike and not the same" in re.sub(r"\s+", " ", script.read_text())
    assert [rate for _, rate in found.values()] == pytest.approx(list(history["learning_rate"]), rel=1e-3), said[-3000:]
    assert np.mean([loss for loss, _ in found.values()]) == pytest.approx(history["loss"].mean(), rel=0.15)
    assert list(scores(said)) == list(evaluations(run))


@pytest.mark.parametrize("name", [*CASES, *OTHERWISE])
def test_a_script_is_short_and_formatted(done: Any, name: str) -> None:
    _, script, _ = done[name]
    ruff = [sys.executable, "-m", "ruff"]
    isolated = ["--isolated", "--no-cache", str(script)]
    assert len(script.read_text().splitlines()) <= 220
    checked = subprocess.run([*ruff, "format", "--diff", *isolated], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    rules = ["--select", "E4,E7,E9,F,I,B,UP"]
    checked = subprocess.run([*ruff, "check", *rules, *isolated], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_best_weights_are_saved(done: Any) -> None:
    from safetensors.torch import load_file

    run, script, _ = done["single"]
    ours = load_file(run.folder / "model" / "model.safetensors")
    theirs = load_file(script.parent / f"{run.name}-again" / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert max(float((ours[key] - theirs[key]).abs().max()) for key in ours) < 1e-3
    assert json.loads((script.parent / f"{run.name}-again" / "config.json").read_text())["id2label"] == {"0": "n", "1": "p"}
