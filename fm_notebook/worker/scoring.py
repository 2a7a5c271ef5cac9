"""Evaluation and prediction jobs: one loaded model over all rows."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import ReadCommand
from fm_notebook.contracts.results import Evaluation
from fm_notebook.contracts.specs import EvaluateSpec, PredictSpec
from fm_notebook.data.fingerprint import text_hashes
from fm_notebook.engine import models, precision
from fm_notebook.engine.evaluation import outputs
from fm_notebook.engine.models import Loaded
from fm_notebook.engine.tokens import Tokens
from fm_notebook.errors import ModelError
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.metrics import classification
from fm_notebook.tasks import tasks
from fm_notebook.worker import assembly, models_loaded
from fm_notebook.worker.provenance import provenance
from fm_notebook.worker.rows import Rows, read_rows, write_predictions
from fm_notebook.worker.training import TRAINED, source_of

GENERIC = "LABEL_"
"""How transformers names outputs that nobody named."""

Scoring = EvaluateSpec | PredictSpec


def evaluate(folder: JobFolder, spec: EvaluateSpec, command: ReadCommand) -> Iterator[ev.Event]:
    """Score the model on the folder's labelled rows."""
    began = perf_counter()
    labels = folder.facts.labels
    scored = yield from _score(folder, spec, labels, command)
    if scored is None:
        yield ev.Ended(state="cancelled")
        return
    found = classification.evaluate(scored.probabilities, scored.rows.targets, scored.labels, seed=spec.seed)
    evaluation = Evaluation(
        model=spec.model.source, run=Path(spec.run).name if spec.run else None, data=spec.data,
        labels=scored.labels, n=len(scored.rows),
        missing_rows=folder.facts.missing_rows, scores=found.scores, classes=found.classes, confusion=found.confusion,
        trained_rows=_trained_rows(spec, scored.rows), untrained_head=bool(scored.loaded.fresh),
        truncated_share=scored.tokens.truncated_share, unknown_share=scored.tokens.unknown_share, seed=spec.seed,
        seconds=perf_counter() - began, spec=spec.model_dump(mode="json"),
    )  # fmt: skip
    yield ev.Ended(state="finished", evaluation=evaluation)


def predict(folder: JobFolder, spec: PredictSpec, command: ReadCommand) -> Iterator[ev.Event]:
    """Write the class probabilities of the folder's rows."""
    labels = folder.facts.labels if (folder.path / "facts.json").is_file() else None
    scored = yield from _score(folder, spec, labels, command)
    yield ev.Ended(state="cancelled" if scored is None else "finished")


@dataclass(frozen=True)
class _Scored:
    rows: Rows
    tokens: Tokens
    loaded: Loaded
    labels: list[str]
    probabilities: np.ndarray


def _score(
    folder: JobFolder, spec: Scoring, labels: list[str] | None, command: ReadCommand
) -> Generator[ev.Event, None, _Scored | None]:
    task, device = tasks[spec.task], precision.choose_device(spec.device)
    chosen = precision.choose_precision(spec.precision, device)
    yield ev.PhaseBegan(phase="loading_model")
    kept = _load(spec, labels if spec.kind == "evaluate" else None)
    kept.loaded.model.to(device).eval()
    names, columns, note = match_labels(kept.loaded.labels, labels, spec.model.source)
    yield from [note] if note else []

    yield ev.PhaseBegan(phase="tokenizing")
    rows = read_rows(folder.eval_rows)
    tokens = assembly.tokens_of(rows, kept.loaded, kept.tokenizer, spec.max_length)
    yield from assembly.notes([tokens], spec.max_length)
    yield ev.Started(
        total_steps=len(rows), examples=len(rows), parameters=kept.loaded.model.num_parameters(), device=str(device),
        precision=chosen, micro_batch_size=spec.batch_size,
        provenance=provenance(spec, device=str(device), precision=chosen, model=kept.loaded.model),
    )  # fmt: skip
    logits = yield from outputs(
        kept.loaded.model, tokens, chosen, batch_size=spec.batch_size, command=command, until=frozenset({"stop", "cancel"})
    )
    if logits is None:
        return None
    probabilities = _in_order(task.probabilities(logits), columns)
    write_predictions(folder.predictions, rows.rows, probabilities)
    return _Scored(rows, tokens, kept.loaded, names, probabilities)


def _load(spec: Scoring, labels: Sequence[str] | None) -> models_loaded.Kept:
    """The kept model if it is this one, else this one loaded; without a head, one is drawn for `labels`."""
    source, task = source_of(spec), tasks[spec.task]
    if kept := models_loaded.find(source):
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
        models_loaded.keep(source, loaded, tokenizer)
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


def _in_order(probabilities: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    with_none = np.concatenate([probabilities, np.zeros((len(probabilities), 1))], axis=1)  # column -1
    return with_none[:, columns]


def _trained_rows(spec: EvaluateSpec, rows: Rows) -> int:
    """Rows whose text the run was trained on."""
    file = Path(spec.run) / TRAINED if spec.run else None
    if file is None or not file.is_file():
        return 0
    return int(np.isin(text_hashes(rows.texts, rows.pairs), np.load(file, allow_pickle=False)).sum())
