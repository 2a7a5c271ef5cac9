"""Evaluation and prediction jobs: one loaded model over all rows."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import Generates, Outputs, ReadCommand, Task
from fm_notebook.contracts.results import Evaluation
from fm_notebook.contracts.specs import EmbedSpec, EvaluateSpec, ExplainSpec, PredictSpec
from fm_notebook.data.fingerprint import row_hashes
from fm_notebook.data.stored import load
from fm_notebook.engine import evaluation, models, precision
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.kernels import constant_linear
from fm_notebook.engine.models import Loaded
from fm_notebook.engine.parts import budget
from fm_notebook.engine.tokens import Tokens
from fm_notebook.errors import ModelError
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.tasks import tasks
from fm_notebook.worker import assembly, models_loaded
from fm_notebook.worker.decisions import decisions, trust
from fm_notebook.worker.groups import by_groups
from fm_notebook.worker.provenance import provenance
from fm_notebook.worker.rows import write_predictions
from fm_notebook.worker.training import TRAINED, source_of

GENERIC = "LABEL_"
"""How transformers names outputs that nobody named."""

Scoring = EvaluateSpec | PredictSpec


def evaluate(folder: JobFolder, spec: EvaluateSpec, command: ReadCommand) -> Iterator[ev.Event]:
    """Score the model on the folder's labelled rows."""
    began = perf_counter()
    scored = yield from _score(folder, spec, folder.facts.labels, command)
    if scored is None:
        yield ev.Ended(state="cancelled")
        return
    found = scored.task.report(scored.outputs, scored.labels, seed=spec.seed)
    decided = decisions(spec, scored.task, scored.outputs, scored.labels)
    calibration, temperature, curves = trust(decided, seed=spec.seed)
    made = Evaluation(
        model=spec.model.source, run=Path(spec.run).name if spec.run else None, data=spec.data, task=spec.task,
        labels=scored.labels, n=len(scored.rows),
        missing_rows=folder.facts.missing_rows, scores=found.scores, classes=found.classes, confusion=found.confusion,
        partial=found.partial, points=found.points, text_perplexities=found.text_perplexities,
        calibration=calibration, temperature=temperature, curves=curves, groups=by_groups(spec, decided, scored.rows),
        trained_rows=_trained_rows(spec, scored.rows), untrained_head=bool(scored.loaded.fresh),
        truncated_share=scored.tokens.truncated_share, unknown_share=scored.tokens.unknown_share, seed=spec.seed,
        seconds=perf_counter() - began, spec=spec.model_dump(mode="json"),
    )  # fmt: skip
    yield ev.Ended(state="finished", evaluation=made)


def predict(folder: JobFolder, spec: PredictSpec, command: ReadCommand) -> Iterator[ev.Event]:
    """Write what the model says of the folder's rows."""
    task = tasks[spec.task].configure(spec)
    if isinstance(task, Generates):
        done = yield from _generate(folder, spec, task, command)
    else:
        labels = folder.facts.labels if (folder.path / "facts.json").is_file() else None
        done = yield from _score(folder, spec, labels, command)
    yield ev.Ended(state="cancelled" if done is None else "finished")


def _generate(
    folder: JobFolder, spec: PredictSpec, task: Any, command: ReadCommand
) -> Generator[ev.Event, None, pa.Table | None]:
    """Write what the model goes on with after each of the folder's rows."""
    device = precision.choose_device(spec.device)
    chosen = precision.choose_precision(spec.precision, device)
    yield ev.PhaseBegan(phase="loading_model")
    kept = kept_model(spec, task, None)
    model, rows = kept.loaded.model.to(device), load(folder.eval_rows)
    room = max(1, models.longest_text(model, kept.tokenizer) - spec.max_new_tokens)
    prompts = task.prompts(rows, kept.tokenizer, max_length=min(spec.max_length, room))
    yield from assembly.notes([prompts], spec.max_length)
    yield ev.Started(
        total_steps=len(rows), examples=len(rows), parameters=model.num_parameters(), device=str(device), precision=chosen,
        micro_batch_size=spec.batch_size, provenance=provenance(spec, device=str(device), precision=chosen, model=model),
    )  # fmt: skip
    with constant_linear.while_scoring(model):
        found = yield from task.generate(
            model, kept.tokenizer, prompts, batch_size=spec.batch_size, precision=chosen, command=command
        )
    if found is not None:
        write_predictions(folder.predictions, rows["row"].to_numpy(), found)
    return found


@dataclass(frozen=True)
class _Scored:
    task: Task
    rows: pa.Table
    tokens: Tokens
    loaded: Loaded
    labels: list[str]
    outputs: Outputs


