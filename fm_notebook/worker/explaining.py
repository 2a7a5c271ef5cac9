"""An explanation job: one text, one answer of a model, and what drove it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.attributions import Attribution, MethodScores
from fm_notebook.contracts.protocols import ReadCommand, Task
from fm_notebook.contracts.specs import ExplainSpec
from fm_notebook.engine import asking, attribution, families, models, precision
from fm_notebook.engine.asking import Asked, Written
from fm_notebook.engine.models import Loaded
from fm_notebook.engine.questions import plainly
from fm_notebook.errors import ModelError, SpecError, did_you_mean
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.tasks import tasks
from fm_notebook.worker.assembly import UNKNOWN_WARNING
from fm_notebook.worker.models_loaded import Kept
from fm_notebook.worker.provenance import provenance
from fm_notebook.worker.scoring import kept_model


class _Cancelled(Exception):  # noqa: N818 - no error
    pass


def explain(folder: JobFolder, spec: ExplainSpec, command: ReadCommand) -> Iterator[ev.Event]:
    """Say which parts of the text drove the answer, by each method asked for; the model is left as it was found."""
    began = perf_counter()
    task, device = tasks[spec.task].configure(spec), precision.choose_device(spec.device)
    yield ev.PhaseBegan(phase="loading_model")
    kept = kept_model(spec, task, None)
    model = kept.loaded.model.to(device)
    with plainly(model):
        yield ev.PhaseBegan(phase="tokenizing")
        asked = _asked(kept, spec, task, folder.facts.labels)
        yield from _notes(asked, spec)
        yield ev.Started(
            total_steps=len(spec.methods), examples=1, parameters=model.num_parameters(), device=str(device), precision="fp32",
            provenance=provenance(spec, device=str(device), precision="fp32", model=model),
        )  # fmt: skip
        try:
            found = yield from _explained(kept, asked, spec, command)
        except _Cancelled:
            yield ev.Ended(state="cancelled")
            return
    found = found.model_copy(update={"seconds": perf_counter() - began})
    yield ev.Ended(state="finished", attribution=found)


def _explained(kept: Kept, asked: Asked, spec: ExplainSpec, command: ReadCommand):
    model, tokenizer = kept.loaded.model, kept.tokenizer
    names = _names(kept.loaded, asked)
    given = asked.question.probabilities(asked.question.answers(model, [asked.question.sentences]))[0].tolist()
    best = max(range(len(given)), key=given.__getitem__)
    label = _number(spec.label, names, best)

    def check() -> None:
        if command() in {"stop", "cancel"}:
            raise _Cancelled

    groups, methods = list(asked.groups.values()), []
    for method in spec.methods if groups else ():
        if method == "integrated-gradients":
            baseline = attribution.Baseline.of(tokenizer, model.get_input_embeddings(), spec.baseline)
            made = attribution.integrated_gradients(
                model, asked.question, label, groups, baseline, steps=spec.steps, check=check
            )  # fmt: skip
        else:
            made = attribution.occlusion(model, tokenizer, asked.question, label, groups, check=check)
        methods.append(_by_piece(made, asked))
        yield ev.ItemsScored(done=len(methods), total=len(spec.methods))
    spelling, unknown = asked.spelling, sum(piece.unknown for piece in asked.pieces)
    return Attribution(
        model=spec.model.source, run=Path(spec.run).name if spec.run else None, task=spec.task, problem=asked.question.kind,
        text=spec.text, text_pair=spec.text_pair, label=names[label], predicted=names[best], labels=names, probabilities=given,
        pieces=asked.pieces, methods=methods, agreement=_agreement(methods), target=asked.target, cut_at=spelling.cuts[0],
        cut_pair_at=spelling.cuts[1], tokens=len(spelling.ids), unknown_share=unknown / max(1, len(asked.pieces)), seed=spec.seed,
        spec=spec.model_dump(mode="json"),
    )  # fmt: skip


def _asked(kept: Kept, spec: ExplainSpec, task: Task, labels: Sequence[str]) -> Asked:
    """The question by the kind of task.

    Raises
    ------
    SpecError
        If the task has no answer about one text whose parts can be told apart.
    """
    model, tokenizer = kept.loaded.model, kept.tokenizer
    limit = min(spec.max_length, models.longest_text(model, tokenizer) - families.virtual_tokens(model))
    written = Written(spec.text, spec.text_pair, spec.unit, spec.target)
    _check_ids(kept)
    match spec.task:
        case "token-classification":
            return asking.of_word(model, tokenizer, written, limit, kept.loaded.labels)
        case "text-generation":
            return asking.of_next_tokens(model, tokenizer, written, limit)
        case "zero-shot-classification":
            return asking.of_names(model, tokenizer, written, limit, task, labels)
    if task.level != "text":
        raise SpecError("explain.task", task=spec.task)
    return asking.of_text(tokenizer, written, limit, getattr(task, "problem", "single-label"))


def _check_ids(kept: Kept) -> None:
    known, largest = kept.loaded.model.get_input_embeddings().num_embeddings, len(kept.tokenizer) - 1
    if largest >= known:
        raise ModelError("weights.tokenizer_too_large", largest=largest, known=known)


def _names(loaded: Loaded, asked: Asked) -> list[str]:
    return list(asked.labels or loaded.labels)


def _number(label: str | None, names: Sequence[str], best: int) -> int:
    if label is None or len(names) == 1:
        return best
    if label not in names:
        raise SpecError("explain.label", label=label, known=", ".join(names[:20]), hint=did_you_mean(label, names))
    return names.index(label)


def _notes(asked: Asked, spec: ExplainSpec) -> Iterator[ev.Event]:
    unknown = sum(piece.unknown for piece in asked.pieces) / max(1, len(asked.pieces))
    if unknown > UNKNOWN_WARNING:
        yield ev.Noted(key="unknown_tokens", values={"share": unknown}, level="warning")
    if any(cut is not None for cut in asked.spelling.cuts):
        yield ev.Noted(key="truncated", values={"n": 1, "share": 1.0, "limit": spec.max_length})


def _by_piece(made: MethodScores, asked: Asked) -> MethodScores:
    """With a score for every piece: None for those that cannot matter."""
    scores = dict(zip(asked.groups, made.scores, strict=True))
    return made.model_copy(update={"scores": [scores.get(i) for i in range(len(asked.pieces))]})


def _agreement(methods: Sequence[MethodScores]) -> float | None:
    """Spearman's rank correlation of two methods' scores; None for fewer than three pieces, or where one says the same of all."""
    if len(methods) != 2:
        return None
    from scipy.stats import spearmanr

    both = [[score for score in method.scores if score is not None] for method in methods]
    if len(both[0]) < 3 or any(len(set(scores)) < 2 for scores in both):
        return None
    found: Any = spearmanr(both[0], both[1])
    return float(found.statistic) if math.isfinite(found.statistic) else None
