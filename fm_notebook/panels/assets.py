"""What a panel sends to the page: one ES module and one style sheet, each joined from files of ``static/``."""

from __future__ import annotations

from importlib.resources import files


def module(*names: str) -> str:
    """The ES module of a panel from its parts, the one that exports last; the drawing that all panels share stands first."""
    return _text("draw.js") + "".join(_text(f"{name}.js") for name in names)


def style(*names: str) -> str:
    """The style sheet of all panels, and after it those of the panel's own parts."""
    return _text("look.css") + "".join(_text(f"{name}.css") for name in names)


def _text(file: str) -> str:
    return (files("fm_notebook.panels") / "static" / file).read_text("utf-8")
