"""Families of models in a packed row: which ones can, and how their own heads find each text."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from fm_notebook.engine.models import quietly
from fm_notebook.engine.packing import NAME, Pack, pack, packed_attention

TOLERANCE = 1e-4  # of the largest logit; a text that sees its neighbour is off by 1e-3 and more, rounding by 1e-6


def enable(model: Any) -> None:
    """Let `model` attend within the texts of a packed row, and only so, until `disable`.

    Its configuration is copied first: models made from one configuration share it, and it is read at every call.

    Raises
    ------
    NotImplementedError
        If the architecture does not let its attention be chosen.
    """
    from transformers import AttentionInterface

    if is_enabled(model):
        return
    inner = unwrapped(model)
    AttentionInterface.register(NAME, packed_attention)  # and no mask's maker: without one transformers looks for none
    _own_config(model)
    found = inner.config._attn_implementation
    with quietly():
        inner.set_attn_implementation(NAME)
    if not is_enabled(model):
        raise NotImplementedError(f"{type(inner).__name__} does not let its attention be chosen")
    inner.attention_before = found  # on the model, so that a copy of it can be disabled too
    for module in inner.modules():
        if hasattr(module, _WARNS):
            setattr(module, _WARNS, _says_nothing)


def disable(model: Any) -> None:
    """Give `model` the attention it had before `enable`; nothing if it was not enabled."""
    if is_enabled(model):
        inner = unwrapped(model)
        inner.set_attn_implementation(vars(inner).pop("attention_before"))
        for module in inner.modules():
            vars(module).pop(_WARNS, None)


_WARNS = "warn_if_padding_and_no_attention_mask"
"""What some families (GPT-2) call in each forward: it reads ids, so that a GPU's host waits, and takes our filler for padding."""


def _says_nothing(*_: Any) -> None:
    """A packed row has no padding."""


def is_enabled(model: Any) -> bool:
    """Whether `model` takes packed rows now (and nothing else)."""
    return unwrapped(model).config._attn_implementation == NAME


def _own_config(model: torch.nn.Module) -> None:
    from transformers import PretrainedConfig

    copies: dict[int, Any] = {}  # one copy of each, however many modules hold it
    for module in model.modules():
        if isinstance(config := vars(module).get("config"), PretrainedConfig):
            vars(module)["config"] = copy.deepcopy(config, copies)


