"""Attribution and counterfactual edits of the row that is open: made by a job of the worker, shown in place."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from fm_notebook.contracts.attributions import Attribution
from fm_notebook.contracts.specs import EvaluateSpec, ExplainSpec
from fm_notebook.panels import attribution
from fm_notebook.panels.inspect.inspector import Inspector
from fm_notebook.session import explaining, launch
from fm_notebook.session.binding import Bound
from fm_notebook.session.inspection.inspection import Inspection

MOST_EDITS = 50
_SAME = (
    "model", "tokenizer", "run", "task", "problem", "max_length", "template", "shots", "label_words", "score", "seed", "device",
    "trust_remote_code", "allow_pickle",
)  # fmt: skip
"""What an explanation is asked as the evaluation was."""


class Explained:
    """The explanation of one row at a time, the newest asked for; `tell` is called whenever there is news of it."""

    def __init__(self, inspector: Inspector, tell: Callable[[], None]):
        self._inspector, self._tell = inspector, tell
        self._lock = threading.Lock()
        self._found: Attribution | None = None
        self._edits: list[dict[str, Any]] = []
        self._busy, self._fault = False, ""
        self.place: int | None = None

    def state(self) -> dict[str, Any]:
        """What the page draws: the row's place, whether it is being worked at, and `attribution.state_of` once there is one."""
        found = self._found
        data = None
        if found is not None:
            data = attribution.state_of(found) | {"edits": list(self._edits), "busy": self._busy, "fault": self._fault}
        return {"at": self.place, "busy": self._busy, "fault": self._fault, "data": data}

    def ask(self, place: int, wish: Mapping[str, Any]) -> None:
        """Explain the row at `place`; with ``edited`` (and ``pair``) ask about another text, with ``label`` about another label.

        It is done in a thread: the model may have to be loaded first.
        """
        if place != self.place:
            self.place, self._found, self._edits = place, None, []
        self._busy, self._fault = True, ""
        self._tell()
        if "google.colab" in sys.modules:  # shows nothing that a thread sends
            self._work(place, dict(wish))
        else:
            threading.Thread(target=self._work, args=(place, dict(wish)), name="fm_notebook-inspect", daemon=True).start()

    def _work(self, place: int, wish: Mapping[str, Any]) -> None:
        with self._lock:
            fault = ""
            try:
                self._do(place, wish)
            except Exception as error:  # noqa: BLE001 - it is shown in the panel
                fault = str(error) or type(error).__name__
            if place == self.place:  # else another row was asked for meanwhile
                self._busy, self._fault = False, fault
                with suppress(Exception):
                    self._tell()

    def _do(self, place: int, wish: Mapping[str, Any]) -> None:
        found = self._found
        if found is None:
            found = _explained(self._inspector.inspection, place)
        elif isinstance(edited := wish.get("edited"), str):
            pair = wish.get("pair")
            entry = attribution.edited(found, edited, pair if isinstance(pair, str) else None)
            if place == self.place:
                self._edits = [entry, *self._edits][:MOST_EDITS]
        elif isinstance(label := wish.get("label"), str):
            found = explaining.explained_again(found, label=label)
        if place == self.place:
            self._found = found


def _explained(inspection: Inspection, place: int) -> Attribution:
    """Why the model said what it said of this row.

    Raises
    ------
    FMError
        If it cannot be explained.
    """
    asked = inspection.folder.spec
    assert isinstance(asked, EvaluateSpec)
    text, *pair = inspection.text_at(place)
    labels = inspection.labels if asked.task == "zero-shot-classification" else ()
    same = {name: getattr(asked, name) for name in _SAME}
    spec = ExplainSpec(**same, text=text, text_pair=pair[0] if pair else None, labels=labels)
    facts = inspection.folder.facts.model_copy(update={"eval_rows": 1, "missing_rows": 0, "eval_label_counts": []})
    launched = explaining.launched(inspection.folder.identity.name, Bound(spec, facts, {}))
    if launched.how == "started":
        launch.begin(launched.job)
    return explaining.finish_explanation(launched)
