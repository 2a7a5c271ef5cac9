"""From what the user wrote to probe jobs, one a probe, and from finished ones to their reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ValidationError

from fm_notebook import messages
from fm_notebook.contracts import fields as field_words
from fm_notebook.contracts.capabilities import Capability
from fm_notebook.contracts.probe_reports import ProbeReport, ProbeReports
from fm_notebook.contracts.probe_specs import ItemFacts, ProbeSpec
from fm_notebook.contracts.results import DataFacts
from fm_notebook.errors import FMError, ModelError, SpecError, did_you_mean
from fm_notebook.jobs.placement import Where
from fm_notebook.probes import probes
from fm_notebook.session import launch, probe_items
from fm_notebook.session.binding import Bound
from fm_notebook.session.evaluating import finished, with_model
from fm_notebook.session.given import Assigned, Faults, Fields
from fm_notebook.session.job import Job
from fm_notebook.session.launch import Launched
from fm_notebook.session.probed import OURS, Probed, probed

ITEMS = "probe"
"""Role of a probe's items among the tables of its folder: ``data/probe.arrow``."""


@dataclass(frozen=True)
class Prepared:
    """The jobs of one ``%probe``, by probe, and why some of a family do not fit."""

    launched: dict[str, Launched]
    unfit: dict[str, str] = field(default_factory=dict)


def prepare_probes(
    names: Sequence[str], fields: Fields, *, again: bool = False, on: Where = "process"
) -> Prepared:  # fmt: skip
    """Check `fields` (``model`` among them) and write a job folder a probe, or find the equal reports.

    Parameters
    ----------
    names : sequence of str
        Probes, or families of them, such as ``bias``: of a family those are taken that fit the model.

    Raises
    ------
    FMError
        With every faulty field, before any work.
    """
    launch.placed(on, "probe")
    asked = _asked(names, fields)
    subject = probed(with_model(fields, on))
    chosen, unfit = _fitting(asked, subject, fields)
    prepared = {name: _bound(subject, name, spec, fields, is_named=asked[name]) for name, spec in chosen.items()}
    parent, called = launch.home_of(subject.model) / "probes", Path(subject.run).name if subject.run else subject.model.source
    return Prepared({name: _launched(parent, called, bound, again=again) for name, bound in prepared.items()}, unfit)


def finish(prepared: Prepared) -> ProbeReport | ProbeReports:
    """Wait for probes that have begun: one report, or several by name if several were asked for.

    Of several, one that failed does not take the others' reports with it.

    Raises
    ------
    FMError
        Why one failed, if none has a report.
    """
    found: dict[str, ProbeReport] = {}
    failed: dict[str, FMError] = {}
    for name, each in prepared.launched.items():
        try:
            found[name] = report_of(each)
        except FMError as error:
            failed[name] = error
    if failed and not found:
        raise next(iter(failed.values()))
    if len(found) == 1 and not prepared.unfit and not failed:
        return next(iter(found.values()))
    return ProbeReports(found, prepared.unfit, {name: str(error).partition("\n")[0] for name, error in failed.items()})


def report_of(launched: Launched) -> ProbeReport:
    """Wait for one probe that has begun.

    Raises
    ------
    FMError
        Why it failed.
    """
    return finished(launched.job, lambda progress: progress.probe)


def _asked(names: Sequence[str], fields: Fields) -> dict[str, bool]:
    """The probes asked for, in their order, and whether each was named itself.

    Raises
    ------
    SpecError
        If there is none of a name.
    """
    families, found = probes.families, {}
    for name in names:
        if name in families:
            found = {each: False for each in families[name] if each not in found} | found
        elif name in probes:
            found[name] = True
        else:
            known = [*families, *probes]
            raise SpecError("unknown.probe", name=name, known=", ".join(known), hint=did_you_mean(name, known))
    if len(found) > 1 and "data" in fields:
        raise SpecError("probe.data_of_several", line=fields["data"].line, probes=", ".join(found))
    return dict(sorted(found.items(), key=lambda each: not each[1]))


def _fitting(asked: Mapping[str, bool], subject: Probed, fields: Fields) -> tuple[dict[str, BaseModel], dict[str, str]]:
    """The specs of the probes that fit, and of a family's others why they do not.

    Raises
    ------
    SpecError
        With every wrong field.
    ModelError
        If the model is not able to what a probe named itself needs, or to what any of a family needs.
    """
    collect = Faults(fields)
    _check_known(asked, fields)
    chosen: dict[str, BaseModel] = {}
    unfit: dict[str, str] = {}
    for name, is_named in asked.items():
        spec = collect.attempt("probe", lambda name=name: _spec_of(name, fields))
        if spec is None:
            continue
        able = subject.able
        spec = probes[name].suited(spec, able) if able is not None else spec
        lacking = sorted(probes[name].needs(spec) - able) if able is not None else []
        if not lacking:
            chosen[name] = spec
        elif is_named:
            collect.attempt("probe", lambda name=name, lacking=lacking: _refuse(name, lacking, subject, fields))
        else:
            unfit[name] = _in_words(lacking)
    collect.raise_all()
    if not chosen:
        name, why = next(iter(unfit.items()))
        raise ModelError("probe.none_fits", model=subject.model.source, first=name, why=why)
    return chosen, unfit


