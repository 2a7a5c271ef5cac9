"""``%panel inspect RUN DATA``: the evaluation that it looks into, and the name that it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fm_notebook import messages, verbs
from fm_notebook.magics import arguments, evaluate, frontend, names
from fm_notebook.session import launch
from fm_notebook.session.binding import Assigned

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

VARIABLE = "panel"
"""What the panel's Python side is called where the line is not assigned."""


def show(shell: InteractiveShell, asked: arguments.Line, line: str) -> Any:
    """Score, or find the equal evaluation, and display the panel; its Python side, if the line's value goes somewhere."""
    from fm_notebook.panels import inspect
    from fm_notebook.panels.inspect.inspector import Inspector

    on = asked.values.get("on", "process")
    launched = verbs.prepare_inspection(_fields(shell, asked), again="again" in asked.on, on=on)
    if launched.how == "reused":
        messages.say("evaluate.reused", name=launched.job.name)
    elif launched.how == "started":
        launch.begin(launched.job, on=on)
    launched.job.wait(evaluate.Teller(launched.job, evaluate.words))
    inspector = Inspector(verbs.finish_inspection(launched), launched.job.progress.evaluation)
    target = frontend.target(shell, "panel", line)
    variable = _bind(shell, inspector, Inspector) if target == "" else target or ""
    inspect.show(inspector, variable=variable, watched=frontend.is_watched(shell))
    return None if target == "" else inspector


def _bind(shell: InteractiveShell, inspector: Any, kind: type) -> str:
    """Call it `VARIABLE`, unless that is a variable of the user's own; the name, empty if it got none."""
    if VARIABLE in shell.user_ns and not isinstance(shell.user_ns[VARIABLE], kind):
        return ""
    shell.user_ns[VARIABLE] = inspector
    return VARIABLE


def _fields(shell: InteractiveShell, asked: arguments.Line) -> dict[str, Assigned]:
    _, model, data = asked.words
    fields = {name: Assigned(value, value) for name, value in asked.values.items() if name != "on"}
    fields |= {name: Assigned(values, " ".join(values)) for name, values in asked.lists.items()}
    return fields | {"model": names.assigned(model, shell.user_ns), "data": names.data(data, shell.user_ns)}
