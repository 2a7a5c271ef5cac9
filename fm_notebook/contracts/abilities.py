"""What a model can be asked, told from its ``config.json`` alone: said before any weights are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fm_notebook.contracts.capabilities import Capability

GGUF: frozenset[Capability] = frozenset({"log_likelihoods", "generate", "embeddings", "attentions"})
"""Of weights in GGUF, which are those of causal language models."""
MASKED_WORDS: frozenset[Capability] = frozenset({"masked_log_probs"})
_NO_MASKS = frozenset({"ElectraForPreTraining"})
"""Their name is that of heads for masked words and for pairs, but they tell replaced words from true ones."""
_PAIRS = frozenset({"bert", "megatron-bert", "mobilebert", "ernie", "fnet"})
"""Trained with a head for next sentences, which their published weights hold beside that for masked words they are named for."""


def able(settings: Mapping[str, Any]) -> frozenset[Capability]:
    """What a model of these `settings` (its ``config.json``) can be asked, if its weights hold what they should.

    Its ``architectures`` name the head it was saved with. BERT's own weights hold a head for next sentences although they are
    named for masked words alone; whether these do shows when they are loaded.
    """
    if settings.get("is_encoder_decoder"):
        return _encoder_decoder(settings)
    found: set[Capability] = {"embeddings", "attentions"}
    for name in settings.get("architectures") or ():
        found |= _of_head(name, settings)
    return frozenset(found)


def _encoder_decoder(settings: Mapping[str, Any]) -> frozenset[Capability]:
    ends = ("ForConditionalGeneration", "WithLMHeadModel", "MTModel", "EncoderDecoderModel")
    return frozenset({"log_likelihoods"} if any(name.endswith(ends) for name in settings.get("architectures") or ()) else ())


def _of_head(name: str, settings: Mapping[str, Any]) -> set[Capability]:
    if name.endswith(("ForMaskedLM", "ForPreTraining")) and name not in _NO_MASKS:
        return {"masked_log_probs", "next_sentence"} if settings.get("model_type") in _PAIRS else {"masked_log_probs"}
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return {"log_likelihoods", "generate"}
    if name.endswith("ForSequenceClassification"):
        return {"class_probabilities"} if _has_classes(settings) else set()
    return {"next_sentence"} if name.endswith("ForNextSentencePrediction") else set()


def _has_classes(settings: Mapping[str, Any]) -> bool:
    """Whether the head tells classes and not one number; ``config.json`` leaves away what is two labels without names."""
    problem, labels = settings.get("problem_type"), settings.get("id2label")
    count = len(labels) if labels else settings.get("num_labels", 2)
    return problem == "multi_label_classification" or (problem != "regression" and count > 1)
