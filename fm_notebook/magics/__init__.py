"""The IPython magics: parse, one call of a verb, show. Loaded by ``%load_ext fm_notebook``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fm_notebook import messages
from fm_notebook.magics import completion, formatters, frontend, settings

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

PREFIX = "fm_"
NAMES = ("finetune", "evaluate", "probe", "compare", "explain", "runs", "panel")
_state: dict[int, tuple[list[str], list[Callable[[], None]]]] = {}


def load(shell: InteractiveShell) -> None:
    """Register the magics where their names are free, and with the prefix always; say what is still alive."""
    if id(shell) in _state:
        return
    manager = shell.magics_manager
    assert manager is not None
    registered: list[str] = []
    taken: list[str] = []
    for name in NAMES:
        magic = _lazily(shell, name)
        free = name not in manager.magics["line"] and name not in manager.magics["cell"]
        (registered if free else taken).append(name)
        for alias in ([name] if free else []) + [PREFIX + name]:
            manager.register_function(magic, magic_kind="line_cell", magic_name=alias)
            if alias not in registered:
                registered.append(alias)
    undo = [frontend.accept_empty_bodies(shell, registered), completion.install(shell, registered)]
    undo += [formatters.install(shell), settings.install(shell)]
    _state[id(shell)] = (registered, undo)
    if taken:
        messages.say("load.taken", names=", ".join(taken), alias=f"%{PREFIX}{taken[0]}")
    _name_living_jobs()


def unload(shell: InteractiveShell) -> None:
    """Take away what `load` added; jobs go on."""
    registered, undo = _state.pop(id(shell), ([], []))
    if live := sys.modules.get("fm_notebook.panels.live"):
        live.close_all()
    if form := sys.modules.get("fm_notebook.panels.form"):
        form.close_all()
    if explained := sys.modules.get("fm_notebook.panels.explain"):
        explained.close_all()
    if browser := sys.modules.get("fm_notebook.panels.runs"):
        browser.close()
    if rows := sys.modules.get("fm_notebook.panels.inspect"):
        rows.close_all()
    if items := sys.modules.get("fm_notebook.panels.probe_items"):
        items.close_all()
    for kind in shell.magics_manager.magics.values():  # type: ignore[union-attr]
        for name in registered:
            kind.pop(name, None)
    for each in undo:
        each()


def _lazily(shell: InteractiveShell, name: str) -> Callable[..., Any]:
    """The magic, whose module is imported at its first call."""

    def magic(line: str, cell: str | None = None) -> Any:
        __tracebackhide__ = True  # IPython leaves such frames out of the traceback of a user's own expression
        from importlib import import_module

        value = import_module(f"fm_notebook.magics.{name}").magic(shell, line, cell)
        if live := sys.modules.get("fm_notebook.panels.live"):
            live.settle()
        return value

    magic.__name__ = name
    magic.__doc__ = messages.text(f"magic.{name}") + "\n\n" + messages.text("magic.more", name=name)
    return magic


def _name_living_jobs() -> None:
    from fm_notebook.session.run import living_runs

    alive = living_runs()
    if alive:
        names = ", ".join(f"{run.name} ({run.job.state_in_words})" for run in alive)
        messages.say("load.alive", names=names, first=alive[0].name)
    for run in alive:
        run.job.ensure_worker()
