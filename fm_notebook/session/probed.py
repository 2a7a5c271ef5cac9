"""The model that is probed, as far as it is known before it is loaded: what it can be asked, and with whose head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fm_notebook.contracts import abilities
from fm_notebook.contracts.capabilities import Capability
from fm_notebook.contracts.probe_specs import ProbeSpec
from fm_notebook.contracts.specs import FinetuneSpec, ModelRef
from fm_notebook.session import binding, models, settings, store
from fm_notebook.session.given import Faults, Fields

OURS = ("tokenizer", "limit", "seed", "precision", "device", "trust_remote_code", "allow_pickle")
"""Fields that every probe has; all others are the probes' own."""


@dataclass(frozen=True)
class Probed:
    """What is probed: the model, what it is able to (None: not known before it is loaded), and whose head it borrows."""

    model: ModelRef
    run: str
    able: frozenset[Capability] | None
    head_of: ModelRef | None
    values: Mapping[str, Any]
    live: Mapping[str, Any]


def probed(given: Fields) -> Probed:
    """The model that the field ``model`` means, a run's or any.

    Raises
    ------
    FMError
        If there is no such model or tokenizer.
    """
    collect = Faults(given)
    live: dict[str, Any] = {}
    model = collect.attempt("model", lambda: binding.model_of("model", given["model"], live))
    run = store.lookup(str(Path(model.location).parent)) if model and model.kind == "run" else None
    values: dict[str, Any] = {}
    if run and isinstance(run.spec, FinetuneSpec):
        values = {name: getattr(run.spec, name) for name in ("device", "trust_remote_code", "allow_pickle")}
    given = settings.below(given, ProbeSpec, but=set(ProbeSpec.model_fields) - {"device"} | set(values))
    collect.take(given)
    values |= {name: given[name].value for name in OURS if name in given and name != "tokenizer"}
    if "tokenizer" in given and given["tokenizer"].value is not None:
        values["tokenizer"] = collect.attempt("tokenizer", lambda: binding.model_of("tokenizer", given["tokenizer"], live))
    elif "model" in live:
        values["tokenizer"] = collect.attempt(
            "model", lambda: models.tokenizer_of(live["model"], source=given["model"].reference, line=given["model"].line)
        )
    collect.raise_all()
    assert model is not None
    able = _able(model, live.get("model"))
    head_of = _head_of(run.spec, able) if run and able is not None else None
    if head_of is not None and able is not None:
        able |= abilities.MASKED_WORDS
    return Probed(model, str(run.path) if run else "", able, head_of, values, live)


def _able(model: ModelRef, live: Any = None) -> frozenset[Capability] | None:
    """What the model can do, told from its configuration; None where that is not on this machine yet."""
    if model.file:
        return abilities.GGUF
    facts = live.config.to_dict() | {"architectures": [type(live).__name__]} if live is not None else models.config(model)
    found = abilities.able(facts) if facts else None
    if found and live is None and "next_sentence" in found and models.holds(model, "seq_relationship") is False:
        found -= {"next_sentence"}  # BERT that was tuned for masked words is saved without that head
    return found


def _head_of(spec: Any, able: frozenset[Capability]) -> ModelRef | None:
    """The model that a classifier was tuned from, if it has a head for masked words, which the classifier has lost."""
    if not isinstance(spec, FinetuneSpec) or "masked_log_probs" in able or spec.model.kind == "value":
        return None
    base = _able(spec.model)
    return spec.model if base and "masked_log_probs" in base else None
