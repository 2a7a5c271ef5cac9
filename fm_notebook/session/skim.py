"""Where a job stands by its journal, without its steps: what a list of many runs can afford to read."""

from __future__ import annotations

import os
from pathlib import Path

from fm_notebook.contracts import events as ev
from fm_notebook.session.progress import Progress

_STEP = b'"type":"StepEnded"'
_TYPE_BYTES = 64  # the type stands within the first bytes of a line
LARGE_BYTES = 3 << 13
_HEAD_BYTES, _TAIL_BYTES = 1 << 13, 1 << 13  # Started and Ended take one or two thousand each


def skim(path: Path, progress: Progress) -> Progress:
    """`progress` fed with the events of the journal `path`, of the steps only the last: its curve stays empty.

    A long journal whose end says what the run came to is read at both ends only.
    """
    lines = _lines(path)
    steps = [place for place, line in enumerate(lines) if _STEP in line[:_TYPE_BYTES]]
    left_out = set(steps[:-1])
    for line in (line for place, line in enumerate(lines) if place not in left_out):
        try:
            progress.apply(ev.read_event(line))
        except ValueError:  # half a line left by a killed writer, or cut by us
            continue
    return progress


def _lines(path: Path) -> list[bytes]:
    try:
        return _ends(path) or path.read_bytes().splitlines()
    except FileNotFoundError:
        return []


def _ends(path: Path) -> list[bytes]:
    """The first and last lines of a long journal that ends with a result; none of any other."""
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= LARGE_BYTES:
            return []
        file.seek(size - _TAIL_BYTES)
        tail = file.read(_TAIL_BYTES)
        if not _says_all(tail):
            return []
        file.seek(0)
        head = file.read(_HEAD_BYTES)
    return head[: head.rfind(b"\n") + 1].splitlines() + tail.splitlines()[1:]


def _says_all(tail: bytes) -> bool:
    """Whether the journal's last line is an end with a result."""
    if not tail.endswith(b"\n"):
        return False
    try:
        last = ev.read_event(tail.splitlines()[-1])
    except (ValueError, IndexError):
        return False
    return isinstance(last, ev.Ended) and last.result is not None
