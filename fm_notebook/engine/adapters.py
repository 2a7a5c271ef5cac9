"""Adapters by peft: put on before training, merged on a copy for export.

A model that is adapted is a `peft.PeftModel` around the transformers model. LoRA changes that model's layers in place, so that
`unwrapped` may be called and cut into backbone and head as before. Prompt tuning happens in the wrapper's forward: there the
wrapper must be called, with padded batches, and answers with `virtual_tokens` more places at the front.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, TaskType, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as TARGETS
from safetensors.torch import load_file, save_file
from transformers.models.auto import modeling_auto
from transformers.pytorch_utils import Conv1D

from fm_notebook.contracts.adapters import LoraSpec, PromptTuningSpec
from fm_notebook.engine.families import unwrapped, virtual_tokens
from fm_notebook.engine.models import quietly
from fm_notebook.errors import SpecError, did_you_mean

ROOM = 16
"""Places of a model that a prompt leaves to the text, at least; RoBERTa reserves two of them."""
FOLDER = "adapter"
HEAD = "head.safetensors"
_TASKS = {
    "ForSequenceClassification": TaskType.SEQ_CLS,
    "ForTokenClassification": TaskType.TOKEN_CLS,
    "ForCausalLM": TaskType.CAUSAL_LM,
    "LMHeadModel": TaskType.CAUSAL_LM,
}
_CLASSIFIERS = (TaskType.SEQ_CLS, TaskType.TOKEN_CLS)


def adapt(model: Any, spec: LoraSpec | PromptTuningSpec, *, fresh: Sequence[str] = (), seed: int = 0) -> Any:
    """`model` with a new adapter, changed in place: only the adapter, a classifier's head and what is `fresh` are trainable.

    Parameters
    ----------
    model : PreTrainedModel
        In fp32.
    spec : LoraSpec or PromptTuningSpec
    fresh : sequence of str
        Parameters that were drawn at random, because the weights lack them (`Loaded.fresh`).
    seed : int
        Seed of the adapter's first weights; torch's generators stay where they are.

    Raises
    ------
    SpecError
        If a target is no linear layer below the head, prompt tuning does not fit the model, or the prompt leaves no room.
    """
    learnt = _learnt(model, fresh)
    config = _lora(model, spec, learnt) if isinstance(spec, LoraSpec) else _prompt(model, spec)
    with torch.random.fork_rng(devices=[]), _peft_quiet():
        torch.manual_seed(seed)
        adapted = get_peft_model(model, config)
    for name, p in unwrapped(adapted).named_parameters():
        if name in learnt:  # under another name by now where peft keeps a trainable copy
            p.requires_grad_(True)
    return adapted


def merged(model: Any) -> Any:
    """The plain transformers model that computes what `model` does; `model` is not touched and can go on training.

    It shares every frozen weight that has no adapter, so it costs a copy of the adapted layers and of what is trained: 6 % of
    BERT with the default targets, nearly all of a model where every linear layer is adapted. Use it before the next step.
    A prompt cannot be merged: the model without it is the answer.
    """
    if not isinstance(model, PeftModel) or virtual_tokens(model):
        return unwrapped(model)
    changed = {id(p) for layer in model.modules() if isinstance(layer, LoraLayer) for p in layer.parameters()}
    shared = {id(p): p for p in model.parameters() if not p.requires_grad and id(p) not in changed}
    # Not merge_adapter and unmerge_adapter: adding and subtracting does not give the same bits back.
    twin: Any = copy.deepcopy(model, shared)
    return twin.merge_and_unload()


def save(model: Any, folder: Path) -> None:
    """Write what is needed to use `model` again; safetensors throughout.

    - no adapter: the transformers folder;
    - LoRA, DoRA: the merged model as a transformers folder, which needs no peft, and the small adapter in ``adapter/``;
    - prompt tuning: ``adapter/`` and ``config.json``. The weights of the base are not repeated: to use it, load the base (see
      `base_of`) with that configuration, then `attach`.
    """
    with quietly():
        if not virtual_tokens(model):
            merged(model).save_pretrained(folder)
        else:
            config = copy.deepcopy(unwrapped(model).config)
            config.architectures = [type(unwrapped(model)).__name__]
            config.save_pretrained(folder)
        if isinstance(model, PeftModel):
            _save_adapter(model, folder / FOLDER)


def base_of(folder: Path) -> str | None:
    """Where the base of the adapter that `save` wrote was loaded from; None where the folder can be loaded without it."""
    config = folder / FOLDER / "adapter_config.json"
    if any(folder.glob("*.safetensors")) or not config.is_file():
        return None
    return json.loads(config.read_text())["base_model_name_or_path"]


def attach(model: Any, folder: Path) -> Any:
    """The base `model` with the adapter (and the head learnt with it) that `save` wrote into `folder`; for use, not training."""
    with quietly(), _peft_quiet():
        adapted = PeftModel.from_pretrained(model, str(folder / FOLDER))
    if (head := folder / FOLDER / HEAD).is_file():
        wanted = dict(unwrapped(adapted).named_parameters())
        with torch.no_grad():
            for name, tensor in load_file(head).items():
                wanted[name].copy_(tensor)
    return adapted.eval()


def _lora(model: Any, spec: LoraSpec, learnt: Sequence[str]) -> LoraConfig:
    linear = {name: module for name, module in _linear(model) if not _is_in(name, learnt)}
    targets = _targets(model, spec, linear)
    turned = all(isinstance(linear[name], Conv1D) for name in _ending(linear, targets))
    return LoraConfig(
        task_type=_task(model), r=spec.rank, lora_alpha=spec.scale * spec.rank, lora_dropout=spec.dropout,  # pyright: ignore[reportArgumentType]
        target_modules=targets, modules_to_save=_modules(model, learnt), use_dora=spec.dora, fan_in_fan_out=turned,
    )  # fmt: skip


def _targets(model: Any, spec: LoraSpec, linear: dict[str, Any]) -> list[str]:
    """Ends of names if these match nothing but the backbone's linear layers, else whole names."""
    ends = sorted({name.rpartition(".")[2] for name in linear})
    wanted = list(spec.targets or TARGETS.get(model.config.model_type, ends))
    for end in wanted:
        if not _ending(linear, [end]):
            hint, known = did_you_mean(end, ends), ", ".join(ends)
            raise SpecError("adapter.target", model=type(model).__name__, target=end, hint=hint, known=known)
    found = _ending(linear, wanted)
    everywhere = _ending([name for name, _ in model.named_modules()], wanted)
    return wanted if set(found) == set(everywhere) else found


