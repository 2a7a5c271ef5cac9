"""The live panel of a job: an anywidget that only watches and writes wishes; what happens is the worker's.

Messages to the page are one a tick: a small JSON state and the new points as float32 bytes. Whoever asks for the widget's
state (a reload, a second browser) gets all of it at that moment, so nothing is pushed twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anywidget
import traitlets

from fm_notebook import messages
from fm_notebook.panels import assets, card, curves, hearing, text
from fm_notebook.panels import looks as seen
from fm_notebook.panels.snapshot import commands, snapshot
from fm_notebook.panels.watched import WatchedJob

SHORTEST_TICK_SECONDS = 0.24
_NO_LOOK: object = object()
WORDS = (
    "region", "silent", "silent_state", "late", "display_fault", "progress", "waiting_for_points", "table_caption",
    "no_evaluation",
    "pause", "resume", "stop", "cancel", "restart", "cancel_ask", "cancel_yes", "cancel_no",
    "show_table", "hide_table", "show_curves", "hide_curves",
    "axis.step", "axis.loss", "axis.train", "axis.held_out", "axis.best",
    "column.metric", "column.value", "column.interval", "column.n",
)  # fmt: skip


class ProgressPanel(anywidget.AnyWidget):
    """The panel of one job.

    Parameters
    ----------
    job : WatchedJob
        Not followed until `follow` is called.
    resume : callable, optional
        Starts the job again after it stopped or died; may return the job to watch from then on.

    Attributes
    ----------
    resume : callable or None
        As given.
    after_resume : callable
        Called when the job was started again.
    has_card : bool
        Whether the card is displayed below.
    late_pages : bool
        Whether a page was loaded before any had seen the job's end, so that its card is not the final one; over when the
        card is shown anew.
    """

    _ipython_display_ = None  # that of ipywidgets 7 would leave out what `_repr_mimebundle_` adds for pages without a kernel
    _esm = assets.module("looks", "progress")
    _css = assets.style()
    words = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    curves = traitlets.Dict().tag(sync=True)
    looks = traitlets.List().tag(sync=True)
    late = traitlets.Bool(False).tag(sync=True)

    def __init__(self, job: WatchedJob, *, resume: Callable[[], object] | None = None):
        self.job, self.resume = job, resume
        self.after_resume: Callable[[], None] = self.follow
        self.has_card = self.late_pages = self._end_seen = False
        self._requests = 0
        self._asked = self._complaint = self._asked_in = ""
        self._shown: tuple[str, str] = ("", "")
        self._sent, self._look_sent, self._last_tick = curves.Sent(), _NO_LOOK, 0.0
        self._unwatch: Callable[[], None] | None = None
        self._tick_lock = threading.Lock()
        catalogue = messages.catalogue(messages.language())  # raw: the page fills {name} and {step}
        super().__init__(words={key: catalogue[f"panel.{key}"] for key in WORDS})
        hearing.hear_while_busy(self)
        self.on_msg(self._on_message)

    def follow(self) -> None:
        """Watch the job until it is over."""
        self.unfollow()
        self._unwatch = self.job.watch(self.update)

    def unfollow(self) -> None:
        """Watch no more; the panel keeps its last picture."""
        unwatch, self._unwatch = self._unwatch, None
        if unwatch is not None:
            unwatch()

    def update(self, _job: object = None) -> None:
        """Show where the job stands, at most four times a second unless its state changed."""
        with suppress(Exception):
            progress = self.job.progress
            now = (progress.state, progress.phase)
            if now != self._shown or progress.over or time.monotonic() - self._last_tick >= SHORTEST_TICK_SECONDS:
                self._tick()

    def close(self) -> None:
        """Watch no more and end the connection to the page."""
        self.unfollow()
        hearing.close_layout(self)
        super().close()

    def get_state(self, key: object = None, drop_defaults: bool = False) -> dict[str, Any]:
        """The widget's state; where a page asks for all of it, curves and words as of now."""
        state = super().get_state(key, drop_defaults)
        if key is None:
            with suppress(Exception):
                self._requests += 1
                if self._requests > 1 and not (self.job.progress.over and self._end_seen):
                    self.late_pages = True
                state |= {"state": self._snapshot(), "curves": curves.whole(self.job.progress), "late": self.late_pages}
                state["looks"] = seen.charts(self.job.progress)
        return state

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:  # type: ignore[override]
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        with suppress(Exception):
            data |= self._static()
        return data, metadata

    def _static(self) -> dict[str, str]:
        if self.has_card:
            from fm_notebook.panels.markup import paragraph

            line = messages.text("panel.beside_card", name=self.job.name)
            return {"text/html": paragraph(line), "text/plain": line}
        return {"text/html": card.html_of(self.job), "text/plain": card.text_of(self.job)}

    def _snapshot(self) -> dict[str, object]:
        progress = self.job.progress
        compact = self.has_card and not self.late_pages and progress.state == "finished"
        return snapshot(
            progress,
            asked=self._asked,
            complaint=self._complaint,
            resumable=self.resume is not None,
            compact=compact,
            late=self.late_pages,
        ).to_json()

    def _tick(self) -> None:
        with self._tick_lock:
            progress = self.job.progress
            if self._asked and (progress.state != self._asked_in or progress.over):
                self._asked = ""
            self._end_seen = self._end_seen and progress.over
            changed, buffers = self._sent.delta(progress)
            self._last_tick, self._shown = time.monotonic(), (progress.state, progress.phase)
            newest = progress.probed[-1] if progress.probed else _NO_LOOK
            fresh = {} if newest is self._look_sent else {"looks": seen.charts(progress)}
            self._look_sent = newest
            self.send({"type": "tick", "state": self._snapshot(), "curves": changed, **fresh}, buffers)

    def _on_message(self, _widget: object, content: object, _buffers: object) -> None:
        try:
            match content:
                case {"type": "command", "command": str(command)}:
                    self._command(command)
                case {"type": "seen"}:
                    self._end_seen = True
                case {"type": "whole"}:
                    self._sent, self._look_sent = curves.Sent(), None
                    self._tick()
        except Exception as error:  # noqa: BLE001 - a click must never raise into the kernel; it says why it did nothing
            self._complain(str(error) or type(error).__name__)

    def _command(self, command: str) -> None:
        allowed = commands(self.job.progress, resumable=self.resume is not None)
        if command not in {"pause", "resume", "stop", "cancel", "restart"}:
            return
        if command not in allowed:
            self._complain(messages.text("panel.refused", name=self.job.name, state=text.state(self.job.progress)))
            return
        self._asked, self._asked_in, self._complaint = command, self.job.progress.state, ""
        if command == "restart":
            self._restart()
        else:
            self.job.command(command)
            self.job.refresh()
        self._tick()

    def _restart(self) -> None:
        assert self.resume is not None
        found = self.resume()
        if isinstance(found, WatchedJob):
            self.job = found
        self.after_resume()

    def _complain(self, reason: str) -> None:
        self._asked, self._complaint = "", reason
        with suppress(Exception):
            self._tick()


def show(job: WatchedJob, *, resume: Callable[[], object] | None = None, watched: bool = True) -> None:
    """Display panel and card of `job` here, and keep both up to date; a job that is over for good gets its card alone.

    Parameters are those of `fm_notebook.panels.live.show`.
    """
    from fm_notebook.panels.live import show as show_live

    show_live(job, resume=resume, watched=watched)
