"""The inspection panel, ``%panel inspect``: single rows of an evaluation, found, read, explained and noted.

The rows stay in the kernel. The page is sent one page of them at a time, whenever it asks for another view, and all views of
the panel are one. No port, no frame: a widget like the others.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import Any

import anywidget
import traitlets

from fm_notebook import messages
from fm_notebook.panels import assets, hearing
from fm_notebook.panels.inspect import cards, page
from fm_notebook.panels.inspect.explained import Explained
from fm_notebook.panels.inspect.inspector import SIZES, Inspector
from fm_notebook.panels.inspect.words import vocabulary
from fm_notebook.panels.plain import is_plain
from fm_notebook.session import launch
from fm_notebook.session.inspection import neighbours
from fm_notebook.session.inspection.inspection import Inspection
from fm_notebook.session.inspection.slices import Slice, Sort
from fm_notebook.session.job import Job

MOST_PANELS = 4


class InspectPanel(anywidget.AnyWidget):
    """The page's half of an `Inspector`."""

    _ipython_display_ = None  # that of ipywidgets 7 would leave out our static twin
    _esm = assets.module("attribution", "marks", "pager", "inspect_slice", "inspect_table", "inspect_opened", "inspect")
    _css = assets.style("attribution", "inspect")
    words = traitlets.Dict().tag(sync=True)
    about = traitlets.Dict().tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)
    explained = traitlets.Dict().tag(sync=True)
    variable = traitlets.Unicode("").tag(sync=True)

    def __init__(self, inspector: Inspector, variable: str = ""):
        self.inspector = inspector
        self.cards_handle: Any = None
        self._cards: list[cards.Card] = []
        self._lock = threading.RLock()
        self._explained = Explained(inspector, lambda: self._tell("explained", explained=self._explained.state()))
        self._unwatch: Any = None
        super().__init__(
            words=vocabulary(messages.language()) | {"sizes": list(SIZES)}, about=page.about(inspector), variable=variable
        )
        hearing.hear_while_busy(self)
        self.on_msg(self._on_message)
        inspector.on_change.append(self.refresh)

    def close(self) -> None:
        """End the connection to the page; the `Inspector` stays usable."""
        with suppress(ValueError):
            self.inspector.on_change.remove(self.refresh)
        hearing.close_layout(self)
        super().close()

    def get_state(self, key: object = None, drop_defaults: bool = False) -> dict[str, Any]:
        """The widget's state; where a page asks for all of it, the view as of now."""
        state = super().get_state(key, drop_defaults)
        if key is None:
            with suppress(Exception), self._lock:
                state["shown"] = page.shown(self.inspector)
                state["explained"] = self._explained.state()
        return state

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:  # type: ignore[override]
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        with suppress(Exception):
            twin = cards.twin(self.inspector)
            data |= {"text/html": twin.html, "text/plain": twin.text}
        return data, metadata

    def refresh(self, asked: object = None) -> None:
        """Send the page what the `Inspector` looks at now."""
        with self._lock:
            self._tell("shown", asked=asked, shown=page.shown(self.inspector))

    def _on_message(self, _widget: object, content: object, _buffers: object) -> None:
        asked = content.get("asked") if isinstance(content, dict) else None
        try:
            with self._lock:
                self._obey(content, asked)
        except Exception as error:  # noqa: BLE001 - a click must never raise into the kernel; it says why it did nothing
            self._complain(error, asked)

    def _obey(self, content: object, asked: object) -> None:
        inspector = self.inspector
        match content:
            case {"type": "show", "slice": dict(chosen), "sort": dict(order), "page": int(number), "size": int(size)}:
                inspector.show(Slice.model_validate(chosen), Sort.model_validate(order), page=number, size=size)
                self.refresh(asked)
            case {"type": "open", "at": int() | None as place}:
                inspector.open(place)
                self._tell("opened", asked=asked, opened=page.opened(inspector))
            case {"type": "select", "at": list(places), "on": bool(on)}:
                inspector.select([int(place) for place in places], on=on)
                self.refresh(asked)
            case {"type": "clear"}:
                inspector.clear_selection()
                self.refresh(asked)
            case {"type": "note", "at": int(place), "text": str(note)}:
                inspector.inspection.notes.write(_hash(inspector.inspection, place), note)
                self.refresh(asked)
                _warm(inspector.inspection)
            case {"type": "near", "at": int(place)}:
                self._near(place, asked)
            case {"type": "freeze", "what": str(what)}:
                self._freeze(what, asked)
            case {"type": "explain", "at": int(place)}:
                self._explained.ask(place, content)  # type: ignore[arg-type]

    def _near(self, place: int, asked: object) -> None:
        launched = neighbours.prepare(self.inspector.inspection.folder)
        if launched.how == "started":
            launch.begin(launched.job)
        if launched.how == "reused" or "google.colab" in sys.modules:  # which shows nothing that a thread sends
            self._show_near(place, asked)
            return
        if self._unwatch is not None:
            self._unwatch()

        def look(job: Job) -> None:
            if job.progress.over:
                self._unwatch = None
                try:
                    neighbours.of_job(job)
                    self._show_near(place, asked)
                except Exception as error:  # noqa: BLE001 - as in `_on_message`
                    self._complain(error, asked)
            else:
                self._tell("said", asked=None, text=_embedding(job))

        self._tell("said", asked=None, text=_embedding(launched.job))
        self._unwatch = launched.job.watch(look)

    def _show_near(self, place: int, asked: object) -> None:
        with self._lock:
            inspector = self.inspector
            order = Sort(by="similarity")
            inspector.show(Slice(near=place), order, page=0, size=inspector.view.size)
            self.refresh(asked)

    def _freeze(self, what: str, asked: object) -> None:
        self._cards.append(self.inspector.freeze(what))
        if self.cards_handle is not None:
            whole = {"text/html": "<hr>".join(card.html for card in self._cards)}
            self.cards_handle.update(whole | {"text/plain": "\n\n".join(card.text for card in self._cards)}, raw=True)
        self._tell("said", asked=asked, text=messages.text(f"inspect_panel.frozen_{what}"))

    def _complain(self, error: Exception, asked: object) -> None:
        with suppress(Exception):
            self._tell("fault", asked=asked, text=str(error) or type(error).__name__)

    def _tell(self, kind: str, **content: object) -> None:
        self.send({"type": kind, **content})