def _prompt(model: Any, spec: PromptTuningSpec) -> PromptTuningConfig:
    task = _task(model)
    if task is None or (task == TaskType.SEQ_CLS and type(model.config) not in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING):
        # GPT-like heads read the last token before the padding, which they cannot find behind embeddings
        raise SpecError("adapter.prompt", model=type(model).__name__)
    most = getattr(model.config, "max_position_embeddings", None)
    if most is not None and spec.tokens > most - ROOM:
        raise SpecError("adapter.prompt_too_long", tokens=spec.tokens, positions=most, most=most - ROOM)
    words = model.get_input_embeddings().embedding_dim  # peft takes the hidden size, which is another in ELECTRA
    return PromptTuningConfig(
        task_type=task, num_virtual_tokens=spec.tokens, token_dim=words,
        num_layers=model.config.num_hidden_layers, num_attention_heads=model.config.num_attention_heads,
    )  # fmt: skip


def _task(model: Any) -> TaskType | None:
    return next((task for ending, task in _TASKS.items() if type(model).__name__.endswith(ending)), None)


def _learnt(model: Any, fresh: Sequence[str]) -> list[str]:
    """Names of the parameters that learn besides the adapter: what is fresh, and a classifier's head."""
    backbone = {id(p) for p in model.base_model.parameters()}
    head = [name for name, p in model.named_parameters() if id(p) not in backbone and _task(model) in _CLASSIFIERS]
    return sorted({*head, *(name for name, _ in model.named_parameters() if name in set(fresh))})


def _modules(model: Any, learnt: Sequence[str]) -> list[str] | None:
    """A classifier's modules of `learnt`, for peft to keep with the adapter; a language head is tied and stays in its place."""
    if _task(model) not in _CLASSIFIERS:
        return None
    prefix = f"{model.base_model_prefix}."
    return sorted({name.rpartition(".")[0] if name.startswith(prefix) else name.partition(".")[0] for name in learnt})


def _linear(model: Any) -> Iterator[tuple[str, Any]]:
    backbone = {id(module) for module in model.base_model.modules()}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D) and id(module) in backbone:
            yield name, module


def _ending(names: Any, ends: Sequence[str]) -> list[str]:
    return [name for name in names if any(name == end or name.endswith(f".{end}") for end in ends)]


def _is_in(module: str, parameters: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}.") for name in parameters)


@contextmanager
def _peft_quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)  # peft 0.21 with transformers 5.23
        yield


def _save_adapter(model: PeftModel, folder: Path) -> None:
    model.save_pretrained(str(folder), save_embedding_layers=False)  # "auto" asks the hub
    (folder / "README.md").unlink(missing_ok=True)  # peft's form with nothing filled in
    known = {p.data_ptr() for p in get_peft_model_state_dict(model, save_embedding_layers=False).values()}
    rest = {name: p.detach() for name, p in unwrapped(model).named_parameters() if p.requires_grad and p.data_ptr() not in known}
    if rest:
        save_file({name: p.contiguous() for name, p in rest.items()}, folder / HEAD)
