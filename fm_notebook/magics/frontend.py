"""What we can know of, and ask from, the front end that a cell came from."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from fm_notebook.session.progress import Progress


def request(shell: InteractiveShell) -> dict[str, Any]:
    """The content of the request that is being executed: ``code``, ``allow_stdin``; empty outside a kernel."""
    kernel = getattr(shell, "kernel", None)
    return kernel.get_parent().get("content", {}) if kernel is not None else {}


def is_watched(shell: InteractiveShell) -> bool:
    """Whether a person may see what happens: nbclient, papermill and nbconvert do not allow stdin."""
    return bool(request(shell).get("allow_stdin"))


def shows_news(shell: InteractiveShell) -> bool:
    """Whether somebody watches and updates from the background are shown, so that a cell need not wait.

    Colab shows no updates from threads; a terminal has no panels.
    """
    from fm_notebook.panels.plain import is_plain

    return is_watched(shell) and "google.colab" not in sys.modules and not is_plain()


def answers_while_busy(shell: InteractiveShell) -> bool:
    """Whether a click on a panel may reach us while a cell runs: where kernel and front end have subshells, as JupyterLab."""
    elsewhere = "google.colab" in sys.modules or "VSCODE_PID" in os.environ
    return bool(getattr(getattr(shell, "kernel", None), "_supports_kernel_subshells", False)) and not elsewhere


def teller(shell: InteractiveShell, progress: Progress) -> Callable[[Progress], bool] | None:
    """What tells of a job, line by line, to somebody who waits for it, where no panel does; None where one does."""
    from fm_notebook.panels.plain import Lines, is_plain

    return Lines(progress) if is_plain() or not is_watched(shell) else None


def first_line(shell: InteractiveShell, cell: str) -> int:
    """Line of the cell (from 1) at which the body of its cell magic starts; IPython drops leading blank lines."""
    raw = request(shell).get("code", "")
    body = cell.rstrip("\n")
    return raw[: raw.rindex(body)].count("\n") + 1 if body and body in raw else 2


def shows_value(shell: InteractiveShell, name: str, line: str) -> bool:
    """Whether the value of the line magic ``%name line`` needs no showing by us.

    It is the cell's last expression, which IPython shows, or it is assigned.
    """
    written = [each.strip() for each in request(shell).get("code", "").splitlines() if each.strip()]
    call = re.compile(rf"^%(fm_)?{name}\b\s*{re.escape(line.strip())}$")
    standing = [place for place, each in enumerate(written) if call.match(each)]
    return not standing or standing == [len(written) - 1]


def target(shell: InteractiveShell, name: str, line: str) -> str | None:
    """The variable that the value of the line magic ``%name line`` is assigned to; empty if the line stands alone.

    None where neither can be told, as outside a cell.
    """
    call = rf"%(fm_)?{name}\b\s*{re.escape(line.strip())}"
    for each in request(shell).get("code", "").splitlines():
        if found := re.match(rf"^\s*(?:(?P<target>[^\W\d]\w*)\s*=\s*)?{call}\s*$", each):
            return found["target"] or ""
    return None


def accept_empty_bodies(shell: InteractiveShell, names: Sequence[str]) -> Callable[[], None]:
    """Let ``%%name …`` without a body reach the magic, which IPython refuses; returns how to undo that."""
    alone = re.compile(rf"^%%({'|'.join(map(re.escape, names))})\b.*$")

    def one_percent(lines: list[str]) -> list[str]:
        filled = [line for line in lines if line.strip()]
        return [filled[0][1:]] if len(filled) == 1 and alone.match(filled[0].rstrip()) else lines

    shell.input_transformers_cleanup.append(one_percent)
    return lambda: shell.input_transformers_cleanup.remove(one_percent)
