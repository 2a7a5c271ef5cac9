"""The panel of ``%%explain``: the explained text, and the model's answers to what the reader makes of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anywidget
import traitlets

from fm_notebook.contracts.attributions import Attribution
from fm_notebook.panels import assets, attribution, hearing

MOST_PANELS = 6
MOST_EDITS = 50


class ExplainPanel(anywidget.AnyWidget):
    """One attribution on a page.

    Attributes
    ----------
    attribution : Attribution
        The one shown: that of another label, once one was chosen.
    edits : list of dict
        See `fm_notebook.panels.attribution.edited`; the newest first.
    """

    _ipython_display_ = None  # that of ipywidgets 7 would leave out our static twin
    _esm = assets.module("attribution", "explain")
    _css = assets.style("attribution")
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, found: Attribution) -> None:
        self.attribution = found
        self.edits: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        super().__init__(state=attribution.state_of(found))
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
        title = self.state["title"]
        return data | {"text/html": attribution.markup.paragraph(title), "text/plain": title}, metadata

    def edit(self, text: str, pair: str | None) -> None:
        """Ask the model about another text; the answer is put on top of `edits`."""
        self.edits.insert(0, attribution.edited(self.attribution, text, pair))
        del self.edits[MOST_EDITS:]

    def explain(self, label: str) -> None:
        """Show why `label`, in place of the label shown."""
        from fm_notebook.session.explaining import explained_again

        self.attribution = explained_again(self.attribution, label=label)

    def _on_message(self, _widget: object, content: object, _buffers: object) -> None:
        match content:
            case {"type": "edit", "text": str(text), "pair": None | str() as pair}:
                self._do(lambda: self.edit(text, pair))
            case {"type": "label", "label": str(label)}:
                self._do(lambda: self.explain(label))

    def _do(self, work: Callable[[], None]) -> None:
        """Do `work` in a thread, one after the other: a click never blocks the kernel, and never raises into it."""
        if "google.colab" in sys.modules:  # shows nothing that a thread sends
            self._try(work)
        else:
            threading.Thread(target=self._try, args=(work,), name="fm_notebook-explain", daemon=True).start()

    def _try(self, work: Callable[[], None]) -> None:
        self._show(busy=True)
        with self._lock:
            fault = ""
            try:
                work()
            except Exception as error:  # noqa: BLE001 - it is shown in the panel
                fault = str(error) or type(error).__name__
            self._show(fault=fault)

    def _show(self, *, busy: bool = False, fault: str = "") -> None:
        with suppress(Exception):
            shown = attribution.state_of(self.attribution)
            self.state = shown | {"edits": list(self.edits), "busy": busy, "fault": fault}


_shown: list[ExplainPanel] = []


def show(found: Attribution) -> None:
    """Display the panel of `found` here; the oldest panels are closed where there are too many."""
    from IPython.display import display

    _shown.append(ExplainPanel(found))
    while len(_shown) > MOST_PANELS:
        with suppress(Exception):
            _shown.pop(0).close()
    display(_shown[-1])


def is_shown(found: Attribution) -> bool:
    """Whether this very value has a panel, beside which its static twin is folded."""
    return any(panel.attribution is found for panel in _shown)


def close_all() -> None:
    """Close every panel, as when the extension is unloaded; what the page shows stays as it is."""
    while _shown:
        with suppress(Exception):
            _shown.pop().close()