def unwrapped(model: Any) -> Any:
    """The transformers model in a peft wrapper, whose layers it already holds; any other model as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def virtual_tokens(model: Any) -> int:
    """Number of places that prompt tuning puts before each text, 0 for anything else."""
    return getattr(getattr(model, "active_peft_config", None), "num_virtual_tokens", None) or 0


def forward_texts(model: Any, ids: torch.Tensor, plan: Pack, type_ids: torch.Tensor | None = None) -> torch.Tensor:
    """Logits of the model's own head for each text of a packed row, shape ``(B, C)``.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        For classifying sequences; enabled.
    ids, type_ids : Tensor of int64, shape (T,) or (1, T)
        Any valid id in the tail.
    plan : Pack
    """
    inner = unwrapped(model)
    inputs = _inputs(inner, ids, plan, type_ids)
    if hasattr(inner, "score"):  # GPT-like heads look for the last token of each row in `input_ids`
        hidden = inner.base_model(**inputs, read_at=plan.ends).last_hidden_state
        return inner.score(hidden[0].index_select(0, plan.ends))
    means = getattr(inner.config, "classifier_pooling", "cls") == "mean"
    pool = _mean if means else _first
    if not means:
        inputs["read_at"] = plan.starts
    with _replaced(_before_pooler(inner.base_model), lambda hidden: pool(hidden[0], plan)[:, None]):
        return inner(**inputs).logits


def forward_tokens(
    model: Any, ids: torch.Tensor, plan: Pack, select: torch.Tensor, type_ids: torch.Tensor | None = None
) -> torch.Tensor:
    """Logits at the flat places `select`, shape ``(n,)``, of a packed row, shape ``(n, C)``; the head is computed there alone.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        With a head for tokens (classes, masked or next words); enabled.
    ids, type_ids : Tensor of int64, shape (T,) or (1, T)
        Any valid id in the tail.
    plan : Pack
    select : Tensor of int64, shape (n,)
    """
    inner = unwrapped(model)
    return _at_places(inner, {**_inputs(inner, ids, plan, type_ids), "read_at": select}, select)


def first_states(model: Any, ids: torch.Tensor, plan: Pack, type_ids: torch.Tensor | None = None) -> torch.Tensor:
    """The last hidden state of the first token of each text of a packed row, shape ``(B, D)``; no head takes part."""
    inner = unwrapped(model)
    inputs = {**_inputs(inner, ids, plan, type_ids), "read_at": plan.starts}
    return _first(inner.base_model(**inputs).last_hidden_state[0], plan)


def mean_states(model: Any, ids: torch.Tensor, plan: Pack, type_ids: torch.Tensor | None = None) -> torch.Tensor:
    """The last hidden state of each text of a packed row, averaged over its tokens, shape ``(B, D)``; no head takes part."""
    inner = unwrapped(model)
    return _mean(inner.base_model(**_inputs(inner, ids, plan, type_ids)).last_hidden_state[0], plan)


def padded_tokens(model: Any, batch: dict[str, torch.Tensor], select: torch.Tensor) -> torch.Tensor:
    """As `forward_tokens`, for inputs ``(B, T)`` padded as any model takes them; place b T + t is token t of text b."""
    if prompt := virtual_tokens(model):  # the wrapper puts them before each text, and calls the model with embeddings
        select = select + prompt * (select // batch["input_ids"].shape[1] + 1)
    return _at_places(model if prompt else unwrapped(model), batch, select)


def _at_places(inner: Any, inputs: dict[str, Any], select: torch.Tensor) -> torch.Tensor:
    with _replaced(unwrapped(inner).base_model, lambda hidden: hidden.flatten(0, 1).index_select(0, select)[None]):
        return inner(**inputs).logits.squeeze(0)


def _inputs(inner: Any, ids: torch.Tensor, plan: Pack, type_ids: torch.Tensor | None) -> dict[str, Any]:
    positions = plan.positions
    embeddings = getattr(inner.base_model, "embeddings", None)
    padding = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)
    if padding is not None:  # RoBERTa counts from its padding on
        positions = positions + (padding + 1)
    inputs = {"input_ids": ids.view(1, -1), "position_ids": positions[None], "plan": plan}
    if hasattr(embeddings, "token_type_embeddings") and type_ids is None:
        type_ids = torch.zeros_like(ids)  # some versions cut a buffer of the model's longest text to T
    if type_ids is not None:
        inputs["token_type_ids"] = type_ids.view(1, -1)
    if hasattr(inner.config, "use_cache"):
        inputs["use_cache"] = False
    return inputs


def _before_pooler(base: Any) -> Any:
    """The module that gives what the head reads: the encoder where the base model pools by itself (BERT, ALBERT)."""
    return base.encoder if getattr(base, "pooler", None) is not None else base


def _first(hidden: torch.Tensor, plan: Pack) -> torch.Tensor:
    return hidden.index_select(0, plan.starts)


def _mean(hidden: torch.Tensor, plan: Pack) -> torch.Tensor:
    tokens = hidden[: plan.tokens].float()
    return torch.segment_reduce(tokens, "mean", lengths=plan.lengths, axis=0, unsafe=True).to(hidden.dtype)  # safe: a GPU waits


@contextmanager
def _replaced(module: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Within it, `module` gives `change` of its last hidden state, so that the code of the head after it runs as it is."""

    def hook(_module: Any, _arguments: Any, output: Any) -> Any:
        output.last_hidden_state = change(output.last_hidden_state)
        return output

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def can_pack(model: Any) -> bool:
    """Whether `model` gives texts in a packed row the logits it gives them alone; tried on two short ones, in fp32.

    A family may take the name of an attention function and ignore it, so its word alone does not count. Model, settings and
    random state are left as they were; while it runs the weights are there twice, unless they are fp32. Call it once a load.
    """
    inner = unwrapped(model)
    if is_enabled(model):
        return True
    if not getattr(inner, "_supports_attention_backend", False) or _reshapes(model):
        return False
    with quietly(), _tried(inner) as device:
        try:
            alone, packed = _both_ways(model, device)
        except _REFUSALS:
            return False
        finally:
            disable(model)
    return alone.shape == packed.shape and bool((alone - packed).abs().max() <= TOLERANCE * alone.abs().max())


_REFUSALS = (ArithmeticError, AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)


def _reshapes(model: Any) -> bool:
    """Prompt tuning puts tokens before the text; the chunks of chunked attention are longer than the texts tried."""
    tuned = model.active_peft_config if hasattr(model, "get_base_model") else None
    chunks = getattr(unwrapped(model).config, "attention_chunk_size", None)
    return bool(getattr(tuned, "is_prompt_learning", False) or chunks)


def _both_ways(model: Any, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of two texts alone and packed, shape ``(2, C)`` or ``(tokens, C)``."""
    inner = unwrapped(model)
    plan = pack(np.array([7, 5]), device)
    ids = _some_ids(inner.config, len(plan.positions)).to(device)
    if inner.base_model is inner:  # without a head
        alone = [inner(input_ids=text[None]).last_hidden_state.mean(1) for text in ids[: plan.tokens].split([7, 5])]
        enable(model)
        return torch.cat(alone), mean_states(model, ids, plan)
    logits = [inner(input_ids=text[None]).logits for text in ids[: plan.tokens].split([7, 5])]
    alone = torch.cat([part.flatten(0, -2) for part in logits])
    enable(model)
    if logits[0].ndim == 2:
        return alone, forward_texts(model, ids, plan)
    return alone, forward_tokens(model, ids, plan, torch.arange(plan.tokens, device=device))


def _some_ids(config: Any, n: int) -> torch.Tensor:
    """Any `n` ids but that of padding, which some families look for."""
    ids = np.random.default_rng(0).integers(0, config.get_text_config().vocab_size, n)
    padding = config.get_text_config().pad_token_id
    return torch.from_numpy(np.where(ids == padding, 0 if padding else 1, ids))


@contextmanager
def _tried(model: torch.nn.Module) -> Iterator[torch.device]:
    """Evaluation mode, fp32, no gradient, no autocast; everything as found afterwards, the tensors themselves included."""
    device = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    tensors = [*model.parameters(), *model.buffers()]
    found = [(x, x.data) for x in tensors if x.is_floating_point() and x.dtype != torch.float32]
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad(), torch.autocast(device.type, enabled=False):
        try:
            model.eval()
            for x, data in found:
                x.data = data.float()
            yield device
        finally:
            for x, data in found:
                x.data = data
            for module, training in modes:
                module.training = training
