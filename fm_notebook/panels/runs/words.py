"""The words that the runs panel's page needs, in one language."""

from __future__ import annotations

from typing import Any

from fm_notebook import messages
from fm_notebook.panels.runs import rows as runs_rows

WORDS = (
    "region", "title", "none", "filter", "filter_hint", "state", "any_state", "alive_state", "count", "count_one", "count_shown",
    "no_match", "more", "select", "select_all", "selected", "overlay", "compare", "compare_hint", "clear", "close", "open",
    "copy_cell", "copied", "copy_failed", "export", "export_to", "export_go", "delete", "delete_ask", "delete_yes", "keep",
    "silent", "unanswered", "too_many", "overlay_title", "no_curves", "training_loss", "loading", "cell", "folder", "scores",
    "working", "display_fault",
)  # fmt: skip
SHARED_WORDS = (
    "pause", "resume", "stop", "cancel", "restart", "cancel_ask", "cancel_yes", "cancel_no", "show_table", "axis.step",
    "axis.loss", "axis.train", "axis.held_out", "axis.best", "column.metric", "column.value", "column.interval", "column.n",
)  # fmt: skip


def vocabulary(language: str) -> dict[str, Any]:
    """The panel's traits ``words``, ``heads`` and ``states``."""
    catalogue = messages.catalogue(language)  # raw: the page fills in names and numbers
    words = {key: catalogue[f"runs_panel.{key}"] for key in WORDS} | {key: catalogue[f"panel.{key}"] for key in SHARED_WORDS}
    heads = [[name, text] for name, text in zip(runs_rows.COLUMNS, runs_rows.heads(), strict=True)]
    states = {name.removeprefix("runs.state."): text for name, text in catalogue.items() if name.startswith("runs.state.")}
    return {"words": words, "heads": heads, "states": states}
