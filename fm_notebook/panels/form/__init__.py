"""The form of ``%panel finetune``: fields and cell text as one, the checks of the cell while one types, and Start.

The page sends what was typed; the text is changed here, by `Draft`, and the moment's whole state goes back. Rows are shown on
demand, to the page alone: they are in no state that a notebook could save.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

import anywidget
import traitlets

from fm_notebook import messages
from fm_notebook.errors import DataError
from fm_notebook.panels import assets, hearing, live
from fm_notebook.panels.form import offers as form_offers
from fm_notebook.panels.form import rows as form_rows
from fm_notebook.panels.form import start as form_start
from fm_notebook.panels.form import text as form_text
from fm_notebook.panels.form.draft import Checked, Draft
from fm_notebook.panels.form.layout import sections
from fm_notebook.panels.plain import is_plain
from fm_notebook.session import launch

MOST_FORMS = 4
WORDS = (
    "region", "title", "name", "cell", "cell_hint", "copy", "copied", "not_copied", "start", "starting", "ready", "not_ready",
    "unreadable", "estimate", "estimate_old", "more", "more_set", "something_else", "other_label", "on",
    "in_cell", "preview", "hide_preview", "preview_caption", "balance_caption", "balance_label", "balance_count", "balance_share",
    "balance_others", "hide_fields", "show_fields", "refresh", "silent", "display_fault",
)  # fmt: skip


class FormPanel(anywidget.AnyWidget):
    """The form over one draft.

    Parameters
    ----------
    namespace : MutableMapping
        The notebook's variables; a run that is started gets its name there.
    text : str
        The cell to begin with.

    Attributes
    ----------
    draft : Draft
    started : bool
        Whether a run was started from here.
    """

    _ipython_display_ = None  # that of ipywidgets 7 would leave out our static twin
    _esm = assets.module("form_fields", "form_rows", "form")
    _css = assets.style("form")
    words = traitlets.Dict().tag(sync=True)
    sections = traitlets.List().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, namespace: MutableMapping[str, Any], text: str):
        self.draft, self.namespace = Draft(text), namespace
        self.text_handle: Any = None
        self.card_handle: Any = None
        self.started = False
        self._lock = threading.RLock()
        self._checked = Checked()
        self._edit, self._run, self._busy = 0, "", ""
        self._said: Sequence[str] = ()
        self._wrong: Sequence[str] = ()
        self._estimate: list[str] = []
        self._estimated = ""
        self._unwatch: Callable[[], None] | None = None
        catalogue = messages.catalogue(messages.language())  # raw: the page fills {field} and {n}
        words = {key: catalogue[f"form.{key}"] for key in WORDS}
        super().__init__(words=words, sections=[each.to_json() for each in sections()])
        hearing.hear_while_busy(self)
        self.on_msg(self._on_message)

    def get_state(self, key: object = None, drop_defaults: bool = False) -> dict[str, Any]:
        """The widget's state; where a page asks for all of it, the draft as of now."""
        state = super().get_state(key, drop_defaults)
        if key is None:
            try:
                state |= {"state": self._snapshot()}
            except Exception as error:  # noqa: BLE001 - as in `_show`
                state |= {"state": {"defect": _said(error)}}
        return state

    def close(self) -> None:
        """End the connection to the page."""
        unwatch, self._unwatch = self._unwatch, None
        if unwatch is not None:
            unwatch()
        hearing.close_layout(self)
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:  # type: ignore[override]
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        return data | form_text.line(), metadata

    def _snapshot(self, *, left: bool = False) -> dict[str, object]:
        with self._lock:
            checked = self._checked = self.draft.check(self.namespace, left=left)
            found = form_offers.offers(self.draft.sources(), self.namespace)
            return {
                "edit": self._edit,
                "text": self.draft.text,
                "name": checked.name,
                "readable": checked.readable,
                "values": checked.written,
                "faults": [[each.field, list(each.lines)] for each in checked.faults],
                "offers": {kind: [offer.to_json() for offer in each] for kind, each in found.items()},
                "busy": self._busy,
                "said": self._said,
                "wrong": self._wrong,
                "run": self._run,
                "estimate": self._estimate,
                "estimate_old": bool(self._estimate) and self._estimated != self.draft.text,
            }

    def _show(self, *, left: bool = False) -> None:
        try:
            self.send({"type": "state", "state": self._snapshot(left=left)})
        except Exception as error:  # noqa: BLE001 - a defect of ours: the page says so, and keeps what was typed
            self.send({"type": "defect", "text": _said(error)})

    def _on_message(self, _widget: object, content: Any, _buffers: object) -> None:
        with self._lock:
            self._edit = content.get("edit", self._edit)
            left = bool(content.get("left"))
            try:
                self._obey(content)
            except Exception as error:  # noqa: BLE001 - the user's own expression, or what is wrong with the cell
                self._wrong, self._busy = form_start.wrong(error), ""
            self._show(left=left)
            if left:
                self._write_twin()

    def _obey(self, content: dict[str, Any]) -> None:
        self._said = self._wrong = ()
        match content:
            case {"type": "text", "text": str(text)}:
                self.draft.write(text)
            case {"type": "field", "path": str(path), "typed": str(typed)}:
                self.draft.fill(path, typed, self.namespace)
            case {"type": "name", "typed": str(name)}:
                self.draft.rename(name)
            case {"type": "preview", "path": str(path)}:
                self.send({"type": "preview", "preview": self._preview(path).to_json()})
            case {"type": "estimate"}:
                self._begin_estimate()
            case {"type": "start"}:
                self._start()

    def _preview(self, field: str) -> form_rows.Preview:
        fields = self.draft.only({field, "label"}, self.namespace)
        if field not in fields or fields[field].value is None:
            raise DataError("form.rows", field=field)
        label = fields["label"].value if "label" in fields else "label"
        return form_rows.preview(fields[field], field, str(label))

    def _begin_estimate(self) -> None:
        if self._unwatch is not None:
            self._unwatch()
        self._estimated = self.draft.text
        self._unwatch = form_start.estimate(self.draft, self.namespace, self._tell_estimate)

    def _tell_estimate(self, lines: list[str], over: bool) -> None:
        with suppress(Exception):
            self._estimate = lines
            self._show()
            if over:
                self._unwatch = None

    def _start(self) -> None:
        self._busy = "start"
        self._show(left=True)
        found = form_start.prepare(self.draft, self.namespace)
        shown = live.adopt(found.job, self.card_handle, resume=lambda: launch.resume(found.job))
        self._busy, self._run, self._said, self.started = "", f"IPY_MODEL_{shown.model_id}", (found.said,), True
        self._show()
        found.begin()
        self._write_twin()

    def _write_twin(self) -> None:
        if self.text_handle is not None:
            with suppress(Exception):
                self.text_handle.update(form_text.twin(self.draft.text), raw=True)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


opened: list[FormPanel] = []


def show(namespace: MutableMapping[str, Any], text: str, *, watched: bool = True) -> None:
    """Display the form of the cell `text` here, and below it what stays in the file: the text, and later the run's card.

    Parameters
    ----------
    namespace, text
        As for `FormPanel`.
    watched : bool
        False where nobody could fill it in, as under nbconvert: then only what stays in the file is displayed.
    """
    from IPython.display import display

    if is_plain() or not watched:
        display(form_text.line(), raw=True)
        display(form_text.twin(text, shown=True), raw=True)
        return
    panel = FormPanel(namespace, text)
    opened.append(panel)
    while len(opened) > MOST_FORMS:
        opened.pop(0).close()
    display(panel)
    panel.text_handle = display(form_text.twin(text), raw=True, display_id=True)
    panel.card_handle = display({"text/html": "", "text/plain": ""}, raw=True, display_id=True)


def newest(name: str = "") -> FormPanel | None:
    """The form that was opened last, or the last one of a run called `name`; None if there is none."""
    return next((each for each in reversed(opened) if each.comm and name in {"", each.draft.name}), None)


def close_all() -> None:
    """Close every form, as when the extension is unloaded."""
    while opened:
        with suppress(Exception):
            opened.pop().close()
