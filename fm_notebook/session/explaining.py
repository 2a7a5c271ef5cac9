"""From what the user wrote to an explanation job, its folder, and answers to edited texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fm_notebook.contracts.attributions import Attribution
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import ExplainSpec, FinetuneSpec
from fm_notebook.errors import RunError, SpecError, did_you_mean
from fm_notebook.jobs.folder import JobFolder, delete
from fm_notebook.jobs.placement import Where
from fm_notebook.session import binding, launch, models, settings, store
from fm_notebook.session.binding import Bound
from fm_notebook.session.evaluating import finished, with_model
from fm_notebook.session.fitting import check_fields
from fm_notebook.session.given import Assigned, Faults, Fields
from fm_notebook.session.job import Job
from fm_notebook.session.launch import Launched

MOST = 20
"""Explanations that a model keeps, the newest; older ones are deleted with their texts."""
TASKS = ("text-classification", "token-classification", "text-generation", "zero-shot-classification")
_SETTABLE = {"max_length", "device"}
"""Fields that mean here what they mean to a run: its text and label are columns."""
_SAME = ("task", "max_length", "device", "trust_remote_code", "allow_pickle")


def prepare_explanation(fields: Fields, *, again: bool = False, on: Where = "process") -> Launched:
    """Check `fields` (``model`` and ``text`` among them) and write the job folder, or find the equal explanation."""
    launch.placed(on, "explain")
    bound = bind(with_model(fields, on))
    spec = bound.spec
    assert isinstance(spec, ExplainSpec)
    return launched(Path(spec.run).name if spec.run else spec.model.source, bound, again=again)


def finish_explanation(launched: Launched) -> Attribution:
    """Wait for an explanation that has begun.

    Raises
    ------
    FMError
        Why it failed.
    """
    return finished(launched.job, lambda progress: progress.attribution)


def explained_again(attribution: Attribution, **changes: Any) -> Attribution:
    """What the same job says with `changes`, such as another text or label; of ``methods=()``, the answer alone, nothing is kept.

    Raises
    ------
    FMError
        If a change is none, or its model is not there any more.
    """
    begun = prepare_explanation(asked_again(attribution, **changes))
    if begun.how == "started":
        launch.begin(begun.job)
    try:
        return finish_explanation(begun)
    finally:
        if not changes.get("methods", True) and begun.job.progress.over:
            delete(begun.job.jobfolder)


def bind(given: Fields) -> Bound:
    """The spec of an explanation; task and lengths default to those of the run that is explained.

    Raises
    ------
    SpecError
        With every faulty field.
    """
    collect = Faults(given)
    live: dict[str, Any] = {}
    model = collect.attempt("model", lambda: binding.model_of("model", given["model"], live))
    run = store.lookup(str(Path(model.location).parent)) if model and model.kind == "run" else None
    values: dict[str, Any] = {"run": str(run.path)} if run else {}
    if model and (problem := models.problem(model)):
        values["problem"] = problem
    if run and isinstance(run.spec, FinetuneSpec):
        values |= {name: getattr(run.spec, name) for name in (*_SAME, "problem")}
    given = settings.below(given, ExplainSpec, but=set(ExplainSpec.model_fields) - _SETTABLE | set(values))
    collect.take(given)
    values |= {name: each.value for name, each in given.items() if name not in {"model", "tokenizer"}}
    values["model"] = model
    if "tokenizer" in given and given["tokenizer"].value is not None:
        values["tokenizer"] = collect.attempt("tokenizer", lambda: binding.model_of("tokenizer", given["tokenizer"], live))
    collect.attempt("text", lambda: _check_text(values.get("text")))
    spec = collect.validate(ExplainSpec, values)
    if spec is not None:
        collect.attempt("task", lambda spec=spec: _check_task(spec, given))
        collect.attempt("label", lambda spec=spec: _check_label(spec, _labels(spec, run)))
    collect.raise_all()
    assert spec is not None
    labels = list(spec.labels or _labels(spec, run))
    facts = DataFacts(labels=labels, train_rows=0, eval_rows=1, train_label_counts=[], eval_label_counts=[])
    return Bound(spec, facts, {}, live)


def launched(name: str, bound: Bound, *, again: bool = False) -> Launched:
    """Prepare an explanation in the model's home, or find the equal one; of those that are over the newest `MOST` are kept."""
    assert isinstance(bound.spec, ExplainSpec)
    parent = launch.home_of(bound.spec.model) / "explanations"
    earlier = launch.folders_in(parent)
    if not again and (equal := launch.equal(earlier, bound.key)):
        return Launched(Job(equal), "reused")
    for folder in earlier[: -MOST + 1]:
        if Job(folder).progress.over:
            delete(folder)
    return Launched(launch.prepared(parent, name, bound), "started")


def asked_again(attribution: Attribution, **changes: Any) -> Fields:
    """The fields of `attribution`'s job with `changes`: another text, label or method.

    Raises
    ------
    RunError
        If its model is not on disk any more.
    """
    spec = ExplainSpec.model_validate(attribution.spec)
    folder = Path(spec.model.location)
    if spec.model.kind == "value" or (spec.model.kind != "hub" and not folder.is_dir()):
        raise RunError("explain.model_gone", model=attribution.model)
    given = spec.model_dump(exclude={"kind", "format_version", "run", "model", "tokenizer"}) | changes
    model = spec.model.location if spec.model.kind != "run" else str(folder.parent)
    if spec.model.file:
        model = spec.model.source
    elif spec.model.kind == "hub" and spec.model.revision:
        model = f"{model}@{spec.model.revision}"
    fields = {"model": Assigned(model, spec.model.source)} | {name: Assigned(value) for name, value in given.items()}
    if spec.tokenizer is not None:
        fields["tokenizer"] = Assigned(spec.tokenizer.location, spec.tokenizer.source)
    return fields


def _labels(spec: ExplainSpec, run: JobFolder | None) -> list[str]:
    """Names of the model's answers, as far as they are known before it is loaded."""
    if spec.task == "zero-shot-classification":
        return list(spec.labels)
    if run is not None and run.facts.labels and spec.task in {"text-classification", "token-classification"}:
        return list(run.facts.labels)
    return list(models.labels(spec.model) or ())


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise SpecError("explain.not_text", type=type(text).__name__)
    if not text.strip():
        raise SpecError("explain.empty")


def _check_task(spec: ExplainSpec, given: Fields) -> None:
    from fm_notebook.tasks import tasks

    if spec.task not in TASKS and (spec.task == "fill-mask" or tasks[spec.task].level != "text"):
        raise SpecError("explain.task", task=spec.task)
    if spec.task == "zero-shot-classification" and len(spec.labels) < 2:
        raise SpecError("explain.needs_labels")
    check_fields(spec, spec.task, {name: each for name, each in given.items() if name != "text_pair"})


def _check_label(spec: ExplainSpec, known: list[str]) -> None:
    if spec.label is not None and known and spec.task != "text-generation" and spec.label not in known:
        hint = did_you_mean(spec.label, known)
        raise SpecError("explain.label", label=spec.label, known=", ".join(known[:20]), hint=hint)
