"""Every task trains, scores and predicts on a GPU, with the losses that the CPU finds."""

import math
from typing import Any

import pytest
import torch

import fm_notebook

pytestmark = pytest.mark.gpu

FAST = {"epochs": 2.0, "batch_size": 8, "learning_rate": 1e-3, "dropout": 0.0, "max_length": 32}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "classes": ("sentences", {}),
    "padded": ("sentences", {"packing": "off"}),
    "grouped": ("sentences", {"batching": "length-grouped"}),
    "in_parts": ("sentences", {"micro_batch_size": 3}),
    "frozen": ("sentences", {"freeze": "backbone"}),
    "recomputed": ("sentences", {"gradient_checkpointing": True}),
    "lora": ("sentences", {"lora": {"rank": 4}, "learning_rate": 1e-2}),
    "prompted": ("sentences", {"prompt_tuning": {"tokens": 4}, "learning_rate": 1e-2}),
    "tags": ("tagged", {"task": "token-classification"}),
    "masks": ("sentences", {"task": "fill-mask"}),
    "words": ("sentences", {"task": "text-generation"}),
    "words_lora": ("sentences", {"task": "text-generation", "lora": {"rank": 4}}),
    "causal_classes": ("sentences", {}),
}
CAUSAL = {"words", "words_lora", "causal_classes"}


@pytest.fixture
def train(home, rows, tiny_bert, tiny_llama):
    def train(case: str, device: str, precision: str, **more: Any) -> Any:
        kind, fields = CASES[case]
        given = {"model": str(tiny_llama if case in CAUSAL else tiny_bert), "train": rows[kind][:72], "eval": rows[kind][72:]}
        asked = {**FAST, **fields, "device": device, "precision": precision, **more}
        return fm_notebook.finetune(f"{case}_{device}_{precision}", on="kernel", **given, **asked)

    return train


@pytest.mark.parametrize("case", CASES)
def test_losses_are_those_of_the_cpu(train, case):
    here, there = train(case, "cuda", "fp32"), train(case, "cpu", "fp32")
    found, right = here.history["loss"].to_numpy(), there.history["loss"].to_numpy()
    assert len(right) == 18
    assert found == pytest.approx(right, rel=2e-4, abs=2e-4)
    assert here.result.peak_memory_bytes > 0
    metric = here.result.metric
    assert here.result.metrics[metric] == pytest.approx(there.result.metrics[metric], rel=1e-2, abs=1e-2)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("case", CASES)
def test_half_precision_follows_fp32(train, case, precision):
    found, right = (train(case, "cuda", each).history["loss"].to_numpy() for each in (precision, "fp32"))
    assert found[0] == pytest.approx(right[0], rel=2e-2, abs=2e-2)  # later ones drift apart
    assert abs(found - right).mean() < 0.05


@pytest.mark.parametrize("case", ["classes", "tags", "masks", "words"])
def test_with_dropout_it_learns(train, case):
    losses = train(case, "cuda", "bf16", dropout=0.1, epochs=4.0).history["loss"]
    assert losses[-5:].mean() < losses[:5].mean()


def test_a_model_from_the_gpu_scores_and_predicts_as_on_the_cpu(train, rows):
    run = train("classes", "cuda", "bf16", epochs=6.0)
    texts = rows["sentences"][72:]
    found = [fm_notebook.evaluate(run, texts, on="kernel", again=True, device=device).scores for device in ("cuda", "cpu")]
    on_gpu, on_cpu = ({score.name: score.value for score in scores} for scores in found)
    assert on_gpu == pytest.approx(on_cpu, abs=2e-2)
    model, tokenizer = run.load()
    with torch.no_grad():
        right = model(**tokenizer(list(texts["text"]), padding=True, return_tensors="pt")).logits.softmax(-1).numpy()
    assert run.predict(list(texts["text"]))[["n", "p"]].to_numpy() == pytest.approx(right, abs=2e-2)


def test_what_is_estimated_before_is_what_the_gpu_holds(train, home, rows, tiny_bert):
    found = fm_notebook.dry_run("tried", model=str(tiny_bert), train=rows["sentences"], on="kernel", device="cuda", **FAST)
    assert found.device.startswith("cuda")
    assert all(math.isfinite(seconds) for seconds in found.step_seconds)
