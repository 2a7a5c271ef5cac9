"""The card of a run: the static picture that stays in the saved notebook, and its plain-text twin."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fm_notebook import messages
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import Spec
from fm_notebook.panels import curves, markup, text
from fm_notebook.panels.snapshot import facts as numbers
from fm_notebook.panels.snapshot import scores
from fm_notebook.session.progress import Progress

if TYPE_CHECKING:
    from fm_notebook.figures.picture import Picture
    from fm_notebook.panels.progress import WatchedJob

SHORTEST_PAUSE_SECONDS = 5.0
MOST_HANDLES = 3
MOST_LABELS = 30
MOST_VALUE_LETTERS = 400
SETTINGS = (
    "task", "epochs", "max_steps", "learning_rate", "batch_size", "max_length", "weight_decay", "class_weight", "warmup_steps",
    "lr_schedule", "max_grad_norm", "dropout", "seed", "early_stopping", "metric",
)  # fmt: skip


def html(progress: Progress, spec: Spec | None = None, facts: DataFacts | None = None) -> str:
    """The card as HTML that survives GitHub's and JupyterLab's sanitizers; folded while the job runs, as the panel is above it.

    Parameters
    ----------
    progress : Progress
    spec : Spec, optional
    facts : DataFacts, optional
        What was counted in the data.
    """
    head = _headline(progress)
    body = "".join(_parts(progress, spec, facts))
    if progress.over:
        return markup.paragraph(head, strong=progress.name) + body
    summary = messages.text("card.while_running", name=progress.name, state=text.state(progress), step=f"{progress.step:,}")
    return markup.details(summary, body or markup.paragraph(head))


def plain(progress: Progress, spec: Spec | None = None, facts: DataFacts | None = None) -> str:
    """The card as text."""
    lines = [f"{progress.name}: {_headline(progress)}"]
    lines += [f"  {line}" for line in text.failure(progress.error)]
    lines += [f"  {name:<18} {value:>8}  {between:<15}  n = {n}" for name, value, between, n in scores(progress)]
    lines += [f"  {name}: {value}" for name, value in [*_data(spec, facts), *_speed(progress)] if value]
    lines += [f"  {note}" for _, note in text.notes(progress.notes)]
    return "\n".join(lines)


def html_of(job: WatchedJob) -> str:
    """The card of `job`, with what its folder tells of spec and data."""
    return html(job.progress, *_folder(job))


def text_of(job: WatchedJob) -> str:
    """The plain twin of `html_of`."""
    return plain(job.progress, *_folder(job))


def line(progress: Progress) -> str:
    """One report of a job on one line, for terminals and logs."""
    latest = progress.held_out[-1] if progress.held_out else None
    words = [messages.text("card.plain.report", name=progress.name, state=text.state(progress))]
    words += [f"{name} {value}" for name, value in numbers(progress)]
    words += [f"{text.metric(name)} {text.score(value)}" for name, value in latest.metrics.items()] if latest else []
    return " · ".join(words)


def is_plain() -> bool:
    """Whether there is no front end that shows HTML: no Jupyter kernel, or ``FM_NOTEBOOK_PLAIN=1``."""
    if os.environ.get("FM_NOTEBOOK_PLAIN", "") not in {"", "0"}:
        return True
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is None


class Card:
    """The card of `job` on display: written at the start, at evaluations (at most every five seconds) and at the end."""

    def __init__(self, job: WatchedJob):
        self.job = job
        self._handles: list[Any] = []
        self._written: tuple[str, int] = ("", -1)
        self._time = -SHORTEST_PAUSE_SECONDS
        self._unwatch: Callable[[], None] | None = None

    def show(self) -> None:
        """Display the card here; never raises."""
        with suppress(Exception):
            self._mark()
            if is_plain():
                self._say()
                return
            from IPython.display import display

            handle = display(_bundle(self.job), raw=True, display_id=True)
            # Some front ends give no handle: then the card stays as it is until the next cell of ours.
            self._handles = [*self._handles, *filter(None, [handle])][-MOST_HANDLES:]

    def follow(self) -> None:
        """Keep the card up to date until the job is over."""
        self.unfollow()
        self._unwatch = self.job.watch(self.update)

    def unfollow(self) -> None:
        """Leave the card as it is."""
        unwatch, self._unwatch = self._unwatch, None
        if unwatch is not None:
            unwatch()

    def update(self, _job: object = None) -> None:
        """Write the card anew if an evaluation or a new state came; never raises."""
        with suppress(Exception):
            if not self._is_due():
                return
            self._mark()
            if is_plain():
                self._say()
            for handle in self._handles:
                handle.update(_bundle(self.job), raw=True)

    def _is_due(self) -> bool:
        progress = self.job.progress
        if (progress.state, len(progress.held_out)) == self._written:
            return False
        return progress.over or progress.state != self._written[0] or time.monotonic() - self._time >= SHORTEST_PAUSE_SECONDS

    def _mark(self) -> None:
        progress = self.job.progress
        self._written, self._time = (progress.state, len(progress.held_out)), time.monotonic()

    def _say(self) -> None:
        sys.stdout.write((text_of(self.job) if self.job.progress.over else line(self.job.progress)) + "\n")


def _bundle(job: WatchedJob) -> dict[str, str]:
    return {"text/html": html_of(job), "text/plain": text_of(job)}


def _folder(job: WatchedJob) -> tuple[Spec | None, DataFacts | None]:
    """Spec and facts as they stand in the job's folder; None for what is not there (yet)."""
    from fm_notebook.jobs.folder import JobFolder

    folder = JobFolder(job.folder)
    spec = facts = None
    with suppress(OSError, ValueError):
        spec = folder.spec
    with suppress(OSError, ValueError):
        facts = folder.facts
    return spec, facts