def _score(
    folder: JobFolder, spec: Scoring, labels: list[str] | None, command: ReadCommand
) -> Generator[ev.Event, None, _Scored | None]:
    task, device = tasks[spec.task].configure(spec), precision.choose_device(spec.device)
    chosen = precision.choose_precision(spec.precision, device)
    yield ev.PhaseBegan(phase="loading_model")
    kept = kept_model(spec, task, labels if spec.kind == "evaluate" else None)
    loaded = kept.loaded
    loaded.model.to(device).eval()
    if labels is not None and (not labels or getattr(task, "open_labels", False)):  # the model has none of its own
        names, columns, note = labels, [], None
    else:
        names, columns, note = match_labels(loaded.labels, labels, spec.model.source)
    yield from [note] if note else []

    yield ev.PhaseBegan(phase="tokenizing")
    rows = load(folder.eval_rows)
    examples = assembly.encode(task, rows, loaded, kept.tokenizer, names, spec.max_length)
    yield from assembly.notes([examples.tokens], spec.max_length)
    layout = yield from assembly.layout(loaded, spec.packing)
    yield ev.Started(
        total_steps=len(rows), examples=len(rows), parameters=loaded.model.num_parameters(), device=str(device),
        precision=chosen, micro_batch_size=spec.batch_size,
        provenance=provenance(spec, device=str(device), precision=chosen, model=loaded.model),
    )  # fmt: skip
    outputs = yield from evaluation.sure_outputs(
        loaded.model, task, examples, Forward(chosen, layout), budget(loaded.model, task, spec.batch_size),
        command=command, until=frozenset({"stop", "cancel"}),
    )  # fmt: skip
    if outputs is None:
        return None
    outputs = _in_order(outputs, columns)
    write_predictions(folder.predictions, rows["row"].to_numpy(), task.predictions(outputs, rows, names))
    return _Scored(task, rows, examples.tokens, loaded, names, outputs)


def kept_model(spec: Scoring | EmbedSpec | ExplainSpec, task: Task, labels: Sequence[str] | None) -> models_loaded.Kept:
    """The kept model if it is this one, else this one loaded; without a head, one is drawn for `labels`."""
    source = source_of(spec)
    if kept := models_loaded.find(source, spec.task):
        return kept
    models_loaded.free()
    models.refuse_unsafe(source)
    own = task.has_head(source)
    if not own and labels is None:
        raise ModelError("weights.untrained_head", name=spec.model.source)
    loaded: Loaded = task.load_model(source, None if own else labels)
    tokenizer = models.load_tokenizer(source)
    models.set_pad_token(loaded.model, tokenizer)
    kept = models_loaded.Kept((), (), loaded, tokenizer)
    if not loaded.fresh:  # a head drawn at random belongs to one evaluation's labels and seed
        models_loaded.keep(source, spec.task, loaded, tokenizer)
    return kept


def match_labels(own: Sequence[str], asked: Sequence[str] | None, name: str) -> tuple[list[str], list[int], ev.Noted | None]:
    """How the model's outputs become columns in the order of `asked`, the labels that targets index.

    Returns
    -------
    labels : list of str
        `asked`, then labels that only the model knows.
    columns : list of int
        For each of them the model's output, -1 where it has none (probability 0).
    note : Noted or None

    Raises
    ------
    ModelError
        If the model knows none of `asked`.
    """
    if asked is None or list(asked) == list(own):
        return list(own), list(range(len(own))), None
    if all(label.startswith(GENERIC) for label in own) and len(own) == len(asked):
        note = ev.Noted(key="generic_labels", values={"labels": ", ".join(asked)}, level="warning")
        return list(asked), list(range(len(own))), note
    place = {label: i for i, label in enumerate(own)}
    if not set(asked) & set(own):
        raise ModelError("weights.labels_differ", name=name, own=", ".join(own[:20]), asked=", ".join(asked[:20]))
    labels = [*asked, *(label for label in own if label not in set(asked))]
    unknown = [label for label in asked if label not in place]
    note = ev.Noted(key="labels_unknown_to_model", values={"labels": ", ".join(unknown)}, level="warning") if unknown else None
    return labels, [place.get(label, -1) for label in labels], note


def _in_order(outputs: Outputs, columns: Sequence[int]) -> Outputs:
    """Logits, if there are any, in the columns that the labels have; impossible where the model has no such output."""
    logits = outputs.values.get("logits")
    if logits is None or list(columns) == list(range(logits.shape[1])):
        return outputs
    with_none = np.concatenate([logits, np.full((len(logits), 1), -np.inf, np.float32)], axis=1)  # column -1
    return replace(outputs, values={**outputs.values, "logits": with_none[:, columns]})


def _trained_rows(spec: EvaluateSpec, rows: pa.Table) -> int:
    """Rows whose text the run was trained on."""
    file = Path(spec.run) / TRAINED if spec.run else None
    if file is None or not file.is_file():
        return 0
    return int(np.isin(row_hashes(rows), np.load(file, allow_pickle=False)).sum())
