"""The words that the inspection panel's page needs, in one language."""

from __future__ import annotations

from typing import Any

from fm_notebook import messages

WORDS = (
    "region", "true_label", "predicted_label", "true", "predicted", "text", "confusion", "confusion_hint", "cell", "left_out",
    "slice", "contains", "contains_hint", "any", "outcome", "right", "wrong", "length_from", "length_to", "suspects", "noted",
    "clear_slice", "near", "near_drop", "count_shown", "no_rows", "page", "of_pages", "first", "previous", "next", "last",
    "per_page", "select", "select_page", "selected", "clear_selection", "python", "open", "close", "row_has_note", "row_suspect",
    "is_right", "is_wrong", "probabilities", "note", "note_hint", "note_save", "find_near", "freeze",
    "freeze_slice", "freeze_confusion", "freeze_table", "freeze_hint", "explain", "explaining", "unanswered", "display_fault",
    "previous_row", "next_row", "is_true", "is_predicted", "details",
)  # fmt: skip


def vocabulary(language: str) -> dict[str, Any]:
    """The panel's trait ``words``; raw, the page fills in names and numbers."""
    catalogue = messages.catalogue(language)
    return {key: catalogue[f"inspect_panel.{key}"] for key in WORDS}
