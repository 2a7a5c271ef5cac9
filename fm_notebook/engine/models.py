"""Models and tokenizers from where a `ModelRef` says, refused in words before anything unsafe is read."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fm_notebook.contracts.specs import ModelRef
from fm_notebook.errors import ModelError

PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.h5", "*.msgpack")


@dataclass(frozen=True)
class ModelSource:
    """What to load and how: references to weights and tokenizer, what the user allows, and the seed of a fresh head."""

    model: ModelRef
    tokenizer: ModelRef | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False
    dropout: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Loaded:
    """A model in fp32 on the CPU; `fresh` names the parameters that were drawn at random, because the weights lack them."""

    model: Any
    fresh: tuple[str, ...] = ()

    @property
    def labels(self) -> list[str]:
        """Names of the model's outputs, in their order."""
        names = self.model.config.id2label
        return [str(names[i]) for i in range(len(names))]


def load_tokenizer(source: ModelSource) -> Any:
    """The tokenizer, with a padding token (one of its own special tokens, if it was made without).

    Raises
    ------
    ModelError
        If there is none, or it needs code or has no token to pad with.
    """
    from transformers import AutoTokenizer

    ref = _safetensors(source.tokenizer or source.model)
    with _named(ref, "weights.no_tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(ref.location, trust_remote_code=source.trust_remote_code, **_options(ref))
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # what transformers makes up where the vocabulary is missing
        raise ModelError("weights.no_tokenizer", name=ref.source, reason="")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise ModelError("weights.no_pad_token", name=ref.source)
    return tokenizer


def load_classifier(source: ModelSource, labels: Sequence[str] | None, problem: str = "single_label_classification") -> Loaded:
    """A model that gives one logit a label (for ``regression`` the one number); ``labels=None`` keeps its own head and names.

    Raises
    ------
    ModelError
        If the model is not there, is only there as pickle or code (and that was not allowed), does not fit its weights, or its
        architecture has no form for classifying sequences.
    """
    return load(source, "SequenceClassification", labels, problem_type=problem)


def load(source: ModelSource, head: str, labels: Sequence[str] | None = None, **settings: Any) -> Loaded:
    """A model with the head that transformers' ``AutoModelFor<head>`` gives it.

    Parameters
    ----------
    head : str
        ``SequenceClassification``, ``TokenClassification``, ``MaskedLM``, ``CausalLM`` or ``PreTraining``; empty: without a head.
        Weights in GGUF are converted first, see `fm_notebook.engine.gguf`.
    labels : sequence of str, optional
        Names of the outputs; None keeps the model's own head and names, or is for heads without labels.
    **settings
        Set in the configuration along with `labels`.

    Raises
    ------
    ModelError
        See `load_classifier`.
    """
    from fm_notebook.engine.adapters import attach, base_of

    refuse_unsafe(source)
    source = replace(source, model=_safetensors(source.model))
    ref, config = source.model, _config(source)
    if labels is not None:
        config.num_labels = len(labels)
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
        for name, value in settings.items():
            setattr(config, name, value)
    if source.dropout is not None:
        _set_dropout(config, source.dropout)
    prompted = base_of(Path(ref.location))  # a result of prompt tuning: the base's weights, and what was learnt beside them
    torch.manual_seed(source.seed)
    key = "weights.no_sequence_head" if head == "SequenceClassification" else "weights.no_head"
    with _named(ref, key, architecture=config.model_type, head=head):
        model, info = _loader(ref, head).from_pretrained(
            prompted or ref.location, config=config, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True,
            trust_remote_code=source.trust_remote_code, use_safetensors=None if source.allow_pickle else True,
            **_options(ref),
        )  # fmt: skip
    fresh = sorted({*info["missing_keys"], *(key if isinstance(key, str) else key[0] for key in info["mismatched_keys"])})
    _check_backbone(model, fresh, ref)
    if prompted:
        return Loaded(attach(model, Path(ref.location)))
    return Loaded(model, tuple(fresh))


def has_head(source: ModelSource, *heads: str) -> bool:
    """Whether the weights were saved with one of `heads` (by default one for classifying sequences)."""
    refuse_unsafe(source)
    if source.model.class_path:
        return True
    ends = tuple(f"For{head}" for head in heads or ("SequenceClassification",))
    if "CausalLM" in heads:
        ends += ("LMHeadModel",)  # GPT-2's name for it
    named = configuration(source).architectures
    return any(name.endswith(ends) for name in named or [])


def configuration(source: ModelSource) -> Any:
    """The model's configuration, whose ``architectures`` say with which head the weights were saved; reads no weights.

    Raises
    ------
    ModelError
        See `load_classifier`.
    """
    return _config(replace(source, model=_safetensors(source.model)))


def set_pad_token(model: Any, tokenizer: Any) -> None:
    """Tell the model which token is padding: GPT-like heads read the last token before it."""
    if model.config.pad_token_id is None or model.config.pad_token_id != tokenizer.pad_token_id:
        model.config.pad_token_id = tokenizer.pad_token_id


def longest_text(model: Any, tokenizer: Any) -> int:
    """Most tokens that model and tokenizer take, special ones included."""
    most = int(min(tokenizer.model_max_length, 2**31 - 1))
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding) and name.rpartition(".")[2] in ("position_embeddings", "wpe"):
            reserved = 0 if module.padding_idx is None else module.padding_idx + 1  # RoBERTa counts from its padding on
            most = min(most, module.num_embeddings - reserved)
    return most