def _hash(inspection: Inspection, place: int) -> int:
    import numpy as np

    return inspection.hashes_of(np.array([place]))[0]


def _embedding(job: Job) -> str:
    items = job.progress.items
    if job.progress.behind:
        return messages.text("wait.behind", name=job.name, behind=job.progress.behind)
    if items is None:
        return page.word("embedding_begins")
    return messages.text("inspect_panel.embedding", done=f"{items.done:,}", total=f"{items.total:,}")


opened: list[InspectPanel] = []


def show(inspector: Inspector, *, variable: str = "", watched: bool = True) -> None:
    """Display the panel of `inspector` here, and below it the views that are made static.

    Parameters
    ----------
    variable : str
        The notebook's name for `inspector`, to be told of on the page.
    watched : bool
        False where nobody could look around, as under nbconvert: then only what stays in the file is displayed.
    """
    from IPython.display import display

    if is_plain() or not watched:
        card = cards.twin(inspector)
        display({"text/html": card.html, "text/plain": card.text}, raw=True)
        return
    panel = InspectPanel(inspector, variable)
    opened.append(panel)
    while len(opened) > MOST_PANELS:
        opened.pop(0).close()
    display(panel)
    _warm(inspector.inspection)
    panel.cards_handle = display({"text/html": "", "text/plain": ""}, raw=True, display_id=True)


def _warm(inspection: Inspection) -> None:
    """Make in a thread what a later view would wait for; what fails here fails again, in words, when it is asked for."""

    def work() -> None:
        with suppress(Exception):
            inspection.warm()

    threading.Thread(target=work, name="fm_notebook-inspect-warm", daemon=True).start()


def close_all() -> None:
    """Close every inspection panel, as when the extension is unloaded."""
    while opened:
        with suppress(Exception):
            opened.pop().close()
