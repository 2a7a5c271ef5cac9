"""The panel of a job that a cell waits for: there while the job runs, so that it can be stopped, and then a line of words."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fm_notebook.panels.progress import ProgressPanel
from fm_notebook.panels.watched import WatchedJob
from fm_notebook.session.progress import Progress

SILENT_SECONDS = 1.0
"""A job that is over by then shows nothing."""


class PassingPanel:
    """To be given to `Job.wait`, which calls it with the progress again and again; its answer is that the waiting goes on.

    Parameters
    ----------
    words : callable
        What stays when the job is over.
    """

    def __init__(self, job: WatchedJob, words: Callable[[Progress], str]):
        self._job, self._words, self._since = job, words, time.monotonic()
        self._panel: ProgressPanel | None = None
        self._handle: Any = None

    def __call__(self, progress: Progress) -> bool:
        """Show the panel, if the job takes that long, or the words; never raises."""
        with suppress(Exception):
            if progress.over:
                self.end()
            elif self._panel is None and time.monotonic() - self._since > SILENT_SECONDS:
                self._show()
        return False

    def end(self) -> None:
        """Put the words in the panel's place, if it was shown."""
        panel, self._panel = self._panel, None
        if panel is None:
            return
        if self._handle is not None:
            self._handle.update({"text/plain": self._words(self._job.progress)}, raw=True)
        panel.close()

    def _show(self) -> None:
        from IPython.display import display

        self._panel = ProgressPanel(self._job)
        data, metadata = self._panel._repr_mimebundle_()
        self._handle = display(data, metadata=metadata, raw=True, display_id=True)
        self._panel.follow()