def refuse_unsafe(source: ModelSource) -> None:
    """Refuse pickled weights and code from the model's folder unless the user allowed them; reads no weights.

    Raises
    ------
    ModelError
        If something unsafe would be needed, or there is no model.
    """
    ref = source.model
    if ref.file:
        return  # GGUF holds tensors and settings, no code
    settings = _settings(ref)
    if settings.get("auto_map") and not source.trust_remote_code:
        raise ModelError("weights.remote_code", name=ref.source)
    folder = Path(ref.location)
    if ref.kind == "hub" or source.allow_pickle or any(folder.glob("*.safetensors")) or (folder / "adapter").is_dir():
        return
    if pickled := sorted(path.name for pattern in PICKLES for path in folder.glob(pattern)):
        raise ModelError("weights.pickle", name=ref.source, files=", ".join(pickled))
    raise ModelError("weights.no_weights", name=ref.source, folder=str(folder))


def _settings(ref: ModelRef) -> dict[str, Any]:
    from transformers import PretrainedConfig

    if ref.kind != "hub" and not (Path(ref.location) / "config.json").is_file():
        raise ModelError("weights.no_config", name=ref.source, folder=ref.location)
    with _named(ref, "weights.not_found"):
        return PretrainedConfig.get_config_dict(ref.location, **_options(ref))[0]


def _config(source: ModelSource) -> Any:
    from transformers import AutoConfig

    ref = source.model
    with _named(ref, "weights.unknown_architecture"):
        if ref.class_path:
            return _class(ref).config_class.from_pretrained(ref.location)
        return AutoConfig.from_pretrained(ref.location, trust_remote_code=source.trust_remote_code, **_options(ref))


def _loader(ref: ModelRef, head: str) -> Any:
    import transformers

    return _class(ref) if ref.class_path else getattr(transformers, f"AutoModelFor{head}" if head else "AutoModel")


def _class(ref: ModelRef) -> Any:
    module, _, name = ref.class_path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ModelError("weights.class_not_importable", name=ref.source, path=ref.class_path) from error


def _options(ref: ModelRef) -> dict[str, Any]:
    options: dict[str, Any] = {"local_files_only": ref.kind != "hub" or os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")}
    if ref.revision and ref.kind == "hub":
        options["revision"] = ref.revision
    return options


def _safetensors(ref: ModelRef) -> ModelRef:
    """`ref`, or where its GGUF weights lie converted; the conversion is made if there is none."""
    if not ref.file:
        return ref
    from fm_notebook.engine import gguf

    return ref.model_copy(update={"location": str(gguf.converted(Path(ref.location), ref.file)), "file": ""})


@contextmanager
def _named(ref: ModelRef, key: str, **values: Any) -> Iterator[None]:
    """Turn the errors of the loading libraries into ours; their first line is the reason."""
    try:
        with quietly():
            yield
    except ModelError:
        raise
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
        if "does not appear to have a file named" in reason and "safetensors" in reason:
            raise ModelError("weights.pickle", name=ref.source, files="pytorch_model.bin") from error
        raise ModelError(key, name=ref.source, reason=reason, **values) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Without transformers' progress bars and load reports: what they tell is an event of ours."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _set_dropout(config: Any, rate: float) -> None:
    for name, value in vars(config).items():
        if ("dropout" in name or name.endswith("pdrop")) and isinstance(value, int | float) and not isinstance(value, bool):
            setattr(config, name, rate)


def _check_backbone(model: Any, fresh: Sequence[str], ref: ModelRef) -> None:
    """Weights of another architecture load without an error and leave everything random: that is one."""
    prefix = f"{model.base_model_prefix}."
    is_backbone: Callable[[str], bool] = lambda name: name.startswith(prefix) and ".pooler." not in name  # noqa: E731
    backbone = [name for name, _ in model.named_parameters() if is_backbone(name)]
    lost = [name for name in fresh if is_backbone(name)]
    if backbone and len(lost) > len(backbone) / 2:
        raise ModelError("weights.weights_do_not_fit", name=ref.source, missing=len(lost), total=len(backbone))
