"""From the user's values to a spec and the rows it speaks of.

A spec is pure JSON; what a frame, a model or an expression meant is bound to it here, once, and written into the job
folder. All faults of a cell are collected before any is reported.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import DataRef, EvaluateSpec, FinetuneSpec, ModelRef, Spec
from fm_notebook.errors import Fault, FMError, SpecError, did_you_mean
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.session import mitigating, models, settings, sharding, store, tracking, watching
from fm_notebook.session.fitting import check_fields, check_weights, decided
from fm_notebook.session.given import Assigned, Faults, Fields
from fm_notebook.session.groupings import Groupings, groupings
from fm_notebook.session.held_out import folder_of, held_out

_VERSIONS = ("fm_notebook", "torch", "transformers", "tokenizers")
_COLUMNS = ("text", "text_pair", "label", "prompt", "completion", "messages", "problem")
_TRUST = ("trust_remote_code", "allow_pickle")
_WHICH_ROWS = frozenset({"train", "eval", "eval_split", *_COLUMNS})
_LEARNING_RATES = {"lora": 2e-4, "prompt_tuning": 1e-2, "freeze": 1e-3}
"""What is usual where few weights learn, far above full fine-tuning's."""
_TrainingRows = tuple[FinetuneSpec, dict[str, Any], DataFacts]  # spec with fingerprints, tables by role, counts


@dataclass(frozen=True)
class Bound:
    """A spec with all that its job folder needs: Arrow tables by file name, counts, and live models by field."""

    spec: Spec
    facts: DataFacts
    tables: dict[str, Any]
    live: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """SHA-256 (hex) of everything that decides the result: equal jobs have equal keys."""
        left_out: dict[str, Any] = {"base": True, "run": True, "trackers": True} | {name: {"source"} for name in _refs(self.spec)}
        rows = self.spec.model_dump_json(exclude=left_out)
        versions = [f"{name}=={_version(name)}" for name in _VERSIONS]
        return hashlib.sha256("\n".join([rows, self.facts.model_dump_json(), *versions]).encode()).hexdigest()


def bind_finetune(given: Fields) -> Bound:
    """The spec, rows and live models of a fine-tuning run.

    Raises
    ------
    SpecError
        With every faulty field, each with its line.
    """
    given = _with_settings(given)
    collect = Faults(given)
    live: dict[str, Any] = {}
    spec, base = _described(given, live, collect)
    rows = None
    if spec is not None and not collect.names & (_WHICH_ROWS - {"eval_split"}):
        others = base is None or _WHICH_ROWS & set(given) or spec.task != getattr(base.spec, "task", "")
        if others or base is None or mitigating.must_read(spec, base):
            rows = collect.attempt("train", lambda spec=spec: _rows_of(spec, given, base, collect.lines))
        else:
            rows = collect.attempt("base", lambda spec=spec: _rows_of_base(spec, base, collect.lines.get("mitigation")))
        if rows is not None:  # which metrics there are depends on what the rows hold
            collect.attempt("metric", lambda rows=rows: _check_metric(rows[0], given))
    elif "train" in given:
        collect.attempt("train", lambda: _can_be_read(given["train"]))
    collect.raise_all()
    assert rows is not None
    spec, tables, facts = rows
    check_weights(spec, facts, collect.lines)
    if spec.metric is None:
        spec = spec.model_copy(update={"metric": next(iter(_task(spec.task).configure(spec).metrics))})
    tables |= collect.attempt("probe_every", lambda spec=spec: watching.tables(spec)) or {}
    collect.raise_all()
    return Bound(spec, facts, tables, live)


def check_finetune(given: Fields) -> tuple[FinetuneSpec | None, tuple[Fault, ...]]:
    """The spec that `given` makes, None if it makes none, and what is wrong, as far as that is told at once.

    No row is read, no weights are hashed and no hub is asked: what those would tell, `bind_finetune` tells.
    """
    given = _with_settings(given)
    collect = Faults(given)
    spec, _ = _described(given, {}, collect, quick=True)
    return spec, tuple(collect.found)


