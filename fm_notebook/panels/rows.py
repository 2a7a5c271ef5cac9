"""The parts of a card: scores, curve, data, pace, settings and provenance, bounded in size whatever was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fm_notebook import messages
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import Spec
from fm_notebook.panels import curves, markup, text
from fm_notebook.panels.snapshot import rows_of, scores
from fm_notebook.session.progress import Progress

if TYPE_CHECKING:
    from fm_notebook.figures.picture import Picture

MOST_LABELS = 30
MOST_VALUE_LETTERS = 400
SETTINGS = (
    "task", "epochs", "max_steps", "learning_rate", "batch_size", "max_length", "weight_decay", "class_weight", "warmup_steps",
    "lr_schedule", "max_grad_norm", "dropout", "seed", "early_stopping", "metric",
)  # fmt: skip
CHOSEN_SETTINGS = (
    "lora", "prompt_tuning", "freeze", "mitigation", "problem", "mask_probability", "whole_words", "next_sentence",
    "completion_only_loss", "batching", "packing", "kernels", "gradient_checkpointing", "fsdp", "template", "shots",
    "label_words", "score",
)  # fmt: skip
"""Shown where they differ from their defaults: most belong to one task alone."""


def curve(progress: Progress) -> Picture | None:
    """The learning curve of a fine-tuning run; None before the first step."""
    if not progress.train.steps and not progress.held_out:
        return None
    from fm_notebook.figures.learning_curve import learning_curve

    metric = progress.started.metric if progress.started else ""
    return learning_curve(
        list(progress.train.steps), list(progress.train.values), curves.thinned(progress.held_out),
        metric=metric, metric_name=text.metric(metric) if metric else "",
    )  # fmt: skip


def held_out(progress: Progress) -> str:
    """Table of the final scores, or of the latest while there are none."""
    header = [messages.text(f"panel.column.{key}") for key in ("metric", "value", "interval", "n")]
    if progress.result is not None:
        return markup.table(header, scores(progress), messages.text("card.scores", step=f"{progress.result.best_step:,}"))
    if not progress.held_out:
        return ""
    latest = progress.held_out[-1]
    rows = rows_of(latest.metrics, latest.intervals, latest.n)
    return markup.table(header, rows, messages.text("card.latest", step=f"{latest.step:,}"))


def data(spec: Spec | None, facts: DataFacts | None) -> Iterator[tuple[str, str]]:
    """What the run learned from, and what was counted in it."""
    if spec is not None:
        yield _row("model"), _short(spec.model.source)
    if spec is not None and spec.kind == "finetune":
        yield _row("base"), spec.base or ""
        yield _row("train"), _short(spec.train.source)
        yield _row("eval"), _short(spec.eval.source) if spec.eval else ""
    if facts is None:
        return
    yield _row("rows"), messages.text("card.value.rows", train=f"{facts.train_rows:,}", eval=f"{facts.eval_rows:,}")
    if spec is not None and spec.kind == "finetune":
        how = ("stratified" if facts.stratified else "plain") if facts.held_out else "given"
        yield _row("split"), messages.text(f"card.split.{how}", seed=spec.seed)
    yield _row("missing"), f"{facts.missing_rows:,}" if facts.missing_rows else ""
    yield _row("shared"), f"{facts.shared_texts:,}"
    yield _row("duplicates"), f"{facts.duplicate_texts:,}" if facts.duplicate_texts else ""
    for name, part in (("truncated", facts.truncated_share), ("unknown", facts.unknown_share)):
        yield _row(name), text.share(part) if part is not None else ""


def labels(spec: Spec | None, facts: DataFacts | None) -> str:
    """The label balance, with several labels a text as shares of the texts; of many labels the first, of numbers none."""
    problem = getattr(spec, "problem", "auto")
    if facts is None or not facts.labels or problem == "regression":
        return ""
    sums = [max(1, sum(facts.train_label_counts)), max(1, sum(facts.eval_label_counts))]
    if problem == "multi-label":
        sums = [max(1, facts.train_rows), max(1, facts.eval_rows)]
    counts = zip(facts.labels, facts.train_label_counts, facts.eval_label_counts, strict=False)
    rows = [
        (_short(label), f"{train:,} ({text.share(train / sums[0])})", f"{held:,} ({text.share(held / sums[1])})")
        for label, train, held in list(counts)[:MOST_LABELS]
    ]
    if len(facts.labels) > MOST_LABELS:
        rows.append(("…", "", ""))
    return markup.table(
        [messages.text(f"card.{key}") for key in ("class", "train_rows", "eval_rows")], rows, messages.text("card.labels")
    )


def speed(progress: Progress) -> Iterator[tuple[str, str]]:
    """Seconds by phase, pace and memory."""
    result = progress.result
    if result is not None:
        yield (
            _row("seconds"),
            " · ".join(f"{_phase(phase)} {text.duration(seconds)}" for phase, seconds in result.seconds.items()),
        )
        pace = {"examples_per_second": result.examples_per_second, "tokens_per_second": result.tokens_per_second}
        yield _row("pace"), " · ".join(messages.text(f"card.pace.{name}", n=text.amount(n)) for name, n in pace.items() if n)
        yield _row("memory"), text.memory(result.peak_memory_bytes)
    if progress.started is not None:
        device = messages.text("card.value.device", device=progress.started.device, precision=progress.started.precision)
        yield _row("device"), device if progress.started.device else ""
    if progress.checkpoints and progress.state != "finished":
        yield _row("checkpoint"), messages.text("card.value.step", step=f"{progress.checkpoints[-1].step:,}")


def estimated(progress: Progress) -> Iterator[tuple[str, str]]:
    """What was estimated before or at the start of a run, what was measured, and how far off it was."""
    for name, pair, words in (("memory", progress.weighed, text.memory), ("time", progress.foreseen, text.duration)):
        if pair is not None and pair[1] > 0:
            found, measured = pair
            said = {"estimated": words(found), "measured": words(measured), "error": f"{100 * (found / measured - 1):+.0f} %"}
            yield messages.text(f"card.estimate.{name}"), messages.text("card.estimate.both", **said)


def settings(progress: Progress, spec: Spec | None) -> Iterator[tuple[str, str]]:
    """The fields that say what was done."""
    started = progress.started
    if started is not None and started.parameters:
        total, trainable = f"{started.parameters:,}", f"{started.trainable_parameters:,}"
        yield _row("parameters"), messages.text("card.value.parameters", total=total, trainable=trainable)
    for name in SETTINGS:
        value = getattr(spec, name, None)
        yield name, "" if value is None else _short(str(value))
    for name in CHOSEN_SETTINGS:
        field = type(spec).model_fields.get(name) if spec is not None else None
        if field is not None and (value := getattr(spec, name)) != field.default:
            yield name, _short(str(value))
    if started is not None:
        yield "micro_batch_size", str(started.micro_batch_size or "")


def provenance(progress: Progress, spec: Spec | None) -> Iterator[tuple[str, str]]:
    """Versions, hashes and fingerprints."""
    if progress.started is not None:
        yield from _flat(progress.started.provenance, "")
    if spec is not None and spec.kind == "finetune":
        yield _row("train"), spec.train.fingerprint
        yield _row("eval"), spec.eval.fingerprint if spec.eval else ""


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "" if value is None else _short(str(value))


def _phase(name: str) -> str:
    key = f"card.seconds.{name}"
    return messages.text(key) if messages.has(key) else name


def _row(key: str) -> str:
    return messages.text(f"card.row.{key}")


def _short(value: str) -> str:
    """Bounded, so that the card stays small whatever was written."""
    return value if len(value) <= MOST_VALUE_LETTERS else value[: MOST_VALUE_LETTERS - 1] + "…"
