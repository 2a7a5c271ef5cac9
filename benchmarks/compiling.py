"""Does torch.compile make a packed training step faster, and what does it cost?

``python benchmarks/compiling.py FAMILY... [--regions between|layers] [--texts N] [--steps N] [--fp32] [--dropout] [--json]``

Two equal models of a family train on the same batches, step by step in turn: as the engine does it, and with regions of each
layer compiled for any row length. *between*: norms and MLP; *layers*: each layer, with attention in Python between two graphs.
Widths of rows differ as texts do. Random weights, dropout 0 unless asked for. Each family is measured in a process of its own,
twice: with an empty cache of kernels on disk and with the one that this left.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

FAMILIES = {
    "gpt2": {"n_layer": 4, "n_embd": 576, "n_head": 9},
    "llama": {
        "num_hidden_layers": 4, "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3,
    },
    "distilbert": {"n_layers": 4, "dim": 576, "n_heads": 9, "hidden_dim": 2304},
    "modernbert": {"num_hidden_layers": 4, "hidden_size": 576, "intermediate_size": 864, "num_attention_heads": 9},
}  # fmt: skip
"""Few layers, so that a busy machine gives enough steps; hidden 576 as SmolLM2-135M's. Ratios of steps hardly depend on depth."""
DROPOUTS = (
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "dropout",
    "attention_dropout",
    "seq_classif_dropout",
    "summary_first_dropout",
)
WORDS, MEAN, SPREAD, SHORTEST, LONGEST = 8000, 3.1, 0.5, 5, 128
WARM_UP = 6
BETWEEN = ("mlp", "ffn", "input_layernorm", "post_attention_layernorm", "ln_1", "ln_2", "attn_norm", "mlp_norm", "sa_layer_norm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="+", choices=FAMILIES)
    parser.add_argument("--regions", choices=("between", "layers"), default="layers")
    parser.add_argument("--texts", type=int, default=16)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--fp32", action="store_true")
    parser.add_argument("--dropout", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        print(json.dumps(measure(asked)))
        return
    found = [each for family in asked.families for each in _in_processes(family)]
    print(json.dumps(found, indent=1) if asked.json else table(found))


def _in_processes(family: str) -> Iterator[dict[str, Any]]:
    options = [each for each in sys.argv[1:] if each not in FAMILIES and each != "--json"]
    with tempfile.TemporaryDirectory(prefix="fm_notebook-compiling-") as folder:
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": folder, "GOMP_SPINCOUNT": "2000"}
        for cache in ("empty", "filled"):
            command = [sys.executable, str(Path(__file__)), family, *options, "--inside"]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            yield {"family": family, "cache": cache, **json.loads(done.stdout.splitlines()[-1])}


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Seconds of steps and their losses, with the regions compiled and without."""
    import torch
    from torch._dynamo.utils import counters

    torch.set_num_threads(2)
    began = time.perf_counter()
    plain, compiled = (Training(asked, compiled=each) for each in (False, True))
    seconds, work, losses = [], [], []
    for step in range(WARM_UP + asked.steps):
        sides = (plain, compiled) if step % 2 else (compiled, plain)
        found = {each: each.step(step) for each in sides}
        seconds.append((found[plain][0], found[compiled][0]))
        work.append((found[plain][1], found[compiled][1]))
        losses.append((found[plain][2], found[compiled][2]))
    steady = seconds[WARM_UP:]
    ratios = [with_it / without for without, with_it in steady]
    busy = [with_it / without for without, with_it in work[WARM_UP:]]
    first = sum(with_it - without for without, with_it in seconds[:WARM_UP])
    return {
        "regions": asked.regions, "texts": asked.texts, "precision": "fp32" if asked.fp32 else "bf16", "steps": len(steady),
        "warm_up_seconds": first, "plain_seconds": median(a for a, _ in steady), "compiled_seconds": median(b for _, b in steady),
        "ratio": median(ratios), "quartiles": quantiles(ratios)[::2], "processor_ratio": median(busy),
        "warm_up_processor_seconds": sum(with_it - without for without, with_it in work[:WARM_UP]),
        "graphs": counters["stats"]["unique_graphs"], "breaks": sum(counters["graph_break"].values()),
        "loss_difference": max(abs(a - b) / abs(a) for a, b in losses[:20]),
        "process_seconds": time.perf_counter() - began,
    }  # fmt: skip


class Training:
    """A model in training, the same for the same seed."""

    def __init__(self, asked: argparse.Namespace, *, compiled: bool) -> None:
        import torch

        from fm_notebook.engine import families, optim
        from fm_notebook.engine.kernels import switch

        self.causal, self.fp32, self.texts = asked.families[0] in ("gpt2", "llama"), asked.fp32, asked.texts
        torch.manual_seed(0)
        self.model = _model(asked.families[0], asked.dropout, self.causal)
        families.enable(self.model)
        switch.enable(self.model, 0)
        if compiled:
            compile_regions(families.unwrapped(self.model), asked.regions)
        self.optimizer = optim.adamw(optim.parameter_groups(self.model, 0.0), 5e-5)

    def step(self, step: int) -> tuple[float, float, float]:
        """Its seconds, those of the processor, and its loss."""
        import numpy as np
        import torch
        import torch.nn.functional as F  # noqa: N812

        from fm_notebook.engine import families, packing

        rng = np.random.default_rng(step)
        lengths = np.exp(rng.normal(MEAN, SPREAD, self.texts)).clip(SHORTEST, LONGEST).astype(np.int64)
        torch.manual_seed(step)
        began, busy = time.perf_counter(), time.process_time()
        plan = packing.pack(lengths)
        ids = torch.from_numpy(rng.integers(5, WORDS, len(plan.positions)))
        with torch.autocast("cpu", torch.bfloat16, enabled=not self.fp32):
            if self.causal:
                places = torch.arange(plan.tokens - 1)
                logits, targets = families.forward_tokens(self.model, ids, plan, places), ids[1 : plan.tokens]
            else:
                logits, targets = families.forward_texts(self.model, ids, plan), ids[plan.starts] % 2
        loss = F.cross_entropy(logits.float(), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.perf_counter() - began, time.process_time() - busy, loss.item()


def _model(family: str, dropout: bool, causal: bool) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    config = AutoConfig.for_model(family, vocab_size=WORDS, pad_token_id=0, **FAMILIES[family])
    for name in DROPOUTS:
        if hasattr(config, name) and not dropout:
            setattr(config, name, 0.0)
    return (AutoModelForCausalLM if causal else AutoModelForSequenceClassification).from_config(config).train()


def compile_regions(model: Any, regions: str) -> None:
    """Compile in place, for rows of any length; attention, whose groups are Python's, stays as it is."""
    import torch
    from transformers import AttentionInterface

    from fm_notebook.engine.packing import NAME, packed_attention

    torch._dynamo.config.cache_size_limit = 64
    AttentionInterface.register(NAME, torch._dynamo.disable(packed_attention))
    together: Callable[..., Any] = partial(torch.compile, dynamic=True)
    for stack in (each for each in model.modules() if isinstance(each, torch.nn.ModuleList)):
        for layer in stack:
            if regions == "layers":
                layer.forward = together(layer.forward)
                continue
            for name, each in layer.named_children():
                if name in BETWEEN or name == "output_layer_norm":
                    each.forward = together(each.forward)


def table(found: list[dict[str, Any]]) -> str:
    """As Markdown."""
    columns = ("family", "texts", "precision", "regions", "cache", "warm-up, s", "as it is, ms", "compiled, ms")
    columns = (*columns, "ratio (quartiles)", "of processor time", "graphs", "loss")
    head = f"| {' | '.join(columns)} |"
    lines = [head, "|" + "---|" * len(columns)]
    for x in found:
        low, high = x["quartiles"]
        lines.append(
            f"| {x['family']} | {x['texts']} | {x['precision']} | {x['regions']} | {x['cache']} | {x['warm_up_seconds']:.0f}"
            f" | {1e3 * x['plain_seconds']:.0f} | {1e3 * x['compiled_seconds']:.0f} | {x['ratio']:.2f} ({low:.2f}–{high:.2f})"
            f" | {x['processor_ratio']:.2f} | {x['graphs']} | {x['loss_difference']:.0e} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
