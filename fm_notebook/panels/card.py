"""The card of a run: the static picture that stays in the saved notebook, and its plain-text twin."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fm_notebook import messages
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import Spec
from fm_notebook.panels import evaluation, looks, markup, rows, text
from fm_notebook.panels.plain import is_plain, line
from fm_notebook.panels.snapshot import scores
from fm_notebook.session.progress import Progress

if TYPE_CHECKING:
    from fm_notebook.panels.watched import WatchedJob

SHORTEST_PAUSE_SECONDS = 5.0
MOST_HANDLES = 3


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
    lines += text.score_lines(scores(progress))
    if progress.evaluation is not None:
        lines.append(evaluation.plain(progress.evaluation))
    if seen := looks.rows(progress):
        lines += [messages.text("looks.title"), *text.columns(seen)]
    known = [*rows.data(spec, facts), *rows.speed(progress), *rows.estimated(progress)]
    lines += [f"  {name}: {value}" for name, value in known if value]
    lines += [f"  {note}" for _, note in text.notes(progress.notes)]
    return "\n".join(lines)


def html_of(job: WatchedJob) -> str:
    """The card of `job`, with what its folder tells of spec and data."""
    return html(job.progress, *_folder(job))


def text_of(job: WatchedJob) -> str:
    """The plain twin of `html_of`."""
    return plain(job.progress, *_folder(job))


class Card:
    """The card of `job` on display: written at the start, at evaluations (at most every five seconds) and at the end."""

    def __init__(self, job: WatchedJob):
        self.job = job
        self._handles: list[Any] = []
        self._written: tuple[str, int, int] = ("", -1, -1)
        self._time = -SHORTEST_PAUSE_SECONDS
        self._unwatch: Callable[[], None] | None = None

    def show(self) -> None:
        """Display the card here, or write its plain twin where no HTML is shown; never raises."""
        with suppress(Exception):
            self._mark()
            if is_plain():
                over = self.job.progress.over
                sys.stdout.write((text_of(self.job) if over else line(self.job.progress)) + "\n")
                return
            from IPython.display import display

            handle = display(_bundle(self.job), raw=True, display_id=True)
            # Some front ends give no handle: then the card stays as it is until the next cell of ours.
            self._handles = [*self._handles, *filter(None, [handle])][-MOST_HANDLES:]

    def show_in(self, handle: Any) -> None:
        """Write the card into a display that is there already; never raises."""
        with suppress(Exception):
            self._handles = [*self._handles, handle][-MOST_HANDLES:]
            self._mark()
            handle.update(_bundle(self.job), raw=True)

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
            for handle in self._handles:
                handle.update(_bundle(self.job), raw=True)

    def _is_due(self) -> bool:
        progress = self.job.progress
        if _stamp(progress) == self._written:
            return False
        return progress.over or progress.state != self._written[0] or time.monotonic() - self._time >= SHORTEST_PAUSE_SECONDS

    def _mark(self) -> None:
        self._written, self._time = _stamp(self.job.progress), time.monotonic()


def _stamp(progress: Progress) -> tuple[str, int, int]:
    """What the card is written anew for: another state, an evaluation, a look of a probe."""
    return progress.state, len(progress.held_out), len(progress.probed)


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
    if progress.evaluation is not None:
        yield evaluation.html(progress.evaluation)
    yield rows.held_out(progress)
    yield markup.image(rows.curve(progress))
    if seen := looks.rows(progress):
        yield markup.table(seen[0], seen[1:], messages.text("looks.title")) + markup.image(looks.picture(progress))
    yield markup.bullets(note for _, note in text.notes(progress.notes))
    yield markup.pairs(rows.data(spec, facts), messages.text("card.data"))
    yield rows.labels(spec, facts)
    yield markup.pairs(rows.speed(progress), messages.text("card.speed"))
    yield markup.pairs(rows.estimated(progress), messages.text("card.estimate.title"))
    yield markup.details(messages.text("card.settings"), markup.pairs(rows.settings(progress, spec)))
    yield markup.details(messages.text("card.provenance"), markup.pairs(rows.provenance(progress, spec)))
