"""The same probes put to several models, and what changed from the first one's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fm_notebook.contracts.probe_changes import ProbeComparison, ProbeComparisons
from fm_notebook.contracts.probe_reports import ITEMS, ProbeReport
from fm_notebook.contracts.probe_specs import ProbeSpec
from fm_notebook.errors import SpecError
from fm_notebook.jobs.placement import Where
from fm_notebook.session import probing
from fm_notebook.session.given import Assigned, Fields
from fm_notebook.session.launch import Launched
from fm_notebook.session.probing import Prepared


@dataclass(frozen=True)
class PreparedProbes:
    """Of each model its probes, in the order of the models."""

    models: tuple[Prepared, ...]

    @property
    def launched(self) -> list[Launched]:
        """All jobs."""
        return [each for model in self.models for each in model.launched.values()]


def prepare(
    models: Sequence[Assigned], asked: Assigned, fields: Fields, *, again: bool = False, on: Where = "process"
) -> PreparedProbes:  # fmt: skip
    """The jobs of the probes `asked` for: a name, a list of names, or a dict of names and each one's own fields.

    What the first model leaves open, such as the variant, is the same for the others.

    Raises
    ------
    FMError
        If a field is wrong, or a probe does not fit one of the models.
    """
    ours = {name: fields[name] for name in ("device", "trust_remote_code", "allow_pickle") if name in fields}
    base, *others = models
    first = Prepared({})
    data: dict[str, Assigned] = {}
    for name, own in _by_name(asked).items():
        given = {field: Assigned(value, "", asked.line) for field, value in own.items()}
        each = probing.prepare_probes([name], {**ours, **given, "model": base}, again=again, on=on)
        data |= {name: given["data"]} if "data" in given else {}
        first = Prepared(first.launched | each.launched, first.unfit | each.unfit)
    found = [first]
    for model in others:
        launched: dict[str, Launched] = {}
        for name, each in first.launched.items():
            alike = {**ours, **_alike(each), **({"data": data[name]} if name in data else {}), "model": model}
            launched |= probing.prepare_probes([name], alike, again=again, on=on).launched
        found.append(Prepared(launched))
    return PreparedProbes(tuple(found))


def finish(prepared: PreparedProbes) -> ProbeComparisons:
    """Wait for the probes, and hold the other models' answers against the first one's.

    Raises
    ------
    FMError
        Why one failed.
    """
    from fm_notebook.data import stored
    from fm_notebook.metrics.probes.probe_changes import adjusted_together, changes

    found = []
    for probe in prepared.models[0].launched:
        reports = [probing.report_of(model.launched[probe]) for model in prepared.models]
        names = _names(reports)
        rows = [stored.load(Path(report.folder) / ITEMS) for report in reports]
        changed = [changes(rows[0], each, name, seed=reports[0].seed) for each, name in zip(rows[1:], names[1:], strict=True)]
        found.append(
            ProbeComparison(
                probe=probe, variant=reports[0].variant, models=names,
                headlines=[report.main if report.measurements else None for report in reports],
                changes=adjusted_together(changed),
            )
        )  # fmt: skip
    return ProbeComparisons(probes=found)


def _by_name(asked: Assigned) -> Mapping[str, Mapping[str, Any]]:
    """Each probe's own fields, by name."""
    value = asked.value
    if isinstance(value, str):
        return {value: {}}
    if isinstance(value, Mapping) and all(isinstance(own, Mapping) for own in value.values()):
        return {str(name): own for name, own in value.items()}
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return {name: {} for name in value}
    raise SpecError("compare.probe_form", line=asked.line, given=asked.written)


def _alike(launched: Launched) -> Fields:
    """The fields by which another model is asked what this job asks."""
    spec = launched.job.jobfolder.spec
    assert isinstance(spec, ProbeSpec)
    fields = {**spec.fields, "limit": spec.limit, "seed": spec.seed, "precision": spec.precision}
    return {name: Assigned(value) for name, value in fields.items() if value is not None}


def _names(reports: Sequence[ProbeReport]) -> list[str]:
    """A name for each; what is called alike is numbered."""
    plain = [report.run or report.model for report in reports]
    return [name if plain.count(name) == 1 else f"{name} ({plain[: at + 1].count(name)})" for at, name in enumerate(plain)]
