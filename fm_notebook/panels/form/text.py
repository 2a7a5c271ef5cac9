"""The text of the cell that a form begins with, and its static twin in a saved notebook."""

from __future__ import annotations

from html import escape

from fm_notebook import messages
from fm_notebook.panels import markup

DEFAULT_NAME = "my_run"


def new(name: str = DEFAULT_NAME) -> str:
    """The cell of a run called `name` of which nothing is known yet."""
    return f"%%finetune {name}\n"


def twin(text: str, *, shown: bool = False) -> dict[str, str]:
    """The cell as HTML that survives sanitizers, unfolded if `shown`, and as text."""
    html = markup.details(messages.text("form.static_cell"), f"<pre>{escape(text)}</pre>", shown=shown)
    return {"text/html": html, "text/plain": text}


def line() -> dict[str, str]:
    """What stands for the form itself where there is no kernel."""
    text = messages.text("form.static")
    return {"text/html": markup.paragraph(text), "text/plain": text}
