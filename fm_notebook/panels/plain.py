"""A job's reports as lines of text: for terminals, for logs, and for notebooks that run with nobody watching.

They are written by who waits in the main thread, never by the watcher's: what a thread prints lands in the newest cell, or
in the middle of what somebody is typing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

from fm_notebook import messages
from fm_notebook.contracts.events import EvalEnded
from fm_notebook.panels import text
from fm_notebook.panels.snapshot import facts
from fm_notebook.session.progress import Progress

STEP_SECONDS = 10.0
"""Between two lines that tell of steps alone."""

QUICK_LINES = 40
"""So many lines come as soon as there is something to report; later ones keep a hundredth of the run's time apart."""


def is_plain() -> bool:
    """Whether there is no front end that shows HTML: no Jupyter kernel, or ``FM_NOTEBOOK_PLAIN=1``."""
    if os.environ.get("FM_NOTEBOOK_PLAIN", "") not in {"", "0"}:
        return True
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is None


def line(progress: Progress) -> str:
    """Where a job stands, on one line: state, step, loss, time left, pace."""
    words = [messages.text("card.plain.report", name=progress.name, state=text.state(progress))]
    return " · ".join([*words, *(f"{name} {value}" for name, value in facts(progress))])


def evaluation_line(name: str, evaluated: EvalEnded) -> str:
    """The scores of one evaluation, on one line."""
    scores = " · ".join(f"{text.metric(metric)} {text.score(value)}" for metric, value in evaluated.metrics.items())
    best = messages.text("plain.best") if evaluated.best else ""
    return messages.text("plain.evaluated", name=name, step=f"{evaluated.step:,}", scores=scores, n=f"{evaluated.n:,}") + best


class Lines:
    """Writes a line for every evaluation, checkpoint and change of state, and every ten seconds one for the steps.

    To be given to `Job.wait`, which calls it with the progress again and again; its answer is always that the waiting goes on.

    Parameters
    ----------
    progress : Progress
        What has been reported already, as of a run that is attached.
    """

    def __init__(self, progress: Progress) -> None:
        self._state, self._step, self._written = "", progress.step, 0
        self._evaluations, self._checkpoints = len(progress.held_out), len(progress.checkpoints)
        self._time = time.monotonic()

    def __call__(self, progress: Progress) -> bool:
        """Write what is new."""
        if self._is_due(progress):
            for each in self._news(progress):
                sys.stdout.write(each + "\n")
                self._written += 1
                self._time = time.monotonic()
            sys.stdout.flush()
        return False

    def _is_due(self, progress: Progress) -> bool:
        pause = 0.0 if self._written < QUICK_LINES else max(STEP_SECONDS, progress.elapsed_seconds / 100)
        return progress.over or time.monotonic() - self._time >= pause

    def _news(self, progress: Progress) -> Iterator[str]:
        evaluated, saved = progress.held_out[self._evaluations :], progress.checkpoints[self._checkpoints :]
        if self._written >= QUICK_LINES:  # of what came in one pause, the newest
            evaluated, saved = evaluated[-1:], saved[-1:]
        self._evaluations, self._checkpoints = len(progress.held_out), len(progress.checkpoints)
        for each in evaluated:
            yield evaluation_line(progress.name, each)
        for each in saved:
            yield messages.text("plain.checkpoint", name=progress.name, step=f"{each.step:,}")
        # `progress.phase` is of the moment, "saving" at each checkpoint: a new state is news, a new phase is not.
        stepped = progress.step > self._step and time.monotonic() - self._time >= STEP_SECONDS
        if progress.state != self._state or (stepped and not (evaluated or saved)):
            self._state, self._step = progress.state, progress.step
            yield line(progress)
