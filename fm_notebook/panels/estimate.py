"""An `Estimate` as tables: does it fit, how long, what takes the memory, what the data are like."""

from __future__ import annotations

from collections.abc import Iterator

from fm_notebook import messages
from fm_notebook.contracts.trials import Estimate
from fm_notebook.panels import markup, text

MOST_LABELS = 30


def html(found: Estimate) -> str:
    """The estimate as HTML that survives sanitizers; no data rows."""
    header = [messages.text(f"estimate.{key}") for key in ("term", "size")]
    return "".join([
        markup.paragraph(*summary(found)),
        markup.pairs(facts(found), messages.text("estimate.run")),
        markup.table(header, memory(found), messages.text("estimate.memory")),
        markup.pairs(data(found), messages.text("estimate.data")),
        markup.table([messages.text(f"card.{key}") for key in ("class", "train_rows", "eval_rows")], labels(found)),
        markup.paragraph(next_step(found)),
    ])  # fmt: skip


def plain(found: Estimate) -> str:
    """The estimate as text."""
    lines = [*summary(found), *(f"  {name}: {value}" for name, value in facts(found) if value)]
    lines += [messages.text("estimate.memory"), *(f"  {name:<32} {size:>10}" for name, size in memory(found))]
    lines += [messages.text("estimate.data"), *(f"  {name}: {value}" for name, value in data(found) if value)]
    lines += [f"  {label}: {train} · {held}" for label, train, held in labels(found)]
    return "\n".join([*lines, next_step(found)])


def summary(found: Estimate) -> list[str]:
    """The lines that decide: time, memory and disk, each against what there is."""
    lines = [messages.text("estimate.title", name=found.name, model=found.model, task=found.task)]
    lines.append(messages.text("estimate.takes", time=time(found), memory=text.memory(found.memory_bytes)))
    if found.free_memory_bytes is not None:
        key = "estimate.fits" if found.memory_bytes <= found.free_memory_bytes else "estimate.too_large"
        lines.append(messages.text(key, needed=text.memory(found.memory_bytes), free=text.memory(found.free_memory_bytes)))
    if found.disk_bytes > found.free_disk_bytes:
        disk = {"needed": text.memory(found.disk_bytes), "free": text.memory(found.free_disk_bytes)}
        lines.append(messages.text("estimate.no_disk", **disk))
    return lines


def time(found: Estimate) -> str:
    """The foreseen wall time with its interval."""
    if found.total_seconds is None:
        return messages.text("estimate.no_time")
    said = text.duration(found.total_seconds)
    if found.interval is None:
        return said
    ends = {"low": text.duration(found.interval.low), "high": text.duration(found.interval.high)}
    return messages.text("estimate.between", time=said, **ends)


def facts(found: Estimate) -> Iterator[tuple[str, str]]:
    """Parameters, steps, time by phase, and disk."""
    share = found.trainable_parameters / max(1, found.parameters)
    shown = {"total": f"{found.parameters:,}", "trained": f"{found.trainable_parameters:,}", "share": text.share(share)}
    yield _row("parameters"), messages.text("estimate.value.parameters", **shown)
    yield _row("device"), messages.text("card.value.device", device=found.device, precision=found.precision)
    yield _row("steps"), messages.text(
        "estimate.value.steps", steps=f"{found.total_steps:,}", epoch=f"{found.steps_per_epoch:,}", batch=found.batch_size,
        micro=found.micro_batch_size,
    )  # fmt: skip
    if found.step_seconds:
        low, high = min(found.step_seconds), max(found.step_seconds)
        mean = sum(found.step_seconds) / len(found.step_seconds)
        spread = {"mean": f"{mean:.3g}", "low": f"{low:.3g}", "high": f"{high:.3g}", "n": len(found.step_seconds)}
        yield _row("step"), messages.text("estimate.value.step", **spread)
    yield _row("time"), " · ".join(f"{_phase(name)} {text.duration(seconds)}" for name, seconds in found.seconds.items())
    yield _row("disk"), messages.text(
        "estimate.value.disk", most=text.memory(found.disk_bytes), one=text.memory(found.checkpoint_bytes),
        model=text.memory(found.model_bytes), free=text.memory(found.free_disk_bytes),
    )  # fmt: skip


def memory(found: Estimate) -> list[tuple[str, str]]:
    """Bytes by term, the peak they come to, and what the tried steps took."""
    rows = [(messages.text(f"estimate.memory_term.{name}"), text.memory(size)) for name, size in found.memory.items() if size]
    key = "peak" if sum(found.memory.values()) == found.memory_bytes else "peak_below"
    rows.append((messages.text(f"estimate.{key}"), text.memory(found.memory_bytes)))
    if found.measured_memory_bytes is not None:
        rows.append((messages.text("estimate.measured"), text.memory(found.measured_memory_bytes)))
    return rows


def data(found: Estimate) -> Iterator[tuple[str, str]]:
    """What was counted in the rows and their tokens."""
    counted = found.data
    yield _row("rows"), messages.text("card.value.rows", train=f"{counted.train_rows:,}", eval=f"{counted.eval_rows:,}")
    lengths = " · ".join(_percentile(percent, length) for percent, length in found.token_percentiles.items())
    yield _row("lengths"), lengths
    yield (
        _row("truncated"),
        messages.text("estimate.value.truncated", share=text.share(counted.truncated_share or 0.0), limit=found.max_length),
    )
    yield _row("unknown"), text.share(counted.unknown_share) if counted.unknown_share else ""
    yield _row("missing"), f"{counted.missing_rows:,}" if counted.missing_rows else ""
    yield _row("duplicates"), f"{counted.duplicate_texts:,}"
    yield _row("shared"), f"{counted.shared_texts:,}"


def labels(found: Estimate) -> list[tuple[str, str, str]]:
    """Rows of each label with their share; of many labels the first."""
    counted = found.data
    trained, held = (max(1, sum(counts)) for counts in (counted.train_label_counts, counted.eval_label_counts))
    rows = [
        (label, f"{n:,} ({text.share(n / trained)})", f"{m:,} ({text.share(m / held)})")
        for label, n, m in zip(counted.labels, counted.train_label_counts, counted.eval_label_counts, strict=False)
    ]
    return [*rows[:MOST_LABELS], *([("…", "", "")] if len(rows) > MOST_LABELS else [])]


def next_step(found: Estimate) -> str:
    """That nothing is bound, and what to do."""
    return messages.text("estimate.next", name=found.name)


def _percentile(percent: int, length: int) -> str:
    key = "longest" if percent == 100 else "percentile"
    return messages.text(f"estimate.value.{key}", percent=percent, length=f"{length:,}")


def _phase(name: str) -> str:
    return messages.text(f"card.seconds.{name}")


def _row(key: str) -> str:
    return messages.text(f"estimate.row.{key}")
