"""The panels and cards on display, one pair a job; the oldest are closed where there are too many."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fm_notebook.panels.card import Card, is_plain
from fm_notebook.panels.progress import ProgressPanel
from fm_notebook.panels.watched import WatchedJob

MOST_PANELS = 8
DONE = frozenset({"finished", "cancelled", "failed"})


@dataclass
class Shown:
    """Panel and card of one job."""

    panel: ProgressPanel
    card: Card

    def __post_init__(self) -> None:
        self.panel.after_resume = lambda: self.follow(self.panel.job)

    def follow(self, job: WatchedJob) -> None:
        """Keep both up to date; the card last, so that what waits for it has the panel's end too."""
        self.panel.job = self.card.job = job
        self.panel.follow()
        self.card.follow()

    def close(self) -> None:
        """End both; what is displayed stays as it is."""
        self.card.unfollow()
        with suppress(Exception):
            self.panel.close()


live: dict[Path, Shown] = {}


def show(job: WatchedJob, *, resume: Callable[[], object] | None = None, watched: bool = True) -> None:
    """Display panel and card of `job` here.

    The panel of a job that is displayed already is used again, so that all its views are one. In a plain environment (no
    rich front end, or ``FM_NOTEBOOK_PLAIN=1``) nothing is displayed of a job that is under way: `panels.plain` tells of it
    while somebody waits. Never raises.

    Parameters
    ----------
    resume : callable, optional
        As in `ProgressPanel`.
    watched : bool
        False where nobody sees it happen, as under nbconvert: then the card alone, since a panel in a saved notebook is an
        error on every later page.
    """
    with suppress(Exception):
        lone = job.progress.state in DONE
        if is_plain():
            if job.progress.over:
                Card(job).show()
        elif lone or not watched:
            _show_card(job)
        else:
            _show_both(job, resume)


def sum_up(job: WatchedJob) -> None:
    """Write the result where no card is on display; never raises."""
    with suppress(Exception):
        if is_plain():
            Card(job).show()


def _show_card(job: WatchedJob) -> None:
    lone = Card(job)
    lone.show()
    if not job.progress.over:
        lone.follow()


def _show_both(job: WatchedJob, resume: Callable[[], object] | None) -> None:
    from IPython.display import display

    shown = live.pop(job.folder, None)
    if shown is None or shown.panel.comm is None:  # closed by somebody else, as by Widget.close_all()
        shown = Shown(ProgressPanel(job, resume=resume), Card(job))
    live[job.folder] = shown
    shown.panel.job, shown.panel.resume = job, resume
    _close_oldest()
    shown.panel.has_card, shown.panel.late_pages = True, False
    display(shown.panel)
    shown.card.show()
    shown.follow(job)


def adopt(job: WatchedJob, handle: Any, *, resume: Callable[[], object] | None = None) -> ProgressPanel:
    """The panel of `job`, for a panel that shows it in itself; the card is written to the display that `handle` is for."""
    shown = live.pop(job.folder, None)
    if shown is None or shown.panel.comm is None:
        shown = Shown(ProgressPanel(job, resume=resume), Card(job))
    live[job.folder] = shown
    shown.panel.job, shown.panel.resume = job, resume
    _close_oldest()
    if handle is not None:
        shown.panel.has_card, shown.panel.late_pages = True, False
        shown.card.show_in(handle)
    shown.follow(job)
    return shown.panel


def _close_oldest() -> None:
    while len(live) > MOST_PANELS:
        over = [folder for folder, shown in live.items() if shown.panel.job.progress.over]
        live.pop((over or list(live))[0]).close()


def settle() -> None:
    """Write here the final card of every run that ended after its page was reloaded: to be called by each cell of ours."""
    for shown in list(live.values()):
        if shown.panel.late_pages and shown.panel.job.progress.over:
            with suppress(Exception):
                shown.card.show()
                shown.panel.late_pages = False
                shown.panel.update()


def close(folder: Path) -> None:
    """Close the panel of the job in `folder`, if one is on display."""
    if shown := live.pop(folder, None):
        shown.close()


def close_all() -> None:
    """Close every panel, as when the extension is unloaded."""
    for folder in list(live):
        close(folder)