def bind_evaluate(given: Fields) -> Bound:
    """The spec and rows of an evaluation; columns and lengths default to those of the run that is evaluated."""
    collect = Faults(given)
    live: dict[str, Any] = {}
    model = collect.attempt("model", lambda: model_of("model", given["model"], live))
    run = store.lookup(str(Path(model.location).parent)) if model and model.kind == "run" else None
    values: dict[str, Any] = {"run": str(run.path)} if run else {}
    if model and (problem := models.problem(model)):
        values["problem"] = problem
    if run and isinstance(run.spec, FinetuneSpec):
        same = ("task", *_COLUMNS, "completion_only_loss", "max_length", "device", "precision", "packing", *_TRUST)
        values |= {name: getattr(run.spec, name) for name in same}
    given = settings.below(given, EvaluateSpec, but=values)  # what the run has is not for settings to change
    collect.take(given)
    values |= {name: _plain(each.value) for name, each in given.items() if name not in {"model", "tokenizer", "data", "by"}}
    by = collect.attempt("by", lambda: groupings(given.get("by"))) or Groupings()
    values |= {"by": by.names} if "by" in given else {}
    values |= {"model": model, "data": DataRef(source=given["data"].source or "data", kind="value")}
    if "tokenizer" in given and given["tokenizer"].value is not None:
        values["tokenizer"] = collect.attempt("tokenizer", lambda: model_of("tokenizer", given["tokenizer"], live))
    spec = collect.validate(EvaluateSpec, values)
    rows = None
    if spec is not None:
        collect.attempt("task", lambda spec=spec: check_fields(spec, spec.task, given))
        rows = collect.attempt("data", lambda spec=spec: _evaluation_rows(spec, given["data"], by, collect.lines))
        if rows is not None:
            spec = collect.attempt("by", lambda spec=spec, rows=rows: decided(spec, rows, collect.lines))
    collect.raise_all()
    assert spec is not None
    assert rows is not None
    spec = spec.model_copy(update={"data": rows.ref, **_problem(rows.kind)})
    facts = DataFacts(
        labels=list(rows.labels), train_rows=0, eval_rows=rows.table.num_rows, train_label_counts=[],
        eval_label_counts=rows.label_counts, missing_rows=rows.missing_rows,
    )  # fmt: skip
    return Bound(spec, facts, {"eval": rows.table}, live)


def _with_settings(given: Fields) -> Fields:
    """`given`, and what is set elsewhere; a run like another is that other's but for what the cell says."""
    return given if "base" in given else settings.below(given, FinetuneSpec)


def _described(
    given: Fields, live: dict[str, Any], collect: Faults, *, quick: bool = False
) -> tuple[FinetuneSpec | None, JobFolder | None]:
    """The spec before its rows are read, None if it cannot be, and the base."""
    base = collect.attempt("base", lambda: _base_of(given["base"])) if "base" in given else None
    spec = collect.validate(FinetuneSpec, _values_of(given, base, live, collect, quick=quick))
    if spec is not None:
        collect.attempt("fsdp", lambda spec=spec: sharding.check_fields(spec, given))
        spec = collect.attempt("lora", lambda spec=spec: _partly_trained(spec, given, base))
    task = collect.attempt("task", lambda spec=spec: _task(spec.task, given.get("task"))) if spec is not None else None
    if spec is not None:
        collect.attempt("task", lambda spec=spec: check_fields(spec, spec.task, given))
        collect.attempt("trackers", lambda spec=spec: tracking.check(spec.trackers))
    return (spec if task is not None else None), base


def _values_of(
    given: Fields, base: JobFolder | None, live: dict[str, Any], collect: Faults, *, quick: bool = False
) -> dict[str, Any]:
    """What the spec is made of: the base's fields, over them those given; rows by name only, until they are read."""
    values: dict[str, Any] = {}
    if base is not None:
        values = {k: v for k, v in base.spec.model_dump().items() if k not in {"kind", "format_version"}}
        values["base"] = base.path.name
    objects = {"model", "tokenizer", "train", "eval", "base"}
    values |= {name: _plain(each.value) for name, each in given.items() if name not in objects}
    for name in ("model", "tokenizer"):
        if name in given and given[name].value is not None:
            values[name] = collect.attempt(name, lambda name=name: model_of(name, given[name], live, quick=quick))
    if "model" in live and "tokenizer" not in values:
        model = given["model"]
        values["tokenizer"] = collect.attempt(
            "model", lambda: models.tokenizer_of(model.value, source=model.reference, line=model.line)
        )
    if "mitigation" in values:
        asked, line = values["mitigation"], collect.lines.get("mitigation")
        values["mitigation"] = collect.attempt("mitigation", lambda: mitigating.checked(asked, line))
    if "probe_every" in values:
        asked, line = values["probe_every"], collect.lines.get("probe_every")
        values["probe_every"] = collect.attempt("probe_every", lambda: watching.checked(asked, str(values.get("task", "")), line))
    for name in ("train", "eval"):
        if name in given and given[name].value is not None:
            values[name] = DataRef(source=given[name].source or name, kind="value")
    return values


def _base_of(given: Assigned) -> JobFolder:
    folder = getattr(given.value, "folder", None)
    return JobFolder(folder) if isinstance(folder, Path) else store.find(str(given.value))


