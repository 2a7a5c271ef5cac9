"""The runs panel, ``%panel runs``: all runs of the project, live; one opened, several overlaid, two compared.

The page sorts, filters and selects by itself. It gets the list when it asks for the widget's state, then only rows that changed,
in one message a tick for everything, and nothing while nothing changes. What is known of one run goes out when it is opened.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anywidget
import traitlets

from fm_notebook import messages
from fm_notebook.errors import RunError
from fm_notebook.panels import assets, curves, hearing, text
from fm_notebook.panels.plain import is_plain
from fm_notebook.panels.runs import details as runs_details
from fm_notebook.panels.runs import rows as runs_rows
from fm_notebook.panels.runs.actions import SLOW, act
from fm_notebook.panels.runs.compared import SpecDiff
from fm_notebook.panels.runs.table import RunsTable
from fm_notebook.panels.runs.words import vocabulary
from fm_notebook.session.index import Entry, Index
from fm_notebook.session.job import Job

TICK_SECONDS = 0.25
WHOLE_LOOK_SECONDS = 2.0
LOOK_SECONDS = 0.4
"""What a look may take; of more runs than that allows the newest are there first and the others follow."""
MOST_OPENED = 12


@dataclass(frozen=True)
class _Opened:
    """A run that some page has open, and what it was told of it."""

    job: Job
    stamp: runs_details.Stamp
    version: int

    @classmethod
    def of(cls, job: Job) -> _Opened:
        return cls(job, runs_details.stamp(job.progress), job.version)


class RunsPanel(anywidget.AnyWidget):
    """The list of runs as a widget; `start` sets its ticker going and `close` ends it."""

    _ipython_display_ = None  # that of ipywidgets 7 would leave out our static twin
    _esm = assets.module("runs_table", "runs_opened", "runs_compared", "runs")
    _css = assets.style("runs")
    words = traitlets.Dict().tag(sync=True)
    heads = traitlets.List().tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    states = traitlets.Dict().tag(sync=True)
    pull = traitlets.Bool(False).tag(sync=True)

    def __init__(self) -> None:
        self.index = Index()
        self._entries: dict[str, Entry] = {}
        self._opened: dict[str, _Opened] = {}
        self._followed: dict[str, tuple[Job, curves.Sent]] = {}
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._looked = 0.0
        self.language = messages.language()
        super().__init__(**vocabulary(self.language), pull="google.colab" in sys.modules)
        hearing.hear_while_busy(self)
        self.on_msg(self._on_message)

    def start(self) -> None:
        """Follow the runs from a thread, unless the front end shows nothing that a thread sends: then the page asks."""
        if not self.pull:
            threading.Thread(target=self._run, name="fm_notebook-runs", daemon=True).start()

    def close(self) -> None:
        """Look no more and end the connection to the page."""
        self._ended.set()
        hearing.close_layout(self)
        super().close()

    def get_state(self, key: object = None, drop_defaults: bool = False) -> dict[str, Any]:
        """The widget's state; where a page asks for all of it, the list as of now."""
        state = super().get_state(key, drop_defaults)
        if key is None:
            with suppress(Exception), self._lock:
                self._look()
                state["rows"] = [runs_rows.row(entry) for entry in self._entries.values()]
        return state

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:  # type: ignore[override]
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        with suppress(Exception):
            table = RunsTable(tuple(self._entries.values()), unread=self.index.unread)
            data |= {"text/html": table._repr_html_(), "text/plain": repr(table)}
        return data, metadata

    def tick(self) -> None:
        """Send what changed since the last tick: rows, curves and numbers of runs that are opened; nothing if nothing did."""
        with self._lock:
            before = self._entries
            self._look()
            changed = [runs_rows.row(entry) for name, entry in self._entries.items() if before.get(name) != entry]
            gone = [name for name in before if name not in self._entries]
            parts, buffers = self._new_points()
            opened = self._news_of_opened()
            if changed or gone or parts or opened:
                self._tell("tick", buffers, rows=changed, gone=gone, curves=parts, opened=opened)

    def _run(self) -> None:
        beat = 0
        while not self._ended.wait(self._pause()):
            with suppress(Exception):
                self.tick()
                beat = (beat + 1) % 8
                if beat == 0 and self._is_alive():
                    self._tell("beat")
                if beat == 0:
                    self.index.save()

    def _pause(self) -> float:
        """Seconds until the next tick; next to none while runs are still to be read, which takes its time by itself."""
        if self.index.unread:
            return 0.02
        return TICK_SECONDS if self._is_alive() else WHOLE_LOOK_SECONDS

    def _is_alive(self) -> bool:
        return any(entry.alive for entry in self._entries.values())

    def _look(self) -> None:
        """All runs every two seconds, in between those alone that are alive."""
        if time.monotonic() - self._looked >= WHOLE_LOOK_SECONDS or self.index.unread:
            self._entries, self._looked = self.index.look(budget_seconds=LOOK_SECONDS), time.monotonic()
        else:
            self._entries = self.index.look_at_the_living()

    def _new_points(self) -> tuple[list[tuple[str, str, int]], list[bytes]]:
        """``(run, curve, index of its first point)`` and the bytes of each; a run that is over is followed no more."""
        parts: list[tuple[str, str, int]] = []
        buffers: list[bytes] = []
        for name, (job, sent) in list(self._followed.items()):
            job.refresh()
            over = job.progress.over
            found, data = sent.delta(job.progress)
            parts += [(name, curve, start) for curve, start in found]
            buffers += data
            if over:
                del self._followed[name]
        return parts, buffers

    def _news_of_opened(self) -> list[dict[str, object]]:
        """Details of an opened run where its state, scores, checkpoints or notes changed, else its numbers if they moved."""
        news: list[dict[str, object]] = []
        for name, before in list(self._opened.items()):
            before.job.refresh()
            now = self._opened[name] = _Opened.of(before.job)
            if now.stamp != before.stamp:
                news.append(runs_details.details(now.job))
            elif now.version != before.version:
                news.append({"id": name, **runs_details.numbers(now.job.progress)})
            if not now.job.progress.over and name not in self._followed:  # resumed from elsewhere
                _keep(self._followed, name, (now.job, curves.Sent()))
        return news

    def _on_message(self, _widget: object, content: object, _buffers: object) -> None:
        asked = content.get("asked") if isinstance(content, dict) else None
        try:
            self._obey(content, asked)
        except Exception as error:  # noqa: BLE001 - a click must never raise into the kernel; it says why it did nothing
            self._complain(error, asked)

    def _obey(self, content: object, asked: object) -> None:
        match content:
            case {"type": "look"}:
                self.tick()
            case {"type": "open", "run": str(name)}:
                self._open(name, asked)
            case {"type": "curves", "run": str(name)}:
                self._follow(name, asked)
            case {"type": "close", "run": str(name)}:
                self._opened.pop(name, None)
            case {"type": "diff", "runs": [str(left), str(right)]}:
                jobs = (self._job(left), self._job(right))
                found = SpecDiff.of((left, right), (jobs[0].jobfolder.spec, jobs[1].jobfolder.spec))
                self._tell("diff", asked=asked, runs=[left, right], title=found.title, heads=found.heads, rows=found.rows)
            case {"type": "do", "verb": str(verb), "run": str(name)}:
                self._do(name, verb, str(content.get("path", "")), asked)  # type: ignore[union-attr]

    def _open(self, name: str, asked: object) -> None:
        job = self._job(name)
        with self._lock:
            _keep(self._opened, name, _Opened.of(job))
        self._tell("details", asked=asked, details=runs_details.details(job))
        self._follow(name, asked)

    def _follow(self, name: str, asked: object) -> None:
        job = self._job(name)
        with self._lock:
            sent = curves.Sent()
            parts, buffers = sent.delta(job.progress)
            if not job.progress.over:
                _keep(self._followed, name, (job, sent))
            metric = text.metric(job.progress.started.metric) if job.progress.started else ""
            self._tell("curves", buffers, asked=asked, run=name, metric=metric, curves=[(name, curve, at) for curve, at in parts])

    def _do(self, name: str, verb: str, path: str, asked: object) -> None:
        job = self._job(name)

        def work() -> None:
            try:
                said = act(job, verb, path=path)
                self._looked = 0.0  # a deletion, or a run that is back in the queue, is seen by a whole look
                self.tick()
                self._tell("done", asked=asked, run=name, verb=verb, said=said)
            except Exception as error:  # noqa: BLE001 - as in `_on_message`
                self._complain(error, asked)

        if verb in SLOW and not self.pull:
            threading.Thread(target=work, name="fm_notebook-runs-work", daemon=True).start()
        else:
            work()

    def _complain(self, error: Exception, asked: object) -> None:
        with suppress(Exception):
            self._tell("fault", asked=asked, text=str(error) or type(error).__name__)

    def _job(self, name: str) -> Job:
        """The job of a run that a page names, as of now."""
        with suppress(KeyError):
            job = self.index.job(name)
            job.refresh()
            return job
        raise RunError("runs_panel.gone", name=name)

    def _tell(self, kind: str, buffers: list[bytes] | None = None, **content: object) -> None:
        self.send({"type": kind, **content}, buffers)


def _keep(kept: dict[str, Any], name: str, value: object) -> None:
    """Put `value` last; the first leaves where there are too many."""
    kept.pop(name, None)
    kept[name] = value
    while len(kept) > MOST_OPENED:
        del kept[next(iter(kept))]


_shown: list[RunsPanel] = []


def show() -> None:
    """Display the runs panel here, or as text where there is no rich front end.

    There is one panel a kernel: displayed again it is the same, so that all its views agree and nothing is left behind.
    """
    from IPython.display import display

    if is_plain():
        from fm_notebook.session.index import listing

        messages.say("runs_panel.text", text=repr(RunsTable(tuple(listing()))))
        return
    if not _shown or _is_out_of_date(_shown[0]):
        close()
        _shown.append(RunsPanel())
        _shown[0].start()
    display(_shown[0])


def close() -> None:
    """Close the panel, if it is on display; what the page shows stays as it is."""
    while _shown:
        with suppress(Exception):
            _shown.pop().close()


def _is_out_of_date(panel: RunsPanel) -> bool:
    """Closed by somebody else, of another language, or of another project."""
    from fm_notebook.session import store

    return panel.comm is None or panel.language != messages.language() or panel.index.root != store.runs_folder()
