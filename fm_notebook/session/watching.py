"""The probes that look at a run while it trains: whether they are ones and fit its task, and the items that each is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from fm_notebook.contracts import fields
from fm_notebook.contracts.capabilities import Capability
from fm_notebook.contracts.probe_specs import LOOKS, items_of_look, own_fields
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.errors import Fault, SpecError, did_you_mean
from fm_notebook.probes import probes
from fm_notebook.session import probe_items
from fm_notebook.session.given import Assigned

ITEMS = 200
"""Items of a look, unless the user asks for another number: a share then is known to 7 percentage points either way."""
ABLE: Mapping[str, frozenset[Capability]] = {
    "text-classification": frozenset({"class_probabilities", "embeddings", "attentions"}),
    "token-classification": frozenset({"embeddings", "attentions"}),
    "fill-mask": frozenset({"masked_log_probs", "embeddings", "attentions"}),
    "text-generation": frozenset({"log_likelihoods", "generate", "embeddings", "attentions"}),
}
"""What the model is able to while it is trained for a task."""


def checked(given: Any, task: str, line: int | None) -> Any:
    """The field ``probe_every`` with every field of each probe written out, so that equal runs are seen to be equal.

    What is no dict of numbers or dicts is left for the spec to refuse.

    Raises
    ------
    SpecError
        With every unknown probe, every wrong field, and every probe that does not fit the task.
    """
    if not isinstance(given, Mapping) or not all(isinstance(each, Mapping | int) for each in given.values()):
        return given
    found: list[Fault] = []
    written: dict[str, Any] = {}
    for name, each in given.items():
        own = dict(each) if isinstance(each, Mapping) else {"every": each}
        try:
            written[str(name)] = _written(str(name), own, task or "text-classification", line)
        except SpecError as error:
            found += error.faults
    if found:
        raise SpecError(faults=found)
    return written or None


def tables(spec: FinetuneSpec) -> dict[str, Any]:
    """Of each probe the items that it is asked at every look, by file name."""
    found = {}
    for name, own in (spec.probe_every or {}).items():
        assert isinstance(own, dict), "written out"
        probe, limit = probes[name], own["items"]
        assert isinstance(limit, int)
        items, _ = probe_items.read(probe, spec_of(name, own), Assigned(own.get("data")))
        table = probe_items.checked(items, name, None)
        found[items_of_look(name)] = (
            table if "block" in table.column_names else probe_items.limited(table, limit, spec.seed, name)
        )
    return found


def spec_of(name: str, own: Mapping[str, Any]) -> BaseModel:
    """The probe's own spec, of what is written for it."""
    return probes[name].Spec.model_validate(own_fields(own))


def _written(name: str, own: dict[str, Any], task: str, line: int | None) -> dict[str, Any]:
    if name not in probes:
        raise SpecError("unknown.probe", line=line, name=name, known=", ".join(probes), hint=did_you_mean(name, list(probes)))
    for field, default in (("every", None), ("items", ITEMS)):
        value = own.setdefault(field, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SpecError("probe.every", line=line, probe=name, field=field, given=repr(value))
    try:
        spec = spec_of(name, own)
    except ValidationError as error:
        kind = probes[name].Spec
        raise SpecError(faults=_faults(error, kind, name, own, line)) from None
    able = ABLE.get(task, frozenset())
    spec = probes[name].suited(spec, able)
    if not probes[name].needs(spec) <= able:
        fitting = [each for each in probes if probes[each].needs(probes[each].suited(probes[each].Spec(), able)) <= able]
        raise SpecError("probe.unfit_for_task", line=line, probe=name, task=task, fitting=", ".join(fitting) or "–")
    return {field: own[field] for field in LOOKS if field in own} | spec.model_dump(mode="json")


def _faults(error: ValidationError, kind: type[BaseModel], name: str, own: Mapping[str, Any], line: int | None) -> list[Fault]:
    lines = dict.fromkeys(own, line) if line else {}
    found = fields.faults(error, kind, lines, {key: repr(value) for key, value in own.items()})  # type: ignore[arg-type]
    return [Fault(each.key, each.values | {"field": f"{name}.{each.values['field']}"}, line) for each in found]
