"""The items panel, ``%panel inspect REPORT``: single items of a probe, found, read, and coloured by what each token adds.

The items stay in the kernel. The page asks for one page of them at a time, also for the first, so that no item is in the
widget's state, which a notebook may be saved with. All views of the panel are one.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import anywidget
import traitlets

from fm_notebook import messages
from fm_notebook.contracts.probe_reports import ProbeReport
from fm_notebook.panels import assets, hearing, markup
from fm_notebook.panels.plain import is_plain
from fm_notebook.panels.probe_items import page
from fm_notebook.panels.probe_items.page import View
from fm_notebook.panels.probe_items.words import vocabulary
from fm_notebook.session.inspection.scored_items import ItemOrder, ItemSlice, ScoredItems

MOST_PANELS = 4


class ItemsPanel(anywidget.AnyWidget):
    """The page's half of a `View`."""

    _ipython_display_ = None  # that of ipywidgets 7 would leave out our static twin
    _esm = assets.module("attribution", "marks", "pager", "probe_items")
    _css = assets.style("attribution", "inspect", "probe_items")
    words = traitlets.Dict().tag(sync=True)
    about = traitlets.Dict().tag(sync=True)

    def __init__(self, view: View) -> None:
        self.view = view
        self._lock = threading.RLock()
        super().__init__(words=vocabulary(messages.language()), about=page.about(view))
        hearing.hear_while_busy(self)
        self.on_msg(self._on_message)

    def close(self) -> None:
        """End the connection to the page."""
        hearing.close_layout(self)
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:  # type: ignore[override]
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        with suppress(Exception):
            data |= _twin(self.view)
        return data, metadata

    def _on_message(self, _widget: object, content: object, _buffers: object) -> None:
        asked = content.get("asked") if isinstance(content, dict) else None
        try:
            with self._lock:
                self._obey(content, asked)
        except Exception as error:  # noqa: BLE001 - a click must never raise into the kernel; it says why it did nothing
            with suppress(Exception):
                self._tell("fault", asked=asked, text=str(error) or type(error).__name__)

    def _obey(self, content: object, asked: object) -> None:
        match content:
            case {"type": "show", "slice": dict(chosen), "sort": dict(order), "page": int(number), "size": int(size)}:
                self.view.look(ItemSlice.model_validate(chosen), ItemOrder.model_validate(order), number, size)
                self._tell("shown", asked=asked, shown=page.shown(self.view))
            case {"type": "open", "at": int() | None as place}:
                self.view.open(place)
                self._tell("opened", asked=asked, opened=page.details(self.view))
            case {"type": "hello"}:
                self._tell("shown", asked=asked, shown=page.shown(self.view))

    def _tell(self, kind: str, **content: object) -> None:
        self.send({"type": kind, **content})


_opened: list[ItemsPanel] = []


def show(report: ProbeReport, *, watched: bool = True) -> None:
    """Display the panel of the items of `report` here.

    Parameters
    ----------
    watched : bool
        False where nobody could look around, as under nbconvert: then only what stays in the file is displayed.

    Raises
    ------
    RunError
        If the items were deleted.
    """
    from IPython.display import display

    view = View(report, ScoredItems.of(report))
    if is_plain() or not watched:
        display(_twin(view), raw=True)
        return
    _opened.append(ItemsPanel(view))
    while len(_opened) > MOST_PANELS:
        with suppress(Exception):
            _opened.pop(0).close()
    display(_opened[-1])


def close_all() -> None:
    """Close every items panel, as when the extension is unloaded."""
    while _opened:
        with suppress(Exception):
            _opened.pop().close()


def _twin(view: View) -> dict[str, str]:
    title, lines = page.twin(view)
    return {"text/html": markup.paragraph(title, *lines), "text/plain": "\n".join([title, *(f"  {line}" for line in lines)])}
