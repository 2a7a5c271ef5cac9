"""What panel and card need of a job; `fm_notebook.session.job.Job` satisfies it, and so does a fake of ten lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from fm_notebook.session.progress import Progress


@runtime_checkable
class WatchedJob(Protocol):
    """A job that can be looked at, followed and controlled."""

    @property
    def name(self) -> str:
        """Name of the job."""
        ...

    @property
    def folder(self) -> Path:
        """The job's folder."""
        ...

    @property
    def progress(self) -> Progress:
        """Where it stands, as of the last `refresh`."""
        ...

    def refresh(self) -> object:
        """Take in what the journal says now."""
        ...

    def watch(self, listener: Callable[[Any], None]) -> Callable[[], None]:
        """Call `listener` with news from a background thread until the job is over; returns how to end that."""
        ...

    def command(self, wish: str) -> None:
        """Ask for ``pause``, ``resume``, ``stop`` or ``cancel``; callable from any thread."""
        ...
