"""The form of a model that can be asked what a probe needs; refused in words where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from fm_notebook import messages
from fm_notebook.contracts.capabilities import Capability
from fm_notebook.engine import causal, models
from fm_notebook.engine.capabilities.subject import LoadedSubject, lacking, subject_of
from fm_notebook.engine.families import unwrapped
from fm_notebook.engine.models import Loaded, ModelSource
from fm_notebook.engine.precision import Precision
from fm_notebook.errors import ModelError

WORDS, PAIRS = "masked_log_probs", "next_sentence"
CAUSAL: frozenset[Capability] = frozenset({"log_likelihoods", "generate"})


def load_subject(
    source: ModelSource,
    needs: frozenset[Capability],
    *,
    name: str,
    device: torch.device | str = "cpu",
    precision: Precision = "fp32",
    batch_tokens: int | None = None,
    head_of: ModelSource | None = None,
) -> LoadedSubject:
    """The model of `source` with the heads that `needs` ask for, on `device`.

    Parameters
    ----------
    source : ModelSource
    needs : frozenset of str
        None: a model that is read as it is, without a head.
    name : str
        As the user called the model.
    device, precision, batch_tokens
        See `fm_notebook.engine.capabilities.subject.subject_of`.
    head_of : ModelSource, optional
        For a model that lost its head for masked words in fine-tuning: the model with that head which it was tuned from. The
        subject is this head on the tuned encoder.

    Raises
    ------
    ModelError
        If it has no trained head for one of `needs`, no form has heads for all of them, its tokenizer cannot mask or belongs to
        another model, or the head of `head_of` does not fit.
    """
    tokenizer = models.load_tokenizer(source)
    if WORDS in needs and tokenizer.mask_token_id is None:
        raise ModelError("capabilities.no_mask", name=name)
    loaded = _fitting(source, needs, name) if head_of is None else _with_head(source, head_of, name)
    models.set_pad_token(loaded.model, tokenizer)
    _check_vocabulary(loaded.model, tokenizer)
    model = loaded.model.to(device)
    subject = subject_of(
        model, tokenizer, name=name, precision=precision, batch_tokens=batch_tokens, fresh=loaded.fresh
    )  # fmt: skip
    _check(subject, needs, loaded)
    return subject


def _fitting(source: ModelSource, needs: frozenset[Capability], name: str) -> Loaded:
    """In the form that answers all of `needs`."""
    models.refuse_unsafe(source)
    config = models.configuration(source)
    if config.is_encoder_decoder:
        return _encoder_decoder(source, needs, name, config)
    forms: list[str] = []
    if needs & CAUSAL:
        forms.append("CausalLM")
    if "class_probabilities" in needs:
        forms.append("SequenceClassification")
    if WORDS in needs:
        forms.append("PreTraining" if PAIRS in needs else "MaskedLM")
    elif PAIRS in needs:
        forms.append("NextSentencePrediction")
    if len(forms) > 1:
        raise ModelError("capabilities.together", name=name, architecture=config.model_type, what=_in_words(sorted(needs)))
    match forms:
        case []:
            return models.load(source, "")
        case ["CausalLM"]:
            return causal.load(source)
        case ["SequenceClassification"]:
            return models.load_classifier(source, None)
    return models.load(source, forms[0])


def _encoder_decoder(source: ModelSource, needs: frozenset[Capability], name: str, config: Any) -> Loaded:
    if beyond := sorted(needs - {"log_likelihoods"}):
        raise lacking(name, beyond[0], config.model_type)
    return models.load(source, "Seq2SeqLM")


def _with_head(source: ModelSource, head_of: ModelSource, name: str) -> Loaded:
    """The head for masked words of one model on the encoder of another that was tuned from it."""
    tuned, base = models.load(source, "MaskedLM"), models.load(head_of, "MaskedLM")
    encoder, place = (unwrapped(each.model).base_model for each in (tuned, base))
    given, taken = encoder.state_dict(), place.state_dict()
    prefix = f"{unwrapped(tuned.model).base_model_prefix}."
    wrong = [
        key for key in sorted({*given, *taken}) if key not in given or key not in taken or given[key].shape != taken[key].shape
    ]
    wrong += [each.removeprefix(prefix) for each in tuned.fresh if each.startswith(prefix)]
    if wrong:
        raise ModelError("capabilities.head_does_not_fit", base=head_of.model.source, name=name, n=len(wrong), first=wrong[0])
    place.load_state_dict(given)
    return base


def _check(subject: LoadedSubject, needs: frozenset[Capability], loaded: Loaded) -> None:
    missing = sorted(needs - subject.capabilities)
    if not missing:
        return
    architecture = unwrapped(loaded.model).config.model_type
    if loaded.fresh:
        what = messages.text(f"capability.{missing[0]}")
        drawn = ", ".join(loaded.fresh[:3]) + (", …" if len(loaded.fresh) > 3 else "")
        raise ModelError("capabilities.untrained", name=subject.name, architecture=architecture, missing=drawn, what=what)
    raise lacking(subject.name, missing[0], architecture)


def _check_vocabulary(model: Any, tokenizer: Any) -> None:
    known = unwrapped(model).get_input_embeddings().num_embeddings
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= known:
        raise ModelError("weights.tokenizer_too_large", largest=largest, known=known)


def _in_words(needs: Sequence[Capability]) -> str:
    return "; ".join(messages.text(f"capability.{each}") for each in needs)
