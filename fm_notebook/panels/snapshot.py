"""What the panel says at one moment: plain words and numbers, worded here so that panel and card agree."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from fm_notebook import messages
from fm_notebook.contracts.results import Interval
from fm_notebook.panels import text
from fm_notebook.session.progress import Progress


@dataclass(frozen=True)
class Snapshot:
    """The moving part of the panel, sent at each tick.

    Attributes
    ----------
    words : str
        The state in words.
    fraction : float or None
        Share of the steps or items that are done, None while unknown.
    facts : list of (label, value)
    scores : list of (metric, value, interval, n)
        Final held-out scores.
    commands : list of str
        What may be asked for now: ``pause``, ``resume``, ``stop``, ``cancel``, ``restart``.
    compact : bool
        Whether the card below shows the whole result already.
    late : bool
        Whether some page still has a card that is not final.
    sent : float
        Seconds since the epoch, for the page to tell how late it is.
    """

    name: str
    kind: str
    state: str
    words: str
    over: bool
    step: int
    total: int
    fraction: float | None
    facts: list[tuple[str, str]]
    notes: list[tuple[str, str]]
    error: list[str]
    scores: list[tuple[str, str, str, str]]
    best: int
    metric: str
    commands: list[str]
    compact: bool = False
    late: bool = False
    sent: float = field(default_factory=time.time)

    def to_json(self) -> dict[str, object]:
        """Plain lists and numbers."""
        return asdict(self)


def snapshot(
    progress: Progress,
    *,
    asked: str = "",
    complaint: str = "",
    resumable: bool = False,
    compact: bool = False,
    late: bool = False,
) -> Snapshot:
    """The moment's picture of `progress`.

    Parameters
    ----------
    asked : str
        The command that was just clicked and that the worker has not confirmed.
    complaint : str
        Why the last click did nothing.
    resumable : bool
        Whether a run that is over can be resumed from here.
    compact, late : bool
        As in `Snapshot`.
    """
    done, total = _count(progress)
    return Snapshot(
        name=progress.name,
        kind=progress.kind,
        state=progress.state,
        words=messages.text(f"panel.asked.{asked}") if asked else text.state(progress),
        over=progress.over,
        step=done,
        total=total,
        fraction=min(1.0, done / total) if total else None,
        facts=facts(progress),
        notes=text.notes(progress.notes),
        error=text.failure(progress.error) + ([complaint] if complaint else []),
        scores=scores(progress),
        best=progress.best.step if progress.best else 0,
        metric=text.metric(progress.started.metric) if progress.started and progress.started.metric else "",
        commands=commands(progress, resumable=resumable),
        compact=compact,
        late=late,
    )


def facts(progress: Progress) -> list[tuple[str, str]]:
    """The numbers under the bar, as (label, value); those that are not known yet are left out."""
    done, total = _count(progress)
    found = [("step" if progress.kind == "finetune" else "items", f"{done:,} / {total:,}" if total else "")]
    if progress.started and progress.started.steps_per_epoch:
        epochs = progress.started.total_steps / progress.started.steps_per_epoch
        found.append(("epoch", f"{progress.epoch:.2f} / {text.epochs(epochs)}"))
    if progress.last:
        found.append(("loss", text.number(progress.last.loss)))
    eta = progress.eta_seconds
    if progress.state == "running" and eta is not None:
        found.append(("eta", text.clock(eta)))
    elif progress.first_time:
        found.append(("elapsed", text.clock(progress.elapsed_seconds)))
    if progress.last:
        examples, tokens = progress.examples_per_second, progress.tokens_per_second
        found += [
            ("examples_per_second", text.amount(examples) if examples else ""),
            ("tokens_per_second", text.amount(tokens) if tokens else ""),
            ("memory", text.memory(progress.last.memory_bytes) if progress.last.memory_bytes else ""),
        ]
    return [(messages.text(f"panel.fact.{key}"), value) for key, value in found if value]


def scores(progress: Progress) -> list[tuple[str, str, str, str]]:
    """The final held-out scores as (metric, value, 95 % interval where known, n)."""
    if progress.result is None:
        return []
    return rows_of(progress.result.metrics, progress.result.intervals, progress.result.n_eval)


def rows_of(metrics: Mapping[str, float], intervals: Mapping[str, Interval], n: int) -> list[tuple[str, str, str, str]]:
    """Scores as shown: (metric, value, 95 % interval, n)."""
    return [
        (text.metric(name), text.score(value), text.interval(intervals.get(name)), f"{n:,}") for name, value in metrics.items()
    ]


def commands(progress: Progress, *, resumable: bool) -> list[str]:
    """What may be asked for in this state."""
    match progress.state:
        case "starting" | "running" if progress.kind == "finetune":
            return ["pause", "stop", "cancel"]
        case "starting" | "running" if progress.kind == "probe":
            return ["stop", "cancel"]  # what is scored by then is a random part of the items, and is reported
        case "pausing" | "paused":
            return ["resume", "stop", "cancel"]
        case "queued" | "starting" | "running" | "stopping":
            return ["cancel"]
        case "stopped" | "died" | "cancelled" | "failed" if resumable:
            return ["restart"]
    return []


def _count(progress: Progress) -> tuple[int, int]:
    if progress.kind != "finetune" and progress.items:
        return progress.items.done, progress.items.total
    return progress.step, progress.total_steps
