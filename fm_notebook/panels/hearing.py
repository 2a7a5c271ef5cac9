"""What every panel must do about the connection to its page."""

from __future__ import annotations

import anywidget


def hear_while_busy(panel: anywidget.AnyWidget) -> None:
    """Let clicks reach `panel` while a cell is busy.

    ipykernel 7.4 sends them to the loop that wrote last on this comm, that is the main thread, which a busy cell blocks. Private,
    so guarded, and covered by kernel tests.
    """
    if hasattr(panel.comm, "_reply_subshell_for"):
        panel.comm._reply_subshell_for = lambda _data, default: default  # type: ignore[union-attr]


def close_layout(panel: anywidget.AnyWidget) -> None:
    """Close what ipywidgets leaves open when it closes a panel: its layout is a widget of its own."""
    if panel.comm is not None:
        panel.layout.close()
