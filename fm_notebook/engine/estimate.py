"""How much memory training will take, by closed form, before it takes it.

With N weights of which M are trained, H hidden and I intermediate units, A heads, L layers, and t tokens in the fullest
micro-batch, whose texts' squared lengths sum to s:

- weights: their bytes
- casts: 2 N without embeddings, where products are in half precision: the cast weights live until the gradient is known. With a
  model in shards, also what is gathered: weights and gradients of all that is in no block, and of two blocks
- gradients: 4 M; optimizer: 8 M, AdamW's two moments
- activations: ``L (a t H + b f t I + c s A)``, what layers keep for the gradient (`KEPT`); f tensors of intermediate width;
  the last term falls away without dropout of attention weights. With gradient checkpointing ``4 L t H`` and one layer's
- logits: ``4 n V`` for each of `COPIES`, n being the places that have a target and V the outputs of the model
- saves: ``12 M`` for a checkpoint and 4 M for a best model, which lie in CPU memory while they are written beside the next steps
- overhead: on CPU what is there before the first step besides weights (rows, tokens, libraries that came with the model): not
  estimated but measured; `LATER`; and a fifth of the activations for kernels' work space and the gaps that grow between blocks

MiniLM at 2,048 tokens, growth of resident memory on
CPU: measured 500, 322, 719, 775 and 747 MB, estimated 503, 393, 578, 748 and 799 (kernels in fp32 and bf16, packed, padded, long
texts in bf16).

References
----------
Korthikanti et al. (2022), *Reducing activation recomputation in large transformer models*, section 4, for the form.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import psutil
import torch

from fm_notebook.contracts.events import Noted
from fm_notebook.contracts.protocols import IGNORED
from fm_notebook.engine.batching import Budget, Examples, padded_width
from fm_notebook.engine.families import unwrapped
from fm_notebook.engine.flops import cost_of
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.kernels import bert_layer
from fm_notebook.engine.memory import used
from fm_notebook.engine.sharding import gathered, local

Width = Literal["fp32", "half"]
KEPT: dict[tuple[Width, bert_layer.Way], tuple[int, int, int]] = {
    ("fp32", "own"): (40, 4, 12), ("half", "own"): (30, 2, 10), ("fp32", "torch"): (32, 4, 4), ("half", "torch"): (20, 2, 4),
    ("fp32", "c"): (32, 4, 4), ("half", "c"): (20, 2, 0),
}  # fmt: skip
"""a, b and c by precision and by how layers are computed, see `fm_notebook.engine.kernels.bert_layer`. Saved tensors were counted
for BERT, GPT-2, Llama and ModernBERT: without kernels a is 37 to 44 in fp32 and 23 to 36 in half precision, the rest as here."""
LATER = 40 * 10**6
"""What the first evaluation brings along on CPU: the libraries of scores and their work space."""
COPIES = 4
"""Of logits at once: they, their logarithms, and the gradients of both."""
MB = 10**6
PAGE = 4096


@dataclass(frozen=True)
class Memory:
    """Bytes that training holds, beyond libraries and data, by part.

    Attributes
    ----------
    accumulates : bool
        Whether a step is several micro-batches: then gradients lie there while the next one's activations come. Else gradients
        grow as activations go, and the larger of the two counts.
    """

    weights: int
    casts: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    saves: int = 0
    overhead: int = 0
    accumulates: bool = True

    @property
    def total(self) -> int:
        """The peak. How long a save lies beside the next step depends on the disk: half of the smaller of the two counts."""
        passing = self.casts + self.activations + self.logits
        step = self.gradients + passing if self.accumulates else max(self.gradients, passing)
        meeting = max(step, self.saves) + min(step, self.saves) // 2
        return self.weights + self.optimizer + meeting + self.overhead

    def to_come(self, device: torch.device, *, resumed: bool) -> int:
        """What the first step adds. Moments are there on a GPU and after a resume; new zeros on CPU take no memory yet."""
        there = self.weights + self.overhead + (self.optimizer if resumed or device.type != "cpu" else 0)
        return self.total - there

    def to_json(self) -> dict[str, int]:
        """Bytes by part, and the ``total``."""
        return {name: int(size) for name, size in asdict(self).items() if name != "accumulates"} | {"total": self.total}


def estimate(
    model: Any, examples: Examples, budget: Budget, forward: Forward, batch_size: int, *, saves: int = 0,
    overhead: int = 0,
) -> Memory:  # fmt: skip
    """What training `model` on `examples` will hold.

    Parameters
    ----------
    model : PreTrainedModel
        As it is trained: adapted, frozen, checkpointing, with its kernels.
    examples : Examples
        Their lengths decide how full a micro-batch of `budget` is.
    batch_size : int
        Texts of a step.
    saves : int
        Bytes of what is being saved while it trains, see `saves`.
    overhead : int
        Bytes that lie there beside the model, see `overhead`.
    """
    trained = sum(local(p).nbytes for p in model.parameters() if p.requires_grad)
    lengths = fullest(examples, budget, padded=forward.padded)
    half = forward.precision != "fp32"
    head = _head(model)
    learns = examples.features is None and _backbone_learns(model)
    activations = _activations(model, lengths, KEPT["half" if half else "fp32", _way(model)]) if learns else 0
    return Memory(
        weights=_bytes(model),
        casts=(2 * (cost_of(model).parameters + (0 if head is None else head.weight.numel())) if half else 0) + gathered(model),
        gradients=trained,
        optimizer=2 * trained,
        activations=activations,
        logits=4 * COPIES * round(_targets(examples, lengths)) * _outputs(model),
        saves=saves,
        overhead=overhead + activations // 5 if overhead else 0,
        accumulates=len(lengths) < min(batch_size, len(examples)),
    )


def saves(model: Any, absent_bytes: int = 0) -> int:
    """Bytes that a checkpoint and a best model take of a CPU's memory while they are written: weights, moments, weights again.

    A best model has the vectors of all words, `absent_bytes` of which the steps do without. The first process has them whole,
    also of a model in shards. Pinned memory beside a GPU is not the device's.
    """
    if next(model.parameters()).device.type != "cpu":
        return 0
    return 4 * sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad) + absent_bytes


def overhead(model: Any, idle: int | None) -> int:
    """Bytes beside `model` on CPU: what this process holds and did not when it was `idle`, and `LATER`.

    0 where `idle` is not known, and for a GPU.
    """
    if idle is None or next(model.parameters()).device.type != "cpu":
        return 0
    for p in model.parameters():
        local(p.detach()).flatten()[:: PAGE // p.element_size()].sum()  # a file's page takes no memory before it is read
    return max(0, used(torch.device("cpu")) - idle - _bytes(model)) + LATER


def fullest(examples: Examples, budget: Budget, *, padded: bool) -> np.ndarray:
    """Lengths of the texts in the fullest micro-batch that `budget` allows: the longest ones, padded to the first or not."""
    most = min(budget.texts, len(examples))
    lengths = np.sort(np.partition(examples.tokens.lengths, -most)[-most:])[::-1]
    if padded:
        width = padded_width(examples.batch(np.array([int(examples.tokens.lengths.argmax())])))
        return np.full(max(1, min(most, budget.tokens // width)), width)
    return lengths[: max(1, int(np.searchsorted(np.cumsum(lengths), budget.tokens, side="right")))]


def note(memory: Memory, device: torch.device, *, resumed: bool) -> Noted | None:
    """A warning, if what is to come is more than what is free."""
    needed, free = memory.to_come(device, resumed=resumed), free_bytes(device)
    if free is None or needed <= free:
        return None
    values = {"needed": round(needed / MB), "free": round(free / MB), "device": str(device)}
    return Noted(key="memory_tight", values=values, level="warning")


def free_bytes(device: torch.device) -> int | None:
    """What may still be taken on `device`; None where that is not known."""
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserved
    return psutil.virtual_memory().available if device.type == "cpu" else None


def _bytes(model: Any) -> int:
    return sum(local(p).nbytes for p in model.parameters())


def _activations(model: Any, lengths: np.ndarray, kept: tuple[int, int, int]) -> int:
    config = unwrapped(model).config.get_text_config()
    hidden, inner = config.hidden_size, getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
    tokens, squares = int(lengths.sum()), int((lengths.astype(np.int64) ** 2).sum())
    a, b, c = kept
    layer = a * tokens * hidden + b * _tensors_between(model, inner or 4 * hidden) * tokens * (inner or 4 * hidden)
    if _drops_attention(config) and not _is_fused(model):
        layer += c * squares * config.num_attention_heads
    if any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        return config.num_hidden_layers * 4 * tokens * hidden + layer
    return config.num_hidden_layers * layer


def _way(model: Any) -> bert_layer.Way:
    """How layers are computed; padded or adapted ones keep more. A last layer alone may compute otherwise for another reason."""
    ways: set[bert_layer.Way] = {
        bert_layer.way_of(module) for module in model.modules() if type(module).__name__ in bert_layer.LAYERS
    }
    return ways.pop() if len(ways) == 1 else "own"


def _tensors_between(model: Any, inner: int) -> int:
    """Tensors of intermediate width: two around one operator; four with a gate; five where GELU is written out in Python."""
    config = unwrapped(model).config.get_text_config()
    names = ("hidden_act", "activation_function", "hidden_activation", "activation")
    name = str(next((value for key in names if (value := getattr(config, key, None))), "gelu"))
    linear = [(key, m) for key, m in unwrapped(model).named_modules() if isinstance(m, torch.nn.Linear)]
    gated = any(key.endswith("gate_proj") or m.out_features == 2 * inner for key, m in linear)
    return 4 if gated else 5 if name in {"gelu_new", "gelu_fast", "quick_gelu"} else 2


def _is_fused(model: Any) -> bool:
    """Whether attention is one kernel, which keeps none of its weights: on a GPU, unless the family computes it by hand."""
    on_gpu = next(model.parameters()).device.type == "cuda"
    return on_gpu and unwrapped(model).config._attn_implementation != "eager"


def _drops_attention(config: Any) -> bool:
    names = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")
    return any(getattr(config, name, None) for name in names)


def _backbone_learns(model: Any) -> bool:
    """Whether a gradient runs through the layers: something in or before them is trained."""
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    return any(".layer" in name or ".h." in name or "embed" in name or "lora" in name or "prompt" in name for name in names)


def _targets(examples: Examples, lengths: np.ndarray) -> float:
    """Places that have a target, in texts of these `lengths`."""
    if examples.level == "text":
        return len(lengths)
    seen = examples.batch(np.arange(min(64, len(examples))))
    return float(lengths.sum()) * np.count_nonzero(seen.targets != IGNORED) / max(1, len(seen.ids))


def _head(model: Any) -> Any:
    return getattr(unwrapped(model), "get_output_embeddings", lambda: None)()


def _outputs(model: Any) -> int:
    head = _head(model)
    return head.weight.shape[0] if head is not None else getattr(unwrapped(model).config, "num_labels", 1)
