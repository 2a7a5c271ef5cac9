"""The words of the items panel: those that its page fills in, and names of columns and outcomes."""

from __future__ import annotations

from fm_notebook import messages
from fm_notebook.panels.probe_report import skip_reason
from fm_notebook.session.inspection.scored_items import SKIPPED_BEFORE

OWN = (
    "region", "slice", "contains", "axis", "outcome", "count_shown", "open", "details", "no_items", "previous_item", "next_item",
    "per_page", "clear_slice",
)  # fmt: skip
SHARED = (
    "contains_hint", "any", "page", "of_pages", "first", "previous", "next", "last", "close", "unanswered",
    "display_fault",
)  # fmt: skip
"""Those that the panel has in common with the inspection of rows."""


def vocabulary(language: str) -> dict[str, str]:
    """The panel's trait ``words``; raw, the page fills in names and numbers."""
    catalogue = messages.catalogue(language)
    own = {key: catalogue[f"probe_items.{key}"] for key in OWN}
    return own | {key: catalogue[f"inspect_panel.{key}"] for key in SHARED}


def word(name: str, **values: object) -> str:
    """One of the panel's words in the reader's language."""
    return messages.text(f"probe_items.{name}", **values)


def column(name: str) -> str:
    """The name of a column of items or scores; its own, with spaces, if the catalogue has none."""
    key = f"probe_items.column.{name}"
    return messages.text(key) if messages.has(key) else name.replace("_", " ")


def outcome(name: str, probe: str) -> str:
    """What came of an item, in the words of its probe where it has some."""
    if name.startswith(SKIPPED_BEFORE):
        return word("skipped", why=skip_reason(name.removeprefix(SKIPPED_BEFORE)))
    if messages.has(f"probe_items.{probe}.{name}"):
        return messages.text(f"probe_items.{probe}.{name}")
    return messages.text(f"probe_items.outcomes.{name}")
