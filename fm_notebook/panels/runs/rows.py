"""How a run is worded in the list of runs, once for the panel, the saved table and plain text."""

from __future__ import annotations

import os
import time
from pathlib import Path

from fm_notebook import messages
from fm_notebook.panels import text
from fm_notebook.panels.snapshot import commands
from fm_notebook.session.index import Entry
from fm_notebook.session.progress import OVER, Progress

COLUMNS = ("run", "state", "metric", "interval", "model", "data", "task", "duration", "made")
"""What a table of runs tells. Energy joins them with the first run that knows its own."""
_SHOWN_LETTERS = 8  # of a fingerprint
_LONGEST_MODEL = 60


def heads() -> list[str]:
    """The names of `COLUMNS` in the reader's language."""
    return [messages.text(f"runs.column.{name}") for name in COLUMNS]


def cells(entry: Entry) -> list[str]:
    """The run in words, a cell for each of `COLUMNS`; empty where nothing is known."""
    summary = entry.summary
    return [
        entry.name,
        state(entry),
        *_score(entry),
        _brief(summary.model),
        summary.data[:_SHOWN_LETTERS],
        summary.task,
        text.duration(summary.seconds) if summary.seconds else "",
        time.strftime("%Y-%m-%d %H:%M", time.localtime(summary.created)),
    ]


def state(entry: Entry) -> str:
    """Where the run stands, in a word or two; of one that goes on also how far it is."""
    if entry.state == "queued" and entry.behind:
        return messages.text("panel.queued_behind", name=entry.behind)
    words = messages.text(f"runs.state.{entry.state}")
    summary = entry.summary
    if summary.total_steps and entry.state != "finished":
        return messages.text("runs.state.at", state=words, step=f"{summary.step:,}", total=f"{summary.total_steps:,}")
    return words


def row(entry: Entry) -> dict[str, object]:
    """The run as the panel's page gets it: words, what to sort by, and what may be asked of it."""
    asked = Progress(entry.name, str(entry.folder), state=entry.state)
    return {
        "id": entry.name,
        "cells": cells(entry),
        "full": {"model": entry.summary.model, "data": entry.summary.data},
        "sort": {"metric": entry.summary.value, "duration": entry.summary.seconds, "made": entry.summary.created},
        "state": entry.state,
        "alive": entry.alive,
        "commands": commands(asked, resumable=True) + (["delete"] if entry.state in OVER else []),
    }


def _score(entry: Entry) -> tuple[str, str]:
    """The metric with its value, and never without these its interval and n."""
    summary = entry.summary
    if summary.value is None:
        return "", ""
    uncertainty = [text.interval(summary.interval), f"n = {summary.n:,}"]
    return f"{text.metric(summary.metric)} {text.score(summary.value)}", ", ".join(filter(None, uncertainty))


def _brief(model: str) -> str:
    name = Path(model).name if os.path.isabs(model) else model  # noqa: PTH117 - a hub id is no path
    return name if len(name) <= _LONGEST_MODEL else f"…{name[-_LONGEST_MODEL:]}"