def model_of(name: str, given: Assigned, live: dict[str, Any], *, quick: bool = False) -> ModelRef:
    """Where the model or tokenizer is that the field `name` means; a live one is noted in `live`."""
    ref = models.resolve(given.value, source=given.reference, field=name, line=given.line, quick=quick)
    if ref.kind == "value":
        live[name] = given.value
    return ref


def _rows_of(spec: FinetuneSpec, given: Fields, base: JobFolder | None, lines: dict[str, int]) -> _TrainingRows:
    from fm_notebook.data.prepare import prepare_training

    train = given["train"] if "train" in given or base is None else _read_again(base, "train")
    judged = given.get("eval") or (_read_again(base, "eval") if base is not None and spec.eval is not None else Assigned(None))
    line = lines.get("mitigation")
    data = prepare_training(
        train.value, judged.value, reading=mitigating.reading(spec, line),
        order=models.labels(spec.model), eval_split=spec.eval_split, seed=spec.seed,
        sources={"train": train.reference, "eval": judged.reference}, lines=lines | ({"by": line} if line else {}),
    )  # fmt: skip
    mitigating.check_rows(spec, data.kind, line)
    spec = spec.model_copy(update={"train": data.train_ref, "eval": data.eval_ref, **_problem(data.kind)})
    return spec, {"train": data.train, "eval": data.eval}, data.facts


def _can_be_read(train: Assigned) -> None:
    """So that a wrong path is told together with the other faults."""
    from fm_notebook.data.sources import read

    read(train.value, source=train.reference, field="train", line=train.line)


def _rows_of_base(spec: FinetuneSpec, base: JobFolder, line: int | None) -> _TrainingRows:
    """The very rows of the base, split and all, so that two runs are compared on the same ones."""
    from fm_notebook.data.stored import load

    if not base.train_rows.exists():
        raise SpecError("spec.base_rows", base=base.path.name)
    train = mitigating.with_groups(load(base.train_rows), spec, base.path.name, line)
    return spec, {"train": train, "eval": load(base.eval_rows)}, base.facts


def _read_again(base: JobFolder, name: str) -> Assigned:
    ref = getattr(base.spec, name, None)
    if ref is None or ref.kind == "value":
        raise SpecError("spec.base_rows", base=base.path.name)
    return Assigned(ref.source, ref.source)


def _evaluation_rows(spec: EvaluateSpec, given: Assigned, by: Groupings, lines: dict[str, int]):
    from fm_notebook.data.prepare import prepare_rows

    reading = _task(spec.task).reading(spec)
    if run := folder_of(given.value):
        return held_out(run, spec.task, reading, lines)
    return prepare_rows(
        given.value, labels=models.labels(spec.model), reading=reading,
        source=given.reference, lines=lines, groups=by.values,
    )  # fmt: skip


def _problem(kind: str) -> dict[str, str]:
    """What ``problem = "auto"`` came to, so that a run is evaluated as it was trained."""
    return {"problem": kind} if kind in {"single-label", "multi-label", "regression"} else {}


def _check_metric(spec: FinetuneSpec, given: Fields) -> None:
    known = list(_task(spec.task).configure(spec).metrics)
    if spec.metric is not None and spec.metric not in known:
        line, hint = given["metric"].line if "metric" in given else None, did_you_mean(spec.metric, known)
        raise SpecError("spec.metric", line=line, metric=spec.metric, known=", ".join(known), hint=hint)


def _partly_trained(spec: FinetuneSpec, given: Fields, base: JobFolder | None) -> FinetuneSpec:
    """`spec` with the learning rate of its way of training, if none is given; at most one way."""
    chosen = [name for name in _LEARNING_RATES if getattr(spec, name)]
    if len(chosen) > 1:
        line = max((given[name].line or 0 for name in chosen if name in given), default=0) or None
        raise SpecError("spec.one_of", line=line, fields=", ".join(chosen), first=chosen[0])
    if not chosen or "learning_rate" in given or base is not None:
        return spec
    return spec.model_copy(update={"learning_rate": _LEARNING_RATES[chosen[0]]})


def _task(name: str, given: Assigned | None = None):
    from fm_notebook.tasks import tasks

    try:
        return tasks[name]
    except FMError as error:
        fault = error.faults[0]
    raise SpecError(fault.key, line=given.line if given else None, **fault.values)


def _plain(value: Any) -> Any:
    """NumPy and torch scalars as Python numbers, and a dict's keys as text, since labels may be whole numbers."""
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(each) for key, each in value.items()}
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _refs(spec: Spec) -> list[str]:
    return [name for name in type(spec).model_fields if isinstance(getattr(spec, name), DataRef | ModelRef)]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
