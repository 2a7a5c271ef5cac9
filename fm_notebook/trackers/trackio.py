"""trackio: a database on this machine, for ``trackio show``; elsewhere only where its own variables say so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fm_notebook import extras

if TYPE_CHECKING:
    from fm_notebook.contracts.protocols import TrackedRun


class Trackio:
    """A `fm_notebook.contracts.protocols.Tracker`. The database lies in ``TRACKIO_DIR``, else where trackio keeps it."""

    name = "trackio"
    source = "https://github.com/gradio-app/trackio"
    package, extra = "trackio", "trackio"
    _run: Any = None

    def begin(self, run: TrackedRun) -> str:
        """Begin, or go on with the run of that name that was begun before."""
        trackio = extras.require("trackio", extra=self.extra)
        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", run.project), name=run.name, config=dict(run.config), embed=False,
            resume="allow" if run.id else "never", auto_log_gpu=False, auto_log_cpu=False,
        )  # fmt: skip
        return self._run.id

    def log(self, step: int, values: Mapping[str, float], time: float) -> None:
        """Log at `step`; when it was is trackio's own."""
        del time
        self._run.log(dict(values), step=step)

    def end(self, state: str) -> None:
        """Finish."""
        del state
        self._run.finish()


tracker = Trackio()
