"""The model of a probe job with the heads that its probe needs, kept for the next probe of it."""

from __future__ import annotations

from dataclasses import replace

import torch

from fm_notebook.contracts import abilities
from fm_notebook.contracts.capabilities import Capability
from fm_notebook.contracts.probe_specs import ProbeSpec
from fm_notebook.engine import models
from fm_notebook.engine.capabilities.loading import load_subject
from fm_notebook.engine.capabilities.subject import LoadedSubject
from fm_notebook.engine.models import Loaded
from fm_notebook.worker import models_loaded
from fm_notebook.worker.training import source_of


def able(spec: ProbeSpec) -> frozenset[Capability]:
    """What the model can be asked, told from its configuration, which is on this machine by now."""
    if spec.model.file:
        return abilities.GGUF
    found = abilities.able(models.configuration(source_of(spec)).to_dict())
    return found | abilities.MASKED_WORDS if spec.head_of is not None else found


def subject_for(spec: ProbeSpec, needs: frozenset[Capability], device: torch.device) -> LoadedSubject:
    """The model of `spec` on `device`, as it can be asked what `needs` name.

    Raises
    ------
    ModelError
        If it cannot.
    """
    source = source_of(spec)
    base = None if spec.head_of is None else replace(source, model=spec.head_of, tokenizer=None)
    form = " ".join([spec.precision, *sorted(needs), *([f"on {base.model.location}"] if base else [])])
    kept = models_loaded.find(source, form)
    if kept is not None and kept.subject is not None:
        kept.loaded.model.to(device)
        return kept.subject.anew()  # it has read nothing for this job
    models_loaded.free()
    found = load_subject(
        source, needs, name=spec.model.source, device=device, precision=spec.precision, head_of=base
    )  # fmt: skip
    models_loaded.keep(source, form, Loaded(found.model), found.tokenizer, found)
    return found