def _headline(progress: Progress) -> str:
    words = [text.state(progress)]
    if progress.over and progress.step:
        words.append(messages.text("card.steps_in", steps=f"{progress.step:,}", time=text.duration(progress.elapsed_seconds)))
    elif progress.total_steps:
        words.append(messages.text("card.steps_of", step=f"{progress.step:,}", total=f"{progress.total_steps:,}"))
    return " · ".join(words)


def _parts(progress: Progress, spec: Spec | None, facts: DataFacts | None) -> Iterator[str]:
    if failed := text.failure(progress.error):
        yield markup.paragraph(*failed)
    yield _scores(progress)
    yield markup.image(picture(progress))
    yield markup.bullets(note for _, note in text.notes(progress.notes))
    yield markup.pairs(_data(spec, facts), messages.text("card.data"))
    yield _labels(facts)
    yield markup.pairs(_speed(progress), messages.text("card.speed"))
    yield markup.details(messages.text("card.settings"), markup.pairs(_settings(progress, spec)))
    yield markup.details(messages.text("card.provenance"), markup.pairs(_provenance(progress, spec)))


def picture(progress: Progress) -> Picture | None:
    """The learning curve of a fine-tuning run; None before the first step."""
    if not progress.train.steps and not progress.held_out:
        return None
    from fm_notebook.figures.learning_curve import learning_curve

    metric = progress.started.metric if progress.started else ""
    return learning_curve(
        list(progress.train.steps), list(progress.train.values), curves.thinned(progress.held_out),
        metric=metric, metric_name=text.metric(metric) if metric else "",
    )  # fmt: skip


def _scores(progress: Progress) -> str:
    header = [messages.text(f"panel.column.{key}") for key in ("metric", "value", "interval", "n")]
    if progress.result is not None:
        n = f"{progress.result.n_eval:,}"
        return markup.table(header, scores(progress), messages.text("card.scores", step=f"{progress.result.best_step:,}", n=n))
    if not progress.held_out:
        return ""
    latest = progress.held_out[-1]
    rows = [(text.metric(name), text.score(value)) for name, value in latest.metrics.items()]
    return markup.table(header[:2], rows, messages.text("card.latest", step=f"{latest.step:,}", n=f"{latest.n:,}"))


def _data(spec: Spec | None, facts: DataFacts | None) -> Iterator[tuple[str, str]]:
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
    for name, count in (("missing", facts.missing_rows), ("shared", facts.shared_texts), ("duplicates", facts.duplicate_texts)):
        yield _row(name), f"{count:,}"
    for name, part in (("truncated", facts.truncated_share), ("unknown", facts.unknown_share)):
        yield _row(name), text.share(part) if part is not None else ""


def _labels(facts: DataFacts | None) -> str:
    """The label balance; of many labels the first."""
    if facts is None or not facts.labels:
        return ""
    sums = [max(1, sum(facts.train_label_counts)), max(1, sum(facts.eval_label_counts))]
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


def _speed(progress: Progress) -> Iterator[tuple[str, str]]:
    result = progress.result
    if result is not None:
        for phase, seconds in result.seconds.items():
            key = f"card.seconds.{phase}"
            yield messages.text(key) if messages.has(key) else phase, text.duration(seconds)
        yield _row("examples_per_second"), text.amount(result.examples_per_second)
        yield _row("tokens_per_second"), text.amount(result.tokens_per_second)
        yield _row("memory"), text.memory(result.peak_memory_bytes)
    if progress.started is not None:
        device = messages.text("card.value.device", device=progress.started.device, precision=progress.started.precision)
        yield _row("device"), device if progress.started.device else ""
    if progress.checkpoints and progress.state != "finished":
        yield _row("checkpoint"), messages.text("card.value.step", step=f"{progress.checkpoints[-1].step:,}")


def _settings(progress: Progress, spec: Spec | None) -> Iterator[tuple[str, str]]:
    started = progress.started
    if started is not None and started.parameters:
        total, trainable = f"{started.parameters:,}", f"{started.trainable_parameters:,}"
        yield _row("parameters"), messages.text("card.value.parameters", total=total, trainable=trainable)
    for name in SETTINGS:
        value = getattr(spec, name, None)
        yield name, "" if value is None else _short(str(value))
    if started is not None:
        yield "micro_batch_size", str(started.micro_batch_size or "")


def _provenance(progress: Progress, spec: Spec | None) -> Iterator[tuple[str, str]]:
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


def _row(key: str) -> str:
    return messages.text(f"card.row.{key}")


def _short(value: str) -> str:
    """Bounded, so that the card stays small whatever was written."""
    return value if len(value) <= MOST_VALUE_LETTERS else value[: MOST_VALUE_LETTERS - 1] + "…"