def _refuse(name: str, lacking: Sequence[Capability], subject: Probed, fields: Fields) -> None:
    fitting = [each for each in probes if subject.able and probes[each].needs(_plain_spec(each, subject)) <= subject.able]
    raise ModelError(
        "probe.unfit", line=fields["model"].line, probe=name, model=subject.model.source, what=_in_words(lacking),
        fitting=", ".join(fitting) or "–",
    )  # fmt: skip


def _plain_spec(name: str, subject: Probed) -> BaseModel:
    return probes[name].suited(probes[name].Spec(), subject.able or frozenset())


def _in_words(lacking: Sequence[Capability]) -> str:
    return ", ".join(messages.text(f"capability.{name}") for name in lacking)


def _check_known(asked: Mapping[str, bool], fields: Fields) -> None:
    """Refuse a field that neither every probe has nor one of those asked for."""
    own = {name: field_words.names(probes[name].Spec) for name in asked}
    nested = {name.replace("-", "_") for name in asked}
    known = sorted({*OURS, "data", "model", *nested, *(each for names in own.values() for each in names)})
    for name, given in fields.items():
        if name not in known:
            shown, hint = ", ".join(each for each in known if each not in nested), did_you_mean(name, known)
            raise SpecError("spec.unknown_field", line=given.line, field=name, known=shown, hint=hint)


def _spec_of(name: str, fields: Fields) -> BaseModel:
    """The probe's own fields: those given for all that have them, over them those given under its name.

    Raises
    ------
    SpecError
        With every wrong one.
    """
    kind = probes[name].Spec
    own = fields.get(name.replace("-", "_"))
    given = {each: fields[each] for each in field_words.names(kind) if each in fields and each not in OURS}
    if own is not None and isinstance(own.value, Mapping):
        given |= {str(key): Assigned(value, "", own.line) for key, value in own.value.items()}
    lines = {each: value.line for each, value in given.items() if value.line}
    try:
        return kind.model_validate({each: value.value for each, value in given.items()})
    except ValidationError as error:
        faults = field_words.faults(error, kind, lines, {each: value.written for each, value in given.items()})
    raise SpecError(faults=faults)


def _bound(subject: Probed, name: str, spec: BaseModel, fields: Fields, *, is_named: bool) -> Bound:
    from fm_notebook.data.fingerprint import fingerprint

    probe = probes[name]
    data = fields.get("data", Assigned(None))
    items, ref = probe_items.read(probe, spec, data)
    table = probe_items.checked(items, name, data.line)
    values = dict(subject.values)
    if not is_named and "block" in table.column_names:
        values["limit"] = None  # of a family, those whose items are scored together are asked whole
    limit, seed = values.get("limit"), values.get("seed", 0)
    if isinstance(limit, int) and limit > 0 and isinstance(seed, int) and seed >= 0:  # other values are refused below
        table = probe_items.limited(table, limit, seed, name)
    facts = ItemFacts(
        texts=items.texts, origin=items.origin, name=items.name, licence=items.licence, citation=items.citation,
        language=items.language, rows=table.num_rows, dropped=dict(items.dropped), remarks=items.remarks,
    )  # fmt: skip
    ref = ref.model_copy(update={"fingerprint": fingerprint(table), "rows": table.num_rows})
    needs_head = "masked_log_probs" in probe.needs(spec)
    collect = Faults(fields)
    whole = collect.validate(
        ProbeSpec,
        values | {
            "model": subject.model, "head_of": subject.head_of if needs_head else None, "run": subject.run or None,
            "probe": name, "version": probe.version, "fields": spec.model_dump(mode="json"), "data": ref, "items": facts,
        },
    )  # fmt: skip
    collect.raise_all()
    assert whole is not None
    counted = DataFacts(labels=[], train_rows=0, eval_rows=table.num_rows, train_label_counts=[], eval_label_counts=[])
    return Bound(whole, counted, {ITEMS: table}, dict(subject.live))


def _launched(parent: Path, called: str, bound: Bound, *, again: bool) -> Launched:
    """The equal report, the equal job that lives or was interrupted, or a new one."""
    earlier = launch.folders_in(parent)
    if again:
        return Launched(launch.prepared(parent, called, bound), "started")
    if equal := launch.equal(earlier, bound.key):
        return Launched(Job(equal), "reused")
    for job in (Job(folder) for folder in reversed(earlier) if folder.identity.key == bound.key):
        if not job.progress.over:
            return Launched(job, "attached")
        if job.progress.state in {"stopped", "died", "cancelled"}:
            return Launched(job, "started")  # goes on: what is scored is kept
    return Launched(launch.prepared(parent, called, bound), "started")
